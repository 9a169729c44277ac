"""One micro-batch: randomness, dropouts, and the loss (paper, objective)."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from videojam.joint.denoiser import Denoiser
from videojam.joint.text import Text, stack_text
from videojam.objective import LossParts, Objective, joint_loss, plain_loss, sample_sigma
from videojam.rng import generator


class MicroBatch(NamedTuple):
    """Samples of one process for one forward pass.

    numbers: position of each sample in the whole run (step * global batch + place). All
    randomness of a sample is keyed by it, so results do not depend on how a batch is divided.
    """

    x: Float[Tensor, "b c t h w"]
    d: Float[Tensor, "b c t h w"]
    text: list[Text]
    numbers: list[int]

    def part(self, start: int, stop: int) -> "MicroBatch":
        """Some of the samples."""
        x, d = self.x[start:stop], self.d[start:stop]
        return MicroBatch(x, d, self.text[start:stop], self.numbers[start:stop])


def training_loss(
    transformer: Any,
    batch: MicroBatch,
    null_text: Text,
    objective: Objective,
    denoiser: Denoiser,
    seed: int,
    joint: bool = True,
    device: torch.device | str = "cpu",
) -> LossParts:
    """The loss of one micro-batch; `joint=False` is the base's own objective (motion part NaN)."""
    density, shift = denoiser.family.density, denoiser.shift(batch.x.shape[2:])
    sigma = torch.cat(
        [
            sample_sigma(objective, density, shift, generator(seed, "sigma", n))
            for n in batch.numbers
        ]
    ).to(device)
    chance = torch.stack(
        [torch.rand(2, generator=generator(seed, "dropout", n)) for n in batch.numbers]
    )
    text = [
        null_text if drop else caption
        for caption, drop in zip(batch.text, chance[:, 0] < objective.text_dropout, strict=True)
    ]
    return losses_at(
        transformer,
        batch._replace(text=text),
        sigma,
        denoiser,
        seed=seed,
        stream="noise",
        drop_motion=(chance[:, 1] < objective.motion_dropout).to(device),
        joint=joint,
        device=device,
    )


def losses_at(
    transformer: Any,
    batch: MicroBatch,
    sigma: Float[Tensor, "b"],
    denoiser: Denoiser,
    *,
    seed: int,
    stream: str,
    drop_motion: Bool[Tensor, "b"] | None = None,
    joint: bool = True,
    device: torch.device | str = "cpu",
) -> LossParts:
    """The losses at given noise levels; each sample's noise is keyed by (seed, stream, number)."""
    predict, x, level = denoiser.of(transformer), batch.x.to(device), denoiser.level(sigma)
    text = on_device(batch.text, device)
    noise_x = sample_noise(batch.x, seed, f"{stream}-x", batch.numbers).to(device)
    if not joint:
        loss = plain_loss(predict, x, text, level=level, noise_x=noise_x)
        return LossParts(loss, loss.detach(), torch.full_like(loss.detach(), torch.nan))
    return joint_loss(
        predict,
        x,
        batch.d.to(device),
        text,
        level=level,
        noise_x=noise_x,
        noise_d=sample_noise(batch.d, seed, f"{stream}-d", batch.numbers).to(device),
        drop_motion=drop_motion,
    )


def on_device(texts: list[Text], device: torch.device | str) -> Text:
    """One batch of texts, where the model is."""
    return {name: value.to(device) for name, value in stack_text(texts).items()}


def sample_noise(like: Tensor, seed: int, purpose: str, numbers: list[int]) -> Tensor:
    """Standard normal noise of the shape of `like`, one stream per sample, on the CPU."""
    return torch.stack(
        [
            torch.randn(row.shape, generator=generator(seed, purpose, number))
            for row, number in zip(like, numbers, strict=True)
        ]
    )
