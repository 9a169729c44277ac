"""Where a video cuts: our own small detector of hard cuts.

A cut is a frame whose change from the one before is large and stands out from the changes around
it. Fast motion is large too, but so are its neighbours; a flash is two large changes in a row.
Fades and dissolves are not found (measured in docs/results.md).
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Float64

MIN_CHANGE = 8.0  # of 255, mean over a 64 x 36 RGB thumbnail
MIN_RATIO = 3.0  # over the largest change in the neighbourhood
NEIGHBOURS = 3  # frames on either side


def find_cuts(differences: Float64[np.ndarray, "n"]) -> list[int]:
    """Frame indices at which a new scene begins.

    differences[k] is the change from frame k to k + 1 (decode.scan).
    """
    if not len(differences):
        return []
    padded = np.pad(differences, NEIGHBOURS)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1).copy()
    windows[:, NEIGHBOURS] = 0
    around = windows.max(axis=1)
    cuts = (differences > MIN_CHANGE) & (differences > MIN_RATIO * around)
    return [int(k) + 1 for k in np.flatnonzero(cuts)]


def scenes(num_frames: int, cuts: list[int]) -> list[tuple[int, int]]:
    """(first, last) frame index of each scene, inclusive."""
    edges = [0, *cuts, num_frames]
    return [(a, b - 1) for a, b in pairwise(edges)]
