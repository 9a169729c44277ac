"""Text: the share of what the caption asks for that is there. Says nothing about motion's laws."""

import math

import numpy as np

from videojam.lab.metrics.scores import mean
from videojam.lab.metrics.tracks import Tracks
from videojam.lab.scene import Asked

_WAYS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
_TURNS = {"clockwise": 1.0, "counterclockwise": -1.0}
_SLACK = 1.2  # a speed this much out of its range is still right


def text(tracks: Tracks) -> float:
    """Things asked for that are satisfied, over things asked for."""
    return mean([float(right) for asked in tracks.scene.asked for right in _checks(tracks, asked)])


def _checks(tracks: Tracks, asked: Asked) -> list[bool]:
    seen = tracks.colours[asked.colour]
    expected = sum(tracks.templates[n].areas[asked.colour] for n in tracks.owners[asked.colour])
    present = (seen.area > 0.2 * expected).mean() > 0.5
    checks = [bool(present)]
    if asked.direction is not None:
        checks.append(present and _direction(tracks, asked))
    if asked.speed is not None:
        low, high = asked.speed
        pace = _pace(tracks, asked)
        checks.append(present and low / _SLACK <= pace <= high * _SLACK)
    return checks


def _direction(tracks: Tracks, asked: Asked) -> bool:
    if asked.direction in _TURNS:
        track = tracks.bodies.get(asked.body)
        if track is None or track.template.mark is None:
            return True
        turn = track.angle[np.isfinite(track.angle)]
        return len(turn) > 1 and (turn[-1] - turn[0]) * _TURNS[asked.direction] > 0.1
    path = _path(tracks, asked)
    path = path[np.isfinite(path[:, 0])]
    if len(path) < 3:
        return False
    along = (path - path[0]) @ np.array(_WAYS[str(asked.direction)])
    moved = np.flatnonzero(np.abs(along) > 0.02)
    return len(moved) > 0 and bool(along[moved[0]] > 0)


def _pace(tracks: Tracks, asked: Asked) -> float:
    track = tracks.bodies.get(asked.body)
    span = float(tracks.times[-1])
    if asked.direction in _TURNS:
        if track is None or track.template.mark is None:
            return math.nan
        turn = track.angle[np.isfinite(track.angle)]
        return float(np.abs(np.diff(turn)).sum()) / span if len(turn) > 1 else 0.0
    path = _path(tracks, asked)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    steps = steps[np.isfinite(steps)]
    return float(steps.mean() * tracks.scene.fps) if len(steps) else 0.0


def _path(tracks: Tracks, asked: Asked) -> np.ndarray:
    track = tracks.bodies.get(asked.body)
    return track.middle if track is not None else tracks.colours[asked.colour].centre
