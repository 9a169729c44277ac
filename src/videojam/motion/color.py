"""Optical flow <-> RGB (paper, motion representation, step 2).

Hue is the direction on the colour wheel, magnitude is the opacity of that colour over the
background, black by default. The normalisation is fixed: the same flow has the same colour in
every frame of every clip (torchvision's flow_to_image divides by the largest flow of its batch).
Below saturation the encoding has an exact inverse.
"""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

SIGMA = 0.15  # paper, motion representation: share of the frame diagonal at which colour saturates
Background = Literal["black", "white"]

# On a CPU a long clip is slower at once than in parts whose intermediates stay in its cache.
_CACHED_PIXELS = 2**19


def flow_to_rgb(
    flow: Float[Tensor, "*batch 2 h w"], sigma: float = SIGMA, background: Background = "black"
) -> Float[Tensor, "*batch 3 h w"]:
    """m = min(1, |flow| / (sigma * sqrt(H^2 + W^2))), hue = arctan2(dy, dx), m over the background.

    flow: pixels of a frame of this size, x right, y down; any leading axes, any device.
    background: "black" is HSV (hue, 1, m); "white" is HSV (hue, m, 1).
    Returns float32 RGB in [0, 1]. Raises ValueError for sigma <= 0 or an unknown background.
    """
    if background not in get_args(Background):
        raise ValueError(f"background is {background!r}, expected 'black' or 'white'")
    frames = flow.reshape(-1, *flow.shape[-3:])
    pixels = math.prod(flow.shape[-2:])
    on_cpu = flow.device.type == "cpu"
    parts = frames.split(max(1, _CACHED_PIXELS // pixels)) if on_cpu else (frames,)
    rgb = torch.cat([_encode(part.float(), sigma, background) for part in parts])
    return rgb.reshape(*flow.shape[:-3], *rgb.shape[1:])


def _encode(flow: Tensor, sigma: float, background: Background) -> Tensor:
    dx, dy = flow.unbind(-3)
    m = torch.sqrt(dx**2 + dy**2).div_(_saturation_px(flow, sigma)).clamp_(max=1)
    hue = torch.atan2(dy, dx).mul_(3 / math.pi).remainder_(6)  # in sixths of the wheel, [0, 6)
    colour = torch.stack([(hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs()], dim=-3)
    colour = colour.clamp_(0, 1)
    m = m.unsqueeze(-3)
    return colour.mul_(m) if background == "black" else colour.sub_(1).mul_(m).add_(1)


def rgb_to_flow(
    rgb: Float[Tensor, "*batch 3 h w"], sigma: float = SIGMA
) -> Float[Tensor, "*batch 2 h w"]:
    """The inverse of flow_to_rgb for both backgrounds: chroma (max - min) is m on either of them.

    rgb: float in [0, 1] (values outside are clamped). Returns float32 flow in pixels.
    Magnitudes beyond saturation come back as sigma * diagonal. Grey, which flow_to_rgb never
    writes but a decoder may, is no motion. Raises ValueError for sigma <= 0.
    """
    rgb = rgb.float().clamp(0, 1)
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


def _saturation_px(frame: Tensor, sigma: float) -> float:
    """The magnitude in pixels at which the colour saturates: sigma * sqrt(H^2 + W^2)."""
    if sigma <= 0:
        raise ValueError(f"sigma is {sigma}, expected a positive share of the frame diagonal")
    return sigma * math.hypot(*frame.shape[-2:])
