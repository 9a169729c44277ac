"""From a clip to its optical flow (paper, motion representation, step 1).

F frames give F - 1 flows; the representation needs F so that it encodes to the same latent shape.
The rule used here is to repeat the last flow (docs/deviations.md).
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


@runtime_checkable
class FlowEstimator(Protocol):
    """Anything that maps a uint8 clip (F, H, W, 3) to float32 flow (F-1, 2, H, W) in pixels."""

    def __call__(self, clip: UInt8[Tensor, "f h w 3"]) -> Float[Tensor, "f-1 2 h w"]: ...


def estimate_flow(
    clip: UInt8[Tensor, "f h w 3"], estimator: FlowEstimator | None = None
) -> Float[Tensor, "f-1 2 h w"]:
    """Dense optical flow from each frame to the next.

    clip: uint8 frames; at least two.
    estimator: default OpenCV DIS, which needs no weights.
    Returns float32 displacements in pixels of this frame size, x right, y down.
    Raises ValueError for fewer than two frames, or if the estimator returns a wrong shape or
    values that are not finite.
    """
    if clip.shape[0] < 2:
        raise ValueError(
            f"optical flow needs at least 2 frames, got {clip.shape[0]}; use a longer clip"
        )
    if estimator is None:
        from videojam.motion.estimators.dis import DIS

        estimator = DIS()
    flow = estimator(clip)
    expected = (clip.shape[0] - 1, 2, clip.shape[1], clip.shape[2])
    if tuple(flow.shape) != expected:
        raise ValueError(
            f"{estimator} returned flow of shape {tuple(flow.shape)}, expected {expected}"
        )
    if not torch.isfinite(flow).all():
        raise ValueError(
            f"{estimator} returned flow that is not finite; check the clip for broken frames"
        )
    return flow.float()


def repeat_last(flow: Float[Tensor, "n 2 h w"]) -> Float[Tensor, "n+1 2 h w"]:
    """F - 1 flows -> F motion frames: the last frame moves on as the one before it did."""
    return torch.cat([flow, flow[-1:]])
