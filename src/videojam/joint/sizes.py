"""Clips in pixels and in latents: what a model's VAE and patches allow."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class Size(NamedTuple):
    """Of a clip in pixels."""

    num_frames: int
    height: int
    width: int


def compression(pipe: Any) -> tuple[int, int]:
    """(temporal, spatial) compression of the pipeline's VAE, under the names that they use."""
    for temporal, spatial in (
        ("vae_scale_factor_temporal", "vae_scale_factor_spatial"),
        ("vae_temporal_compression_ratio", "vae_spatial_compression_ratio"),
        ("vae_temporal_scale_factor", "vae_spatial_scale_factor"),
    ):
        if hasattr(pipe, temporal):
            return int(getattr(pipe, temporal)), int(getattr(pipe, spatial))
    if hasattr(pipe, "vae_scale_factor"):  # Latte: a VAE of images
        return 1, int(pipe.vae_scale_factor)
    raise ValueError(f"{type(pipe).__name__} does not say how its VAE compresses")


def patch(transformer: Any) -> tuple[int, int, int]:
    """(t, h, w) of a token in latents."""
    size = transformer.config.patch_size
    if isinstance(size, Sequence):
        return (size[0], size[1], size[2])
    return (transformer.config.get("patch_size_t") or 1, size, size)


def latent_size(pipe: Any, transformer: Any, size: Size) -> tuple[int, int, int]:
    """(t, h, w) of a clip's latents; ValueError where the pipeline would round or pad."""
    temporal, spatial = compression(pipe)
    steps = patch(transformer)
    offset = _offset(pipe, temporal)
    for name, value, multiple, start in (
        ("num_frames", size.num_frames, temporal * steps[0], offset - temporal * (steps[0] - 1)),
        ("height", size.height, spatial * steps[1], 0),
        ("width", size.width, spatial * steps[2], 0),
    ):
        start %= multiple
        below = (value - start) // multiple * multiple + start
        if value < 1 or below != value:
            rule = f"{multiple}n + {start}" if start else f"a multiple of {multiple}"
            nearest = [near for near in (below, below + multiple) if near > 0]
            raise ValueError(f"{name} is {value}, expected {rule}; the nearest are {nearest}")
    frames = (size.num_frames - offset) // temporal + bool(offset)
    return frames, size.height // spatial, size.width // spatial


def pixel_size(pipe: Any, latents: Sequence[int]) -> Size:
    """The clip that latents of (t, h, w) stand for."""
    temporal, spatial = compression(pipe)
    offset = _offset(pipe, temporal)
    frames = (latents[0] - bool(offset)) * temporal + offset
    return Size(frames, latents[1] * spatial, latents[2] * spatial)


def num_tokens(transformer: Any, latents: Sequence[int]) -> int:
    """Video tokens of latents of (t, h, w)."""
    return math.prod(latents) // math.prod(patch(transformer))


def _offset(pipe: Any, temporal: int) -> int:
    """1 where the first latent frame is one frame of its own, which is so for causal VAEs.

    Not Allegro's, whose latent frames are all of `temporal` frames.
    """
    return int(type(pipe.vae).__name__ != "AutoencoderKLAllegro")
