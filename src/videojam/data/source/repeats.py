"""Which frames only repeat the one before: files whose pictures change more slowly than their rate.

A conversion from 10 to 30 frames per second shows every picture three times. By timestamps it is
30 frames/s; as motion it stops and goes. Such a repeat changes nothing *between* changes that are
large at once, several times a second. A still scene has no large changes around; what slows down
and turns has them, but they shrink and grow step by step.
"""

import numpy as np
from jaxtyping import Bool, Float64

_RATIO = 0.1  # of the changes right before and after a run of repeats
_LEAST_CHANGE = 3.0  # of 255: smaller changes around are noise or nearly still
_LONGEST_S = 0.5  # a longer stop is a stop
_LEAST_SHARE = 0.1  # of the frames of the second around; rarer ones are chance


def repeats(largest: Float64[np.ndarray, "k"], interval_s: float) -> Bool[np.ndarray, "k+1"]:
    """True for each frame that repeats the one before it.

    largest[k]: change of the pixel that changes most, from frame k to k + 1 (decode.scan).
    interval_s: seconds between frames.
    """
    found = np.zeros(len(largest) + 1, dtype=bool)
    if len(largest) < 3 or interval_s <= 0:
        return found
    reach = max(1, round(_LONGEST_S / interval_s))
    padded = np.pad(largest, reach)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1)
    low = np.pad(largest < _RATIO * around, 1)
    starts = np.flatnonzero(low[1:] & ~low[:-1]).tolist()
    ends = np.flatnonzero(low[:-1] & ~low[1:]).tolist()  # one behind the last
    longest = 0
    # Runs at the ends of the file, which have one neighbour only, last: they are believed if they
    # are no longer than the others.
    runs = sorted(zip(starts, ends, strict=True), key=lambda run: _at_end(run, len(largest)))
    for start, end in runs:
        limit = longest if _at_end((start, end), len(largest)) else reach
        beside = min((largest[k] for k in (start - 1, end) if 0 <= k < len(largest)), default=0)
        repeated = beside >= _LEAST_CHANGE and largest[start:end].max() < _RATIO * beside
        if repeated and end - start <= limit:
            found[start + 1 : end + 1] = True
            longest = max(longest, end - start)
    second = np.ones(min(len(found), max(1, round(1 / interval_s))))
    share = np.convolve(found, second, "same") / np.convolve(np.ones(len(found)), second, "same")
    return found & (share >= _LEAST_SHARE)


def _at_end(run: tuple[int, int], count: int) -> bool:
    return run[0] == 0 or run[1] == count
