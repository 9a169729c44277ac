"""Motion strength: how much of a clip's picture moves how fast, as a number that a prompt can name.

The mean length of the flow over all pixels and frames, in diagonals of the frame per second, so
that neither size nor frame rate matter; in five steps, each of twice the motion of the one below.
"""

import math

LEVELS = (1, 2, 3, 4, 5)
_FIRST = 0.01  # diagonals per second between levels 1 and 2


def motion_strength(flow_mean_px: float, height: int, width: int, fps: float) -> int:
    """1 below 0.01 diagonals a second, 2 below 0.02, 3 below 0.04, 4 below 0.08, 5 from there on.

    flow_mean_px: mean length of the flow from frame to frame, in pixels. ValueError for one that is
    negative or not finite.
    """
    if not 0 <= flow_mean_px < math.inf:
        raise ValueError(f"mean flow is {flow_mean_px}, expected a finite number >= 0")
    speed = flow_mean_px * fps / math.hypot(height, width)
    if speed < _FIRST:
        return LEVELS[0]
    return min(2 + math.floor(math.log2(speed / _FIRST)), LEVELS[-1])


def with_strength(prompt: str, strength: int) -> str:
    """The prompt, with the motion strength that it asks for. ValueError for another number."""
    if strength not in LEVELS:
        raise ValueError(f"motion strength is {strength}, expected one of {LEVELS}")
    # In front, where no model's limit cuts it.
    return f"motion strength {strength}" + (f", {prompt}" if prompt else "")
