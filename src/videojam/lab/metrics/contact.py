"""Contact: bodies that must stay apart do not go into each other, nor into floors and posts."""

import math

import numpy as np

from videojam.lab.metrics.scores import mean, score
from videojam.lab.metrics.stage import bottom, floor
from videojam.lab.metrics.tracks import Tracks
from videojam.lab.scene import Law

FLOOR, SCALE = 0.02, 0.03  # frame heights


def contact(tracks: Tracks) -> float:
    """exp(-(depth - FLOOR) / SCALE), the mean over the "apart" laws that can be seen."""
    return mean([_score(tracks, law) for law in tracks.scene.laws if law.kind == "apart"])


def _score(tracks: Tracks, law: Law) -> float:
    first, second = law.bodies
    if second not in tracks.bodies:
        first, second = second, first
    if first in tracks.bodies and second in tracks.bodies:
        return score(_depth(tracks, first, second), FLOOR, SCALE)
    if first == "floor" and second in tracks.bodies:
        ground = floor(tracks)
        lowest = bottom(tracks.bodies[second].share, tracks.height)
        depth = np.nanmax(lowest, initial=0.0) - (ground if ground is not None else 1.0)
        return score(max(float(depth), 0.0), FLOOR, SCALE)
    return math.nan


def _depth(tracks: Tracks, first: str, second: str) -> float:
    """What one loses of its area to the other, as a length: loss / width of the body."""
    one, two = tracks.bodies[first], tracks.bodies[second]
    depth = 0.0
    near = np.linalg.norm(one.middle - two.middle, axis=1)
    together = near < 1.2 * (one.template.reach * one.size + two.template.reach * two.size)
    for track in (one, two):
        lost = np.maximum(1 - track.area / max(track.full, 1e-9), 0.0) * together
        depth = max(depth, float(np.nanmax(lost, initial=0.0)) * track.template.reach * track.size)
    return depth
