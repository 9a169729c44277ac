"""How far two clips show the same motion, and the same pictures."""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.motion.warp import flow_length


def relative_end_point_error(
    flow: Float[Tensor, "n 2 h w"], reference: Float[Tensor, "n 2 h w"]
) -> float:
    """sum |f - r| / sum |r| over all pixels of a clip.

    0 for the same flow, 1 for none at all, more for another. NaN where the reference stands still.
    """
    moved = float(flow_length(reference).double().sum())
    error = float(flow_length(flow - reference).double().sum())
    return error / moved if moved > 0 else math.nan


def flow_correlation(flow: Float[Tensor, "n 2 h w"], reference: Float[Tensor, "n 2 h w"]) -> float:
    """sum f . r / (|f| |r|) over all pixels; 0 where either stands still.

    Nothing is subtracted: a pan is motion, and turning both flows by any angle changes nothing.
    """
    scale = float(flow.double().norm() * reference.double().norm())
    return float((flow.double() * reference.double()).sum()) / scale if scale > 0 else 0.0


def psnr(frames: UInt8[Tensor, "f h w 3"], reference: UInt8[Tensor, "f h w 3"]) -> float:
    """Peak signal to noise ratio of a clip in dB; infinity for the same frames."""
    error = float((frames.double() - reference.double()).square().mean())
    return 10 * math.log10(255**2 / error) if error > 0 else math.inf


def motion_share(flow: Float[Tensor, "n 2 h w"], reference: Float[Tensor, "n 2 h w"]) -> float:
    """Mean length of the flow over that of the reference: 1 for as much motion, 0 for none."""
    moved = float(torch.mean(flow_length(reference).double()))
    return float(torch.mean(flow_length(flow).double())) / moved if moved > 0 else math.nan
