"""Dynamic degree: whether a clip moves, by VBench's rule, and how fast.

VBench (Vchitect/VBench @45e79ec, dynamic_degree.py) takes flow from RAFT; here it comes from any
estimator, so percentages are comparable with each other, not with VBench's tables.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.motion.warp import flow_length

_RATE_FPS = 8.0  # VBench looks at about this many frames per second
_TOP = 0.05  # share of the pixels that are looked at: those that move fastest
_THRESHOLD_PX = 6.0  # between frames whose shorter side is 256


class DynamicDegree(NamedTuple):
    """is_dynamic: VBench's verdict. speed: diagonals of the frame per second, its fastest 5%."""

    is_dynamic: bool
    speed: float


def frame_interval(fps: float) -> int:
    """VBench's sub-sampling to 8 frames per second: every max(1, round(fps / 8))-th frame."""
    if not fps > 0:
        raise ValueError(f"fps is {fps}, expected a positive number of frames per second")
    return max(1, round(fps / _RATE_FPS))


def top_magnitude(flow: Float[Tensor, "n 2 h w"]) -> Float[Tensor, "n"]:
    """Mean length in pixels of the int(0.05 H W) longest vectors of each field (at least one)."""
    lengths = flow_length(flow).flatten(1)
    return lengths.topk(max(1, int(lengths.shape[1] * _TOP))).values.mean(1)


def dynamic_degree(flow: Float[Tensor, "n 2 h w"], fps: float) -> DynamicDegree:
    """Dynamic if  #{k: m_k > 6 min(H, W) / 256} >= round(4 F / 16),  m_k the top_magnitude.

    flow: of the sub-sampled clip, that is of frames[::frame_interval(fps)], with F = n + 1 frames.
    fps: of the whole clip.
    Two quirks of VBench's are kept: a clip of two frames is always dynamic, as round(1 / 2) is 0,
    and below 8 frames per second the threshold stays the same.
    speed = mean of m_k / sqrt(H^2 + W^2), over the time between frames of the sub-sampled clip.
    Raises ValueError without flow or for fps <= 0.
    """
    if not len(flow):
        raise ValueError(
            "dynamic degree needs at least 2 frames after sub-sampling to 8 per second, got flow "
            "of none; use a longer clip"
        )
    h, w = flow.shape[-2:]
    top = top_magnitude(flow)
    moving = int(torch.sum(top > _THRESHOLD_PX * min(h, w) / 256))
    enough = round(4 * (len(flow) + 1) / 16)
    speed = float(top.mean()) / math.hypot(h, w) * fps / frame_interval(fps)
    return DynamicDegree(moving >= enough, speed)
