"""Optical flow <-> RGB (paper, motion representation, step 2).

Hue is the direction on the colour wheel, magnitude is the opacity of that colour over the
background, black by default. The normalisation is fixed: the same flow has the same colour in
every frame of every clip (torchvision's flow_to_image divides by the largest flow of its batch).
Below saturation the encoding has an exact inverse.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

SIGMA = 0.15  # paper, motion representation: share of the frame diagonal at which colour saturates
Background = Literal["black", "white"]

# A long clip needs several times its memory at once, and on a CPU it is slower than in parts whose
# intermediates stay in its cache.
_CACHED_PIXELS = 2**19


def flow_to_rgb(
    flow: Float[Tensor, "*batch 2 h w"], sigma: float = SIGMA, background: Background = "black"
) -> Float[Tensor, "*batch 3 h w"]:
    """m = min(1, |flow| / (sigma * sqrt(H^2 + W^2))), hue = arctan2(dy, dx), m over the background.

    flow: pixels of a frame of this size, x right, y down; any leading axes, any device.
    background: "black" is HSV (hue, 1, m); "white" is HSV (hue, m, 1).
    Returns float32 RGB in [0, 1]. Raises ValueError for sigma <= 0, an unknown background, another
    shape, empty frames, or whole numbers.
    """
    _check(flow, 2, "flow")
    if background not in get_args(Background):
        raise ValueError(f"background is {background!r}, expected 'black' or 'white'")
    return _in_parts(flow, lambda part: _encode(part, sigma, background))


def _in_parts(frames: Tensor, code: Callable[[Tensor], Tensor]) -> Tensor:
    """Few frames at a time, so that intermediates take little memory beside the result."""
    flat = frames.reshape(-1, *frames.shape[-3:])
    at_once = max(1, _CACHED_PIXELS // math.prod(frames.shape[-2:]))
    coded = torch.cat([code(part.float()) for part in flat.split(at_once)])
    return coded.reshape(*frames.shape[:-3], *coded.shape[1:])


def _encode(flow: Tensor, sigma: float, background: Background) -> Tensor:
    dx, dy = flow.unbind(-3)
    m = (torch.sqrt(dx**2 + dy**2) / _saturation_px(flow, sigma)).clamp(max=1)
    hue = (torch.atan2(dy, dx) * (3 / math.pi)).remainder(6)  # in sixths of the wheel, [0, 6)
    colour = torch.stack([(hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs()], dim=-3)
    colour, m = colour.clamp(0, 1), m.unsqueeze(-3)
    return colour * m if background == "black" else (colour - 1) * m + 1


def rgb_to_flow(
    rgb: Float[Tensor, "*batch 3 h w"], sigma: float = SIGMA
) -> Float[Tensor, "*batch 2 h w"]:
    """The inverse of flow_to_rgb for both backgrounds: chroma (max - min) is m on either of them.

    rgb: float in [0, 1] (values outside are clamped). Returns float32 flow in pixels.
    Magnitudes beyond saturation come back as sigma * diagonal. Grey, which flow_to_rgb never
    writes but a decoder may, is no motion. Raises ValueError for sigma <= 0, another shape, empty
    frames, or whole numbers (flow_from_motion takes the frames of files).
    """
    _check(rgb, 3, "rgb")
    return _in_parts(rgb, lambda part: _decode(part, sigma))


def _decode(rgb: Tensor, sigma: float) -> Tensor:
    rgb = rgb.clamp(0, 1)
    high, low = rgb.amax(-3), rgb.amin(-3)
    m = high - low
    red, green, blue = rgb.unbind(-3)
    safe = m.clamp(min=torch.finfo(torch.float32).tiny)
    hue = torch.where(
        high == red,
        (green - blue) / safe,
        torch.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    angle = hue * (math.pi / 3)
    length = m * _saturation_px(rgb, sigma)
    return torch.stack([length * torch.cos(angle), length * torch.sin(angle)], dim=-3)


def brighter(
    motion: UInt8[Tensor, "*frames h w 3"], background: Background = "black"
) -> UInt8[Tensor, "*frames h w 3"]:
    """A motion video to look at: the square root of m, hues kept.

    Most motion is far below saturation and hard to see.
    """
    ink = motion.float() / 255
    ink = ink if background == "black" else 1 - ink
    ink = ink / ink.amax(-1, keepdim=True).clamp(min=1 / 255).sqrt()
    return (ink if background == "black" else 1 - ink).mul(255).round().to(torch.uint8)


def _check(frames: Tensor, channels: int, what: str) -> None:
    if frames.ndim < 3 or frames.shape[-3] != channels or not math.prod(frames.shape[-2:]):
        raise ValueError(
            f"{what} has shape {tuple(frames.shape)}, expected (..., {channels}, H, W) with H and "
            "W of at least 1"
        )
    if not frames.is_floating_point():
        raise ValueError(
            f"{what} is {frames.dtype}, expected floating point; frames of 0 to 255 go through "
            "videojam.flow_from_motion"
        )


def _saturation_px(frame: Tensor, sigma: float) -> float:
    """The magnitude in pixels at which the colour saturates: sigma * sqrt(H^2 + W^2)."""
    if sigma <= 0:
        raise ValueError(f"sigma is {sigma}, expected a positive share of the frame diagonal")
    return sigma * math.hypot(*frame.shape[-2:])
