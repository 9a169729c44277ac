"""One call of a stock pipeline: settings, noise from seeds, final latents.

The noise of a sample comes from its seed alone: a seed gives the same sample in any batch, and
the base model, given the same seed, starts from the joint model's appearance noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.guidance.branches import Number
from videojam.guidance.inner import GuidanceSettings
from videojam.joint.checkpoint import JointInfo
from videojam.joint.families import family_of
from videojam.joint.latents import join
from videojam.joint.text import text_length
from videojam.rng import generator


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling(GuidanceSettings):
    """How to sample: the guidance, and what a pipeline is asked for."""

    num_frames: int | None = None
    "Frames of the clip, 4n + 1. Default: as in training."
    height: int | None = None
    "Height in pixels, a multiple of 16. Default: as in training."
    width: int | None = None
    "Width in pixels, a multiple of 16. Default: as in training."
    num_inference_steps: int = 50
    "Sampling steps (the paper's: 100)."
    negative_prompt: str = ""
    "The null text of guidance; the paper's is empty."
    batch_size: int = 1
    "Samples at once: a matter of memory and speed, not of the result."

    def __post_init__(self) -> None:
        GuidanceSettings.__post_init__(self)  # super() is lost in a dataclass with slots
        for name in ("num_inference_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")

    @property
    def size(self) -> dict[str, Any]:
        """The arguments of a pipeline that say how large the clip is."""
        return {name: getattr(self, name) for name in ("num_frames", "height", "width")}


def sized(sampling: Sampling, info: JointInfo) -> Sampling:
    """The training size of a model for what is not set."""
    size = {
        name: getattr(info, name) if value is None else value
        for name, value in sampling.size.items()
    }
    return replace(sampling, **size)


def sample_latents(
    pipe: Any,
    batch: Sequence[tuple[str, int]],
    sampling: Sampling,
    guidance_scale: Number,
    motion: bool,
    latents: Float[Tensor, "b c t h2 w2"] | None = None,
) -> Float[Tensor, "b c t h2 w2"]:
    """Final latents of the stock pipeline for a batch of (prompt, seed).

    motion: whether the pipeline is joint, with 2C channels of noise. sampling: with sizes set.
    latents: what to start from, in place of the noise of the seeds.
    """
    shape = (pipe.vae.config.z_dim, *latent_size(pipe, **sampling.size))
    if latents is None:
        latents = torch.stack([initial_noise(seed, shape, motion) for _, seed in batch])
    return pipe(
        prompt=[prompt for prompt, _ in batch],
        negative_prompt=[sampling.negative_prompt] * len(batch),
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=float(guidance_scale),
        latents=latents,
        output_type="latent",
        max_sequence_length=text_length(pipe, family_of(pipe.transformer)),
        **sampling.size,
    ).frames


def initial_noise(seed: int, shape: tuple[int, ...], motion: bool = True) -> Tensor:
    """Noise of one sample, float32 on the CPU: appearance (C, ...), then motion if asked.

    The two halves have a stream each, so that appearance is the same with and without motion.
    """
    x = torch.randn(shape, generator=generator(seed, "noise-x"))
    if not motion:
        return x
    return join(x, torch.randn(shape, generator=generator(seed, "noise-d")), channel_dim=0)


def latent_size(pipe: Any, num_frames: int, height: int, width: int) -> tuple[int, int, int]:
    """(frames, height, width) in latents; ValueError where the pipeline would round."""
    temporal, spatial = pipe.vae_scale_factor_temporal, pipe.vae_scale_factor_spatial
    _, patch_height, patch_width = pipe.transformer.config.patch_size
    for name, size, multiple, offset in (
        ("num_frames", num_frames, temporal, 1),
        ("height", height, spatial * patch_height, 0),
        ("width", width, spatial * patch_width, 0),
    ):
        below = (size - offset) // multiple * multiple + offset
        if size < 1 or below != size:
            rule = f"{multiple}n + 1" if offset else f"a multiple of {multiple}"
            nearest = [value for value in (below, below + multiple) if value > 0]
            raise ValueError(f"{name} is {size}, expected {rule}; the nearest are {nearest}")
    return (num_frames - 1) // temporal + 1, height // spatial, width // spatial
