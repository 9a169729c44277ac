"""Permanence: what was asked for is there all the time, once, and of one size; nothing else is."""

import numpy as np

from videojam.lab.metrics.scores import score, worst
from videojam.lab.metrics.tracks import Seen, Tracks

FLOOR, SCALE = 0.02, 0.1  # mean over frames of the share of area that is wrong
_SLACK = 0.12  # relative change of area that pixels allow


def permanence(tracks: Tracks) -> float:
    """exp(-(wrong - FLOOR) / SCALE) of the colour with most that is wrong.

    wrong: mean over frames of the missing or added share of the area (at most 1), beyond 12 %.
    Less area is allowed where the colour touches the border of the picture or another colour.
    """
    scores = [score(_wrong(tracks, seen), FLOOR, SCALE) for seen in tracks.colours.values()]
    usual = np.median([seen.full for seen in tracks.colours.values()])
    stray = np.minimum(tracks.stray / max(usual, 1e-6), 1.0)
    return worst([*scores, score(float(stray.mean()), FLOOR, SCALE)])


def _wrong(tracks: Tracks, seen: Seen) -> float:
    if seen.full == 0.0:
        return 1.0
    usual = float(np.median(seen.area[seen.area > 0.3 * seen.full]))
    ratio = seen.area / usual
    less = np.maximum(1 - ratio - _SLACK, 0.0)
    more = np.maximum(1 - 1 / np.maximum(ratio, 1.0) - _SLACK, 0.0)
    excused = _excused(seen)
    return float(np.minimum(np.where(excused, 0.0, less) + more, 1.0).mean())


def _excused(seen: Seen) -> np.ndarray:
    """Partly out of the picture, or partly covered; or gone between two such frames."""
    there = seen.area > 0.15 * seen.full
    excused = (seen.cut | seen.hidden) & there
    out = excused.copy()
    for k in range(1, len(out)):
        out[k] |= out[k - 1] and not there[k]
    for k in range(len(out) - 2, -1, -1):
        out[k] |= out[k + 1] and not there[k]
    return out
