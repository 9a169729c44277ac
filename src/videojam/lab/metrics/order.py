"""Order: frames follow each other; turning keeps its sense, legs change in turn."""

import math

import numpy as np

from videojam.lab.metrics.scores import mean, score
from videojam.lab.metrics.tracks import Tracks

FLOOR, SCALE = 0.25, 0.25


def order(tracks: Tracks) -> float:
    """The mean of straightness of all paths, and of the sense of turning where it is a law."""
    return mean([_straightness(tracks), _sense(tracks)])


def _straightness(tracks: Tracks) -> float:
    """1 - sum |p(t+2) - p(t)| / sum (|p(t+1) - p(t)| + |p(t+2) - p(t+1)|): 0 on a line,
    1/2 or more for frames in random order, and 1 for a thing that does not move.
    """
    twice, once = 0.0, 0.0
    for seen in tracks.colours.values():
        p = seen.centre
        far = np.linalg.norm(p[2:] - p[:-2], axis=1)
        near = np.linalg.norm(p[1:] - p[:-1], axis=1)
        near = near[1:] + near[:-1]
        used = np.isfinite(far) & np.isfinite(near)
        twice, once = twice + float(far[used].sum()), once + float(near[used].sum())
    if once == 0.0:
        return 0.0
    return score(1 - twice / once, FLOOR, SCALE)


def _sense(tracks: Tracks) -> float:
    """The share of turning that goes the other way than most."""
    found = []
    for law in tracks.scene.laws:
        if law.kind != "spin" or tracks.bodies[law.bodies[0]].template.mark is None:
            continue
        angle = tracks.bodies[law.bodies[0]].angle
        steps = np.diff(angle[np.isfinite(angle)])
        total = np.abs(steps).sum()
        back = min(steps[steps > 0].sum(), -steps[steps < 0].sum())
        found.append(score(float(back / total), 0.05, 0.2) if total > 0 else 0.0)
    return mean(found) if found else math.nan
