"""Jumps: whether one change from frame to frame stands out, as at a cut or where a clip skips."""

from itertools import pairwise
from statistics import median

from jaxtyping import UInt8
from torch import Tensor

_GREY_LEVEL = 1.0  # so that compression noise in a still clip is no jump


def largest_jump(frames: UInt8[Tensor, "f h w 3"]) -> float:
    """max_k c_k / (median_k c_k + 1),  c_k = mean |I_{k+1} - I_k| in grey levels.

    About 1 for steady motion, 10 and more for a cut. The median leaves out the jump itself.
    Raises ValueError for fewer than three frames: one change stands out from nothing.
    """
    if frames.shape[0] < 3:
        raise ValueError(f"a jump stands out from other changes: 3 frames, got {frames.shape[0]}")
    changes = [float((a.float() - b.float()).abs().mean()) for a, b in pairwise(frames)]
    return max(changes) / (median(changes) + _GREY_LEVEL)
