"""The primary metric, `lawful`: how much of a clip a single lawful trajectory explains.

A trajectory of two balls is fixed by where they are in one frame and how fast they move. Candidates
come from all pairs of frames that lie near each other. Each is carried on forwards and backwards
through every contact by the world's own physics; what it explains is the share of all (frame,
ball)s whose ball is there, within a tolerance. The best candidate counts. Nothing is excused near a
contact, and a missing ball is explained by nothing.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.lab.scanline import bounce
from videojam.lab.scanline.seen import Seen
from videojam.lab.scanline.world import FASTEST_PX, SLOWEST_PX, World

TOLERANCE_PX = 1.0
_GAPS = (1, 2, 3, 4)  # frames between the two that a candidate is taken from
_SLACK_PX = 0.15  # of the speed limits: two centres are seen to about 0.1 px


def lawful_balls(world: World, seen: Seen) -> Float[Tensor, "n"]:
    """The largest share of (frame, ball)s that one lawful trajectory explains."""
    found = [_from_pairs(world, seen, gap) for gap in _GAPS if gap < world.frames]
    return torch.stack([explained.amax(1) for explained in found], 1).amax(1)


def _from_pairs(world: World, seen: Seen, gap: int) -> Float[Tensor, "n c"]:
    """What each candidate (frame k, frame k + gap) explains."""
    start, end = seen.centres[:, :-gap], seen.centres[:, gap:]
    both = (seen.present[:, :-gap] & seen.present[:, gap:]).all(-1)
    velocity = _within_limits(world, (end - start) / gap)
    # The physics knows a left ball and a right one; which is which is the clip's own affair.
    swapped = (start[..., 0] > start[..., 1]).unsqueeze(-1)
    start, velocity = (torch.where(swapped, v.flip(-1), v) for v in (start, velocity))
    frames = torch.arange(world.frames, device=start.device)
    times = (frames - torch.arange(start.shape[1], device=start.device)[:, None]).float()
    ways = bounce.travel(world, start, velocity, times)
    ways = torch.where(swapped.unsqueeze(-1), ways.flip(-1), ways)
    near = (ways - seen.centres[:, None]).abs() < TOLERANCE_PX
    return (near & seen.present[:, None]).float().mean((2, 3)) * both


def _within_limits(world: World, velocity: Tensor) -> Tensor:
    """Nothing in the world is slower or faster, so a clip that stands still obeys no law of it."""
    slack = _SLACK_PX * world.speed
    low, high = SLOWEST_PX * world.speed - slack, FASTEST_PX * world.speed + slack
    return velocity.abs().clamp(low, high) * torch.where(velocity < 0, -1.0, 1.0)
