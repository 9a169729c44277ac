"""Flow-warp error: how far the colours change along the motion (after Lai et al. 2018, who
square the difference).

Low for a clip whose objects keep their looks while they move. Read it beside the dynamic degree
(a frozen clip has no error at all) and the share of occluded pixels, which are left out.
"""

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from videojam.motion.warp import backward_warp, visible


def warp_error(
    frames: UInt8[Tensor, "f h w 3"],
    flow: Float[Tensor, "f-1 2 h w"],
    occluded: Bool[Tensor, "f-1 h w"] | None = None,
) -> float:
    """E = mean over pairs k, visible p and colours of |I_k(p) - I_{k+1}(p + f_k(p))| / 255.

    flow: pixels, from each frame to the next. occluded: pixels that the next frame does not show;
    those that leave the picture are always left out.
    Returns 0 (colours stay) to 1; NaN where no pixel of the clip is visible in the next frame.
    Raises ValueError if frames, flow and mask do not fit together.
    """
    expected = (frames.shape[0] - 1, 2, *frames.shape[1:3])
    if tuple(flow.shape) != expected:
        raise ValueError(
            f"flow has shape {tuple(flow.shape)}, but this clip of {frames.shape[0]} frames needs "
            f"{expected}; give the flow of each frame to the next"
        )
    seen = visible(flow, occluded)
    total = 0.0
    # Pair by pair: a clip in float32 takes four times its memory, and a warp several of those.
    for k in range(frames.shape[0] - 1):
        frame, next_frame = frames[k : k + 2].movedim(-1, 1).float().split(1)
        change = (frame - backward_warp(next_frame, flow[k : k + 1])).abs().mean(1)
        total += float((change * seen[k]).double().sum())
    count = int(seen.sum())
    return total / count / 255 if count else float("nan")
