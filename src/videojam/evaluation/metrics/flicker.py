"""Temporal flicker, by VBench's formula (temporal_flickering.py).

VBench applies it to clips of still scenes only. On moving clips motion counts as flicker: compare
clips of the same motion, or read it beside the warp error, which follows the motion.
"""

from itertools import pairwise

from jaxtyping import UInt8
from torch import Tensor


def temporal_flickering(frames: UInt8[Tensor, "f h w 3"]) -> float:
    """(255 - MAE) / 255,  MAE = mean over pairs, pixels and colours of |I_k - I_{k+1}|.

    Returns 1 for a clip without any change; more flicker is lower, as in VBench.
    Raises ValueError for fewer than two frames.
    """
    if frames.shape[0] < 2:
        raise ValueError(f"flicker needs at least 2 frames, got {frames.shape[0]}")
    errors = [float((a.float() - b.float()).abs().mean()) for a, b in pairwise(frames)]
    return (255 - sum(errors) / len(errors)) / 255
