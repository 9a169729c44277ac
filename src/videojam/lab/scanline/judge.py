"""How well clips keep the laws of their world: scores from pixels and the caption alone.

`lawful` is the primary metric of everything that is measured on this world (laws.py; for `scroll`,
textures.py). The others say what kind of mistake it was.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from videojam.lab.scanline import textures
from videojam.lab.scanline.laws import lawful_balls
from videojam.lab.scanline.seen import Seen, find
from videojam.lab.scanline.world import FASTEST_PX, World, asked_px

PRIMARY = "lawful"
_EVEN_PX = 0.6  # second difference of three positions that count as even motion
_ASKED_PX = 0.7  # from the middle of the speeds that a word stands for


class Scores(NamedTuple):
    """One number for each clip; NaN where a score does not apply."""

    lawful: Float[Tensor, "n"]
    "Largest share of (frame, body)s that one lawful motion explains; 1 is best."
    present: Float[Tensor, "n"]
    "Share of (frame, body)s whose body is there, whole and once."
    in_order: Float[Tensor, "n"]
    "Share of (three frames, body)s that are present and move evenly, or are near a contact."
    second_difference_px: Float[Tensor, "n"]
    "Mean |p[k+1] - 2 p[k] + p[k-1]| in free flight; 0 is best."
    speed_change_px: Float[Tensor, "n"]
    "Mean deviation of the set of both speeds from its median, in free flight; 0 is best."
    asked_speed: Float[Tensor, "n"]
    "Share of bodies that start with the speed and direction of the caption."


def judge(
    world: World, frames: Float[Tensor, "n f 1 w 3"], captions: Int[Tensor, "n 2 3"]
) -> Scores:
    """Scores of clips of this world. ValueError for clips of another length or width."""
    expected = (world.frames, 1, world.width, 3)
    if tuple(frames.shape[1:]) != expected:
        raise ValueError(
            f"clips of shape {tuple(frames.shape[1:])} came, but this world has clips of "
            f"{expected}; judge them by the world that they were asked of"
        )
    if world.kind == "scroll":
        nothing = torch.full((len(frames),), math.nan, device=frames.device)
        lawful, asked = textures.scores(world, frames, captions)
        return Scores(lawful, nothing, nothing, nothing, nothing, asked)
    seen = find(world, frames, captions[..., 0])
    return _flight(world, seen, captions)


def _flight(world: World, seen: Seen, captions: Int[Tensor, "n 2 3"]) -> Scores:
    p, near = seen.centres, _near_contact(world, seen.centres)
    three = seen.present[:, 2:] & seen.present[:, 1:-1] & seen.present[:, :-2]
    bend = (p[:, 2:] - 2 * p[:, 1:-1] + p[:, :-2]).abs()
    touching = near[:, 2:] | near[:, 1:-1] | near[:, :-2]
    even = three & (touching | (bend < _EVEN_PX * max(world.speed, 1)))
    free = three & ~touching
    return Scores(
        lawful=lawful_balls(world, seen),
        present=seen.present.float().mean((1, 2)),
        in_order=even.float().mean((1, 2)),
        second_difference_px=_mean(bend, free),
        speed_change_px=_speed_change(seen, near),
        asked_speed=_asked(world, seen, captions),
    )


def _near_contact(world: World, p: Float[Tensor, "n f 2"]) -> Bool[Tensor, "n f 2"]:
    """Whether a contact may come within a frame."""
    reach = FASTEST_PX * world.speed
    wall = (p < world.radius + reach) | (p > world.width - world.radius - reach)
    gap = (p[..., 1] - p[..., 0]).abs() < 2 * world.radius + 2 * reach
    return wall | gap.unsqueeze(-1)


def _speed_change(seen: Seen, near: Bool[Tensor, "n f 2"]) -> Float[Tensor, "n"]:
    """Equal balls only exchange their velocities, so the set of both speeds stays what it is."""
    usable = (seen.present & ~near).all(-1)
    free = (usable[:, 1:] & usable[:, :-1]).unsqueeze(-1)
    speeds = seen.centres.diff(dim=1).abs().sort(-1).values
    usual = speeds.masked_fill(~free, math.nan).nanmedian(1, keepdim=True).values
    return _mean((speeds - usual).abs(), free.expand_as(speeds))


def _asked(world: World, seen: Seen, captions: Int[Tensor, "n 2 3"]) -> Float[Tensor, "n"]:
    start = seen.centres[:, 1] - seen.centres[:, 0]
    right = (start - asked_px(world, captions)).abs() < _ASKED_PX * world.speed
    return (right & seen.present[:, :2].all(1)).float().mean(1)


def _mean(values: Tensor, valid: Tensor) -> Float[Tensor, "n"]:
    """Over frames and bodies; NaN where nothing is valid."""
    total = values.masked_fill(~valid, 0).sum((1, 2))
    return total / valid.sum((1, 2))  # 0 / 0 is NaN
