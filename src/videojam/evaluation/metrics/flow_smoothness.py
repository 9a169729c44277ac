"""Smoothness of motion in time: how steady the flow is along the trajectories.

It compares flow with flow only, so it sees jerks, stutter and reversals, not colours. A moving
clip cannot hide behind a still background: pixels at rest add nothing to either mean. A frozen
clip is perfectly smooth, so read it beside the dynamic degree. The change from one pair to the
next shrinks as frames get closer in time: compare clips of the same frames per second.
"""

import math

from jaxtyping import Bool, Float
from torch import Tensor

from videojam.motion.warp import backward_warp, flow_length, visible

# Mean motion under this share of the frame diagonal (a pixel at 832 x 480) is no motion to speak
# of: noise of the estimator, which must not make a still clip look jerky.
_FLOOR = 1e-3


def flow_smoothness(
    flow: Float[Tensor, "n 2 h w"], occluded: Bool[Tensor, "n h w"] | None = None
) -> float:
    """S = 1 / (1 + R),  R = mean |f'_{k+1} - f_k| / max(mean (|f'_{k+1}| + |f_k|) / 2, floor).

    f'_{k+1}(p) = f_{k+1}(p + f_k(p)) is the next flow of the pixel that was at p. Both means are
    over all pairs of consecutive flows and all pixels visible in the next frame; floor is 0.001
    of the frame diagonal.
    flow: pixels. occluded: as of warp.occlusion.
    Returns 1 for constant velocity along every trajectory, 1/3 (R is at most 2) where motion
    reverses or stops and starts with every frame; NaN where no pixel is visible.
    Raises ValueError for fewer than two flows or a mask that does not fit.
    """
    if flow.shape[0] < 2:
        raise ValueError(
            f"smoothness compares consecutive flows and needs at least 2, got {flow.shape[0]}; "
            "use a clip of at least 3 frames"
        )
    seen = visible(flow, occluded)
    change = magnitude = 0.0
    for k in range(flow.shape[0] - 1):  # pair by pair, for memory
        now, after = flow[k : k + 1], backward_warp(flow[k + 1 : k + 2], flow[k : k + 1])
        change += _sum(after - now, seen[k])
        magnitude += (_sum(after, seen[k]) + _sum(now, seen[k])) / 2
    count = int(seen[:-1].sum())
    if not count:
        return float("nan")
    floor = _FLOOR * math.hypot(*flow.shape[-2:])
    return 1 / (1 + change / max(magnitude, floor * count))


def _sum(flow: Tensor, where: Tensor) -> float:
    return float((flow_length(flow) * where).double().sum())
