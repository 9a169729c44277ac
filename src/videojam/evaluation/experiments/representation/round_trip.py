"""How much of a flow is left after it was written as colours and went through an autoencoder."""

import math
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from videojam.data.prepare.encode import flow_statistics
from videojam.motion.color import Background
from videojam.motion.pixels import flow_from_motion, motion_pixels
from videojam.motion.warp import flow_length

Through = Callable[[Float[Tensor, "1 3 f h w"]], Float[Tensor, "1 3 f h w"]]
"Pixels in [-1, 1] -> what comes out of the autoencoder; the identity for the colours alone."

MOVING_PX = 0.1  # flow of at least this length counts as motion


def round_trip(
    flow: Float[Tensor, "n 2 h w"], through: Through, sigma: float, background: Background
) -> Float[Tensor, "n 2 h w"]:
    """flow -> colours -> through -> colours -> flow."""
    pixels = through(motion_pixels(flow, sigma, background)[None])[0].cpu()
    return flow_from_motion(pixels, sigma)


def round_trip_errors(
    flow: Float[Tensor, "n 2 h w"], back: Float[Tensor, "n 2 h w"], sigma: float
) -> dict[str, float]:
    """Errors of one clip; NaN where nothing moves (or everything does, for `still_px`).

    error_px    mean |back - flow| over moving pixels
    relative    sum |back - flow| / sum |flow| over moving pixels
    direction   mean cosine between the two over moving pixels, weighted by |flow|
    still_px    mean |back| over the others: motion that is not there
    saturated   share of the moving pixels at or beyond the length where the colour saturates
    """
    length = flow_length(flow).double()
    moving = length >= MOVING_PX
    error = flow_length(back - flow).double()
    product = (back * flow).sum(1).double()
    cosine = product / (flow_length(back).double() * length).clamp(min=1e-12)
    moved, count = (length * moving).sum(), float(moving.sum())
    saturated = flow_statistics(flow, sigma)[1] * moving.numel()
    return {
        "error_px": float(error[moving].mean()),
        "relative": float((error * moving).sum() / moved),
        "direction": float((cosine * length * moving).sum() / moved),
        "still_px": float(flow_length(back).double()[~moving].mean()),
        "saturated": saturated / count if count else math.nan,
    }
