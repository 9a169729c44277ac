"""Which size a video is resized to, and the resize: buckets, centre crop, area interpolation."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from videojam.data.source.video_file import VideoError

Size = tuple[int, int]  # height, width in pixels


def choose_size(
    height: int, width: int, pixel_aspect: float, sizes: Sequence[Size], max_upscale: float
) -> Size:
    """The size with the nearest aspect ratio; among equals the largest that needs no enlarging.

    Raises VideoError if the video would have to be enlarged more than max_upscale times.
    """
    aspect = width * pixel_aspect / height

    def distance(size: Size) -> float:
        return round(abs(math.log(size[1] / size[0] / aspect)), 6)

    def upscale(size: Size) -> float:
        _, _, rows, columns = _crop(height, width, pixel_aspect, size)
        return max(size[0] / rows, size[1] / columns)

    nearest = min(distance(size) for size in sizes)
    candidates = [size for size in sizes if distance(size) == nearest]
    fitting = [size for size in candidates if upscale(size) <= max_upscale]
    if not fitting:
        least = min(candidates, key=upscale)
        raise VideoError(
            f"too small: {height} x {width} would be enlarged {upscale(least):.2f} times to "
            f"{least[0]} x {least[1]} (height x width), allowed is {max_upscale:g}"
        )
    return max(fitting)


def resize(
    frame: UInt8[np.ndarray, "h w 3"], size: Size, pixel_aspect: float = 1.0
) -> UInt8[np.ndarray, "H W 3"]:
    """Centre crop to the aspect ratio of size, then resize: area average when shrinking."""
    top, left, rows, columns = _crop(frame.shape[0], frame.shape[1], pixel_aspect, size)
    crop = np.ascontiguousarray(frame[top : top + rows, left : left + columns])
    if crop.shape[:2] == size:
        return crop
    shrinks = size[0] <= rows and size[1] <= columns
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(crop, (size[1], size[0]), interpolation=method)


def _crop(height: int, width: int, pixel_aspect: float, size: Size) -> tuple[int, int, int, int]:
    """Top, left, rows and columns of the largest centred box with the aspect ratio of size."""
    columns_per_row = size[1] / size[0] / pixel_aspect
    rows = min(height, max(1, round(width / columns_per_row)))
    columns = min(width, max(1, round(height * columns_per_row)))
    return (height - rows) // 2, (width - columns) // 2, rows, columns
