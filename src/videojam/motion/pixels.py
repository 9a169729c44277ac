"""Flow <-> the pixels that a VAE takes and gives: the one pair through which everything here goes.

    motion = motion_pixels(flow)         F - 1 flows -> F frames in [-1, 1], channels first
    flow   = flow_from_motion(motion)    and back, from what a VAE decoded, or from a file's frames

No motion is black, -1, where bfloat16 has steps of 1/256: 0.28 pixels of flow at 480 x 832. Keep
these pixels and the VAE in float32 (docs/results.md).
"""

import torch
from torch import Tensor

from videojam.motion.color import SIGMA, Background, flow_to_rgb, rgb_to_flow
from videojam.motion.flow import repeat_last

_OUTSIDE = 0.05  # decoders overshoot a little


def motion_pixels(flow: Tensor, sigma: float = SIGMA, background: Background = "black") -> Tensor:
    """Paper, motion representation: flow -> the motion video that the VAE is given.

    flow: floating point (F-1, 2, H, W) in pixels, x right, y down. Returns float32 (3, F, H, W) in
    [-1, 1], F frames, as the last flow is repeated. Raises ValueError for another shape, no frame,
    or whole numbers.
    """
    if flow.ndim != 4 or flow.shape[1] != 2 or not flow.shape[0]:
        raise ValueError(
            f"flow has shape {tuple(flow.shape)}, expected (F-1, 2, H, W) with F of at least 2; of "
            "a batch call it for each clip"
        )
    if not flow.is_floating_point():
        raise ValueError(f"flow is {flow.dtype}, expected floating point pixels")
    return flow_to_rgb(repeat_last(flow), sigma, background).mul(2).sub(1).movedim(1, 0)


def flow_from_motion(motion: Tensor, sigma: float = SIGMA) -> Tensor:
    """The inverse: a motion video -> flow float32 (..., F-1, 2, H, W) in pixels.

    motion: floating point (..., 3, F, H, W) in [-1, 1], as decode() and VAEs give it, or uint8
    (..., F, H, W, 3), as files and Clip.motion hold it. Raises ValueError for other types and
    shapes, no frames, and values far outside of [-1, 1].
    """
    if motion.dtype == torch.uint8:
        if motion.ndim < 4 or motion.shape[-1] != 3:
            raise _shape(motion, "uint8 motion", "(..., F, H, W, 3)")
        rgb = motion.movedim(-1, -3).float() / 255
    elif motion.is_floating_point():
        if motion.ndim < 4 or motion.shape[-4] != 3:
            raise _shape(motion, "motion", "(..., 3, F, H, W) in [-1, 1]")
        if motion.numel() and not _within(motion):
            raise ValueError(
                f"motion has values from {float(motion.min()):.3g} to {float(motion.max()):.3g}, "
                "expected [-1, 1]; frames of 0 to 255 are uint8 with channels last"
            )
        rgb = (motion.float().movedim(-4, -3) + 1) / 2
    else:
        raise ValueError(f"motion is {motion.dtype}, expected floating point or uint8")
    if rgb.shape[-4] < 1:
        raise ValueError("motion has no frames")
    # The representation repeats the last flow: F frames have F - 1 flows.
    return rgb_to_flow(rgb[..., :-1, :, :, :], sigma)


def _within(motion: Tensor) -> bool:
    """NaN passes, and stays."""
    limit = 1 + _OUTSIDE
    return not bool(((motion < -limit) | (motion > limit)).any())


def _shape(motion: Tensor, what: str, expected: str) -> ValueError:
    return ValueError(f"{what} has shape {tuple(motion.shape)}, expected {expected}")
