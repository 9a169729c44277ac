"""One micro-batch: randomness, dropouts, and the loss (paper, objective)."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from videojam.joint.denoiser import Denoiser
from videojam.joint.family import ModelFamily
from videojam.joint.image import image_kind, without_image
from videojam.joint.text import Text, stack_text, text_as
from videojam.objective import (
    FirstFrame,
    LossParts,
    Objective,
    joint_loss,
    plain_loss,
    sample_sigma,
)
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
    images: list[Text] | None = None
    """What the transformer is given of each sample's image, of models that always have one; or of
    its control clip, of models that take one: empty where there is none."""

    def part(self, start: int, stop: int) -> "MicroBatch":
        """Some of the samples."""
        x, d = self.x[start:stop], self.d[start:stop]
        images = None if self.images is None else self.images[start:stop]
        return MicroBatch(x, d, self.text[start:stop], self.numbers[start:stop], images)


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
    captions, images = batch.text, batch.images
    if images and denoiser.family.text_with_image:  # a caption as it is read with its image
        captions = [text | image for text, image in zip(captions, images, strict=True)]
        images = None
    text = [
        null_text if drop else caption
        for caption, drop in zip(captions, chance[:, 0] < objective.text_dropout, strict=True)
    ]
    no_image = torch.cat(
        [torch.rand(1, generator=generator(seed, "image dropout", n)) for n in batch.numbers]
    ) < image_dropout(objective, denoiser.family)
    no_control = torch.cat(
        [torch.rand(1, generator=generator(seed, "control dropout", n)) for n in batch.numbers]
    ) < control_dropout(objective, denoiser.family)
    controls = bool(denoiser.family.control_inputs)
    images = images and [
        ({} if controls else without_image(image)) if drop else image
        for image, drop in zip(images, no_control if controls else no_image, strict=True)
    ]
    given = None
    if image_kind(denoiser.pipe, denoiser.family) == "blended" and not no_image.all():
        given = ~no_image
    return losses_at(
        transformer,
        batch._replace(text=text, images=images),
        sigma,
        denoiser,
        seed=seed,
        stream="noise",
        drop_motion=(chance[:, 1] < objective.motion_dropout).to(device),
        given=given,
        joint=joint,
        device=device,
    )


def image_dropout(objective: Objective, family: ModelFamily) -> float:
    """The probability of no image: the objective's, or that of the kind of model."""
    if objective.image_dropout is not None:
        return objective.image_dropout
    return 0.0 if family.has_image else 1.0


def control_dropout(objective: Objective, family: ModelFamily) -> float:
    """The probability of no control for a sample that has one: the objective's, or ours."""
    if objective.control_dropout is not None:
        return objective.control_dropout
    return 0.0 if family.control_always else 0.1


def inputs_of(
    transformer: Any,
    batch: MicroBatch,
    denoiser: Denoiser,
    joint: bool = True,
    device: torch.device | str = "cpu",
) -> Text:
    """What the model is told beside its latents: captions, and what images and controls become."""
    text = on_device(batch.text, device)
    if batch.images is None:
        return text
    nothing = Text()
    if denoiser.family.control_inputs and not all(batch.images):
        count, C, *size = batch.x.shape
        shape = (count, 2 * C if joint else C, *size)
        found = denoiser.without_control(transformer, shape, torch.device(device))
        nothing = {name: value.cpu() for name, value in text_as(found, torch.float32).items()}
    return text | on_device([image or nothing for image in batch.images], device)


def losses_at(
    transformer: Any,
    batch: MicroBatch,
    sigma: Float[Tensor, "b"],
    denoiser: Denoiser,
    *,
    seed: int,
    stream: str,
    drop_motion: Bool[Tensor, "b"] | None = None,
    given: Bool[Tensor, "b"] | None = None,
    joint: bool = True,
    device: torch.device | str = "cpu",
) -> LossParts:
    """The losses at given noise levels; each sample's noise is keyed by (seed, stream, number).

    given: samples whose first frame is given, of models that blend it into their latents.
    """
    predict, x, level = denoiser.of(transformer), batch.x.to(device), denoiser.level(sigma)
    text = inputs_of(transformer, batch, denoiser, joint, device)
    first = None
    if given is not None:
        first = FirstFrame(denoiser.still(batch.x.shape[2:]).to(device), given.to(device))
    noise_x = sample_noise(batch.x, seed, f"{stream}-x", batch.numbers).to(device)
    if not joint:
        loss = plain_loss(predict, x, text, level=level, noise_x=noise_x, first_frame=first)
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
        first_frame=first,
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
