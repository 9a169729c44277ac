"""The judge of `scroll`: does each window's texture move on rigidly, at one speed of the world?

A speed explains a step of a window if the frame, moved by it, correlates with the next one. The
largest share of the steps that one speed explains is the window's lawfulness.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from videojam.lab.scanline.world import FASTEST_PX, SLOWEST_PX, World, asked_px

_STEP_PX = 0.1
_ALIKE = 0.9  # correlation of a step that a speed explains
_ASKED_PX = 0.7


def scores(
    world: World, frames: Float[Tensor, "n f 1 w 3"], captions: Int[Tensor, "n 2 3"]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """(lawful, share of windows with the asked speed)."""
    half = world.width // 2
    grey = frames[:, :, 0].float().mean(-1)[..., : 2 * half].unflatten(-1, (2, half))
    limits = (SLOWEST_PX * world.speed, FASTEST_PX * world.speed)
    speeds = torch.arange(limits[0], limits[1] + _STEP_PX / 2, _STEP_PX, device=grey.device)
    speeds = torch.cat([-speeds.flip(0), speeds])
    alike = torch.stack([_correlation(grey, float(speed)) for speed in speeds], -1)  # n f-1 2 v
    explained = (alike > _ALIKE).float().mean(1)
    best = speeds[alike.mean(1).argmax(-1)]  # one speed for all steps
    right = (best - asked_px(world, captions)).abs() < _ASKED_PX * world.speed
    lawful = explained.amax(-1)
    return lawful.mean(1), (right & (lawful > 0.5)).float().mean(1)


def _correlation(grey: Float[Tensor, "n f 2 x"], speed: float) -> Float[Tensor, "n f-1 2"]:
    """Of what both frames show, where the first is moved by `speed`."""
    width = grey.shape[-1]
    at = torch.arange(width, device=grey.device) - speed  # where a pixel of the next came from
    kept = (at >= 0) & (at <= width - 1)
    left = at[kept].floor().long().clamp(max=width - 2)
    share = at[kept] - left
    before, after = grey[:, :-1], grey[:, 1:, :, kept]
    moved = before[..., left] * (1 - share) + before[..., left + 1] * share
    moved, after = (v - v.mean(-1, keepdim=True) for v in (moved, after))
    scale = moved.norm(dim=-1) * after.norm(dim=-1)
    return (moved * after).sum(-1) / scale.clamp(min=1e-6)
