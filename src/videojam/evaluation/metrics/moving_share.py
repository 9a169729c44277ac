"""How much of the picture moves: small for what the paper calls a zoom-out (its Figure 7 a)."""

import math

from jaxtyping import Float
from torch import Tensor

from videojam.motion.warp import flow_length

_MOVES = 0.05  # frame diagonals per second


def moving_share(flow: Float[Tensor, "n 2 h w"], fps: float) -> float:
    """The share of pixels, over all pairs of frames, faster than 0.05 frame diagonals per second.

    That is 2.4 pixels a frame at 480 x 832 and 20 frames a second: above the noise of an estimator,
    under a slow walk in the middle distance. A moving camera moves everything.
    Raises ValueError for fps <= 0 or no flow.
    """
    if not fps > 0 or not len(flow):
        raise ValueError(f"{len(flow)} flows at {fps} frames a second; expected some of each")
    threshold = _MOVES * math.hypot(*flow.shape[-2:]) / fps
    return float((flow_length(flow) > threshold).double().mean())
