"""The loss of clips and of the same clips with their frames shuffled (paper, Figure 3)."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.joint.denoiser import Predict
from videojam.joint.latents import join, split
from videojam.joint.noising import Level
from videojam.joint.text import Text
from videojam.rng import generator
from videojam.training.step import sample_noise

MotionInput = Literal["none", "noised", "zeros"]
"The motion half of the model's input: a plain model has none; zeros are Inner-Guidance's null."


def permute_frames(
    frames: UInt8[Tensor, "f h w 3"], seed: int, clip: int
) -> UInt8[Tensor, "f h w 3"]:
    """The frames in another order, drawn for this clip; never the one they came in."""
    order = torch.randperm(len(frames), generator=generator(seed, "permutation", clip))
    if torch.equal(order, torch.arange(len(frames))):
        order = order.roll(1)
    return frames[order]


def appearance_losses(
    predict: Predict,
    x: Float[Tensor, "b c t h w"],
    noise: Float[Tensor, "b c t h w"],
    level: Level,
    text: Text,
    motion: Float[Tensor, "b c t h w"] | None = None,
) -> Float[Tensor, "b"]:
    """Mean squared error of the appearance's prediction, for each sample.

    motion: the motion half of a joint model's input, noised or zeros; None for a plain model.
    """
    noised = level.seen(x, noise)
    if motion is None:
        prediction = predict(noised, level, text)
    else:
        prediction = split(predict(join(noised, motion), level, text)).x
    return (prediction.float() - level.target(x, noise)).square().flatten(1).mean(1)


def gaussian_predictor(x: Float[Tensor, "n c t h w"]) -> Predict:
    """The best prediction for independent normal values with each channel's mean and variance.

    It knows nothing of frames, so what it makes of shuffled ones is how much wilder their latents
    are: a loss that grows no more than this one has not noticed any order.
    """
    mean, variance = (of.view(1, -1, 1, 1, 1) for of in (x.mean((0, 2, 3, 4)), x.var((0, 2, 3, 4))))

    def predict(noised: Tensor, level: Level, text: Text) -> Tensor:
        mu, var = mean.to(noised.device), variance.to(noised.device)
        a, b = (c.view(-1, 1, 1, 1, 1) for c in (level.seen_clean, level.seen_noise))
        gain = a * var / (a**2 * var + b**2)
        clean = mu + gain * (noised - a * mu)
        return level.target(clean, (noised - a * clean) / b)

    return predict


def loss_grid(
    predict: Predict,
    level_of: Callable[[Float[Tensor, "b"]], Level],
    x: Float[Tensor, "n c t h w"],
    text: Text,
    sigmas: list[float],
    noises: int,
    *,
    seed: int,
    motion: MotionInput = "none",
    d: Float[Tensor, "n c t h w"] | None = None,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    advance: Callable[[], object] = lambda: None,
) -> Float[Tensor, "n noises s"]:
    """The losses of every clip with `noises` noises at every level; the same noises at all levels.

    Noise k of clip i depends on (seed, i, k) alone: a second call for the clips in another form,
    such as permuted, has the same. d: motion latents for motion="noised". advance: called after
    each batch at each level. Raises ValueError if d is missing where it is needed.
    """
    if (motion == "noised") != (d is not None):
        raise ValueError(f"motion is {motion!r} and d is {d if d is None else 'given'}; give d for "
                         "motion='noised', and only then")  # fmt: skip
    losses = torch.empty(len(x) * noises, len(sigmas))
    with torch.inference_mode():
        for numbers in torch.arange(len(losses)).split(batch_size):
            clips, keys = numbers // noises, numbers.tolist()
            batch = x[clips].to(device)
            words = {name: value[clips].to(device) for name, value in text.items()}
            noise = sample_noise(x[clips], seed, "frame order x", keys).to(device)
            clean, noise_d = torch.zeros_like(batch), torch.zeros_like(batch)
            if d is not None:
                clean = d[clips].to(device)
                noise_d = sample_noise(d[clips], seed, "frame order d", keys).to(device)
            for place, sigma in enumerate(sigmas):
                level = level_of(torch.full((len(batch),), sigma, device=device))
                given = None if motion == "none" else level.seen(clean, noise_d)
                found = appearance_losses(predict, batch, noise, level, words, given)
                losses[numbers, place] = found.cpu()
                advance()
    return losses.view(len(x), noises, len(sigmas))
