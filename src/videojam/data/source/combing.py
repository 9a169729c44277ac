"""Pictures whose lines are from two moments although the file does not say so.

Interlaced or telecined material that was encoded again as progressive. Where something moves, every
second line then sticks out from both of its neighbours, but not from the next lines of its own
field, nor where nothing moves. Fine texture sticks out everywhere and from both alike.
"""

from typing import Any

import av
import numpy as np
from jaxtyping import Int16

EVERY = 8  # frames between two that are looked at; film in 30 frames/s is combed 2 frames in 5
_LEAST_LEVELS = 12  # of 255, by which a line sticks out
_LEAST_PIXELS = 0.002  # of the picture
_RATIO = 3.0  # over what sticks out from its own field
_LEAST_SHARE, _LEAST_FRAMES = 0.1, 2  # of the frames looked at

Luma = Int16[np.ndarray, "h w"]


def luma(frame: av.VideoFrame) -> Luma:
    """Brightness of every line, of every fourth column."""
    first, *others = frame.format.components
    plane = frame.planes[0]
    if first.bits == 8 and all(part.plane for part in others) and plane.line_size > 0:
        content: Any = plane  # a buffer, which is not copied
        image = np.frombuffer(content, np.uint8).reshape(-1, plane.line_size)
        image = image[: frame.height, : frame.width]
    else:
        image = frame.reformat(format="gray", threads=1).to_ndarray()
    return image[:, ::4].astype(np.int16)


def is_combed(before: Luma, now: Luma) -> bool:
    """Whether what has changed since the frame before sticks out line by line."""
    changed = np.abs(now - before) > _LEAST_LEVELS
    combed = _sticks_out(now, 1)
    moving, still = combed & changed[1:-1], combed & ~changed[1:-1]
    share = float(changed.mean())
    of_field = _sticks_out(now, 2) & changed[2:-2]
    return bool(
        moving.mean() > max(_LEAST_PIXELS, _RATIO * of_field.mean())
        and moving.mean() * (1 - share) > _RATIO * still.mean() * share
    )


def are_combed(found: list[bool]) -> bool:
    """Of a whole file, by the frames that were looked at."""
    return sum(found) >= max(_LEAST_FRAMES, _LEAST_SHARE * len(found))


def _sticks_out(image: Luma, lines: int) -> np.ndarray:
    """Brighter than the pixels so many lines above and below, or darker than both."""
    middle, above, below = image[lines:-lines], image[: -2 * lines], image[2 * lines :]
    brighter = np.minimum(middle - above, middle - below)
    darker = np.minimum(above - middle, below - middle)
    return np.maximum(brighter, darker) > _LEAST_LEVELS
