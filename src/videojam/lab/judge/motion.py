"""Motion: whether what should move does. A still clip breaks no rule by moving wrongly, so what
it keeps must not be counted for it.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from videojam.lab.judge.seeing.tracks import Tracks

_NONE, _ENOUGH = 0.05, 0.2  # of the travel asked for: slow for quick is still motion
_LEAST = 0.03  # frame heights: asked for less than this, standing still is right
_STEP = 4  # frames between the places compared, over which noise is small beside motion


def motion(tracks: Tracks) -> float:
    """0 for a still clip, 1/2 for one that stops halfway, 1 for one that moves all the time."""
    return alive(tracks, tracks.templates)


def alive(tracks: Tracks, names: Iterable[str]) -> float:
    """The mean over both halves of the clip of how far bodies go: 1 from 20 % of what is asked on.

    Asked is the travel in the scene's slower half; of its poses only this is used.
    """
    known = [name for name in names if name in tracks.templates]
    asked = np.sum([_asked(tracks, name) for name in known], axis=0) if known else np.zeros(2)
    seen = np.sum([_seen(tracks, name) for name in known], axis=0) if known else np.zeros(2)
    if asked.sum() < _LEAST:
        return 1.0
    if asked.min() < _LEAST / 2:  # as good as still in one half, and it may be either
        asked, seen = asked.sum(keepdims=True), seen.sum(keepdims=True)
    return float(np.clip((seen / asked.min() - _NONE) / (_ENOUGH - _NONE), 0.0, 1.0).mean())


def travel(path: Float[np.ndarray, "f d"]) -> Float[np.ndarray, "2"]:
    """Length of the path in either half of the clip, in steps of four frames; gaps as the rest."""
    steps = np.linalg.norm(path[_STEP:] - path[:-_STEP], axis=1) / _STEP
    halves = [half[np.isfinite(half)] for half in np.array_split(steps, 2)]
    return np.array([half.mean() if len(half) else 0.0 for half in halves]) * len(steps) / 2


def _asked(tracks: Tracks, name: str) -> Float[np.ndarray, "2"]:
    poses = tracks.scene.pose(name).numpy().astype(np.float64)
    if name not in tracks.bodies:
        return travel(poses[:, :2])
    template = tracks.templates[name]
    turning = travel(poses[:, 2:]) * (template.reach if template.mark is not None else 0.0)
    return travel(poses[:, :2]) + turning


def _seen(tracks: Tracks, name: str) -> Float[np.ndarray, "2"]:
    if name not in tracks.bodies:
        return travel(tracks.colours[tracks.templates[name].colours[0]].centre)
    track = tracks.bodies[name]
    if track.template.mark is None:
        return travel(track.middle)
    return travel(track.middle) + travel(track.angle[:, None]) * track.template.reach * track.size
