"""Repeated frames: what slowing down by doubling frames, or a stuttering generator, leaves."""

from itertools import pairwise

from jaxtyping import UInt8
from torch import Tensor

_SAME = 0.5  # grey levels: a repeated frame, encoded again


def repeated_share(frames: UInt8[Tensor, "f h w 3"]) -> float:
    """The share of consecutive frames that differ by less than half a grey level in the mean.

    0 for a clip that moves all the time, 1 for a frozen one, 1/2 where every frame is shown twice.
    A still camera on a still scene repeats its frames too. ValueError for fewer than two frames.
    """
    if frames.shape[0] < 2:
        raise ValueError(f"repeats need at least 2 frames, got {frames.shape[0]}")
    same = [float((a.float() - b.float()).abs().mean()) < _SAME for a, b in pairwise(frames)]
    return sum(same) / len(same)
