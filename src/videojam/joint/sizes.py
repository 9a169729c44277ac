"""Clips in pixels and in latents: what a model's VAE and patches allow."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from videojam.joint.find_family import unwrapped


class Size(NamedTuple):
    """Size of a clip in pixels."""

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
    config = unwrapped(transformer).config
    size = config.patch_size
    if isinstance(size, Sequence):
        return (size[0], size[1], size[2])
    return (config.get("patch_size_t") or 1, size, size)


def latent_size(
    pipe: Any, transformer: Any, size: Size, pixel_multiple: int = 1
) -> tuple[int, int, int]:
    """(t, h, w) of a clip's latents; ValueError where the pipeline would round."""
    temporal, spatial = compression(pipe)
    step, first = _frames(pipe, temporal)
    _, rows, columns = patch(transformer)
    rules = [
        ("num_frames", size.num_frames, step, first),
        ("height", size.height, math.lcm(spatial * rows, pixel_multiple), 0),
        ("width", size.width, math.lcm(spatial * columns, pixel_multiple), 0),
    ]
    if type(pipe.vae).__name__ == "AutoencoderKLAllegro":  # what its tiles do not fill is lost
        tiles = zip(pipe.vae.kernel, pipe.vae.stride, strict=True)
        rules += [
            (name, value, math.lcm(stride, multiple), kernel)
            for (kernel, stride), (name, value, multiple, _) in zip(tiles, rules, strict=True)
        ]
    length = unwrapped(transformer).config.get("video_length")  # Latte
    if length and size.num_frames != length:
        raise ValueError(
            f"num_frames is {size.num_frames}, expected {length}, the model's only one"
        )
    for name, value, multiple, start in rules:
        below = max((value - start) // multiple * multiple, 0) + start
        if value < 1 or below != value:
            rule = f"{multiple}n + {start}" if start else f"a multiple of {multiple}"
            nearest = [near for near in (below, below + multiple) if near > 0]
            raise ValueError(f"{name} is {value}, expected {rule}; the nearest are {nearest}")
    frames = (size.num_frames - first) // temporal + bool(first)
    return (
        frames + front_padding(transformer, frames),
        size.height // spatial,
        size.width // spatial,
    )


def front_padding(transformer: Any, frames: int) -> int:
    """Latent frames that are put in front to fill the patches: CogVideoX 1.5 takes two at once."""
    return -frames % patch(transformer)[0]


def pixel_size(pipe: Any, latents: Sequence[int]) -> Size:
    """The clip that latents of (t, h, w) stand for."""
    temporal, spatial = compression(pipe)
    first = _frames(pipe, temporal)[1]
    frames = (latents[0] - padded_frames(pipe.vae, latents[0]) - bool(first)) * temporal + first
    return Size(frames, latents[1] * spatial, latents[2] * spatial)


def padded_frames(vae: Any, frames: int) -> int:
    """How many latent frames at the front are padding: CogVideoX's VAE gives odd numbers."""
    return int(type(vae).__name__ == "AutoencoderKLCogVideoX" and frames % 2 == 0)


def num_tokens(transformer: Any, latents: Sequence[int]) -> int:
    """Video tokens of latents of (t, h, w)."""
    return math.prod(latents) // math.prod(patch(transformer))


def _frames(pipe: Any, temporal: int) -> tuple[int, int]:
    """(step, first): clips have step n + first frames.

    Causal VAEs make one latent frame of the first frame alone. CogVideoX's decodes an odd number of
    latent frames rightly, an even one to as many frames more; Allegro's is not causal.
    """
    match type(pipe.vae).__name__:
        case "AutoencoderKLAllegro":
            return temporal, 0
        case "AutoencoderKLCogVideoX":
            return 2 * temporal, 1
        case _:
            return temporal, int(temporal > 1)
