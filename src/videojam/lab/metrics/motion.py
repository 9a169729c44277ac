"""Motion: whether what should move does. A still clip breaks no rule by moving wrongly, so what
it keeps must not be counted for it.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from videojam.lab.metrics.tracks import Tracks

_NONE, _ENOUGH = 0.05, 0.2  # of the travel asked for: slow for quick is still motion
_LEAST = 0.03  # frame heights: asked for less than this, standing still is right


def motion(tracks: Tracks) -> float:
    """0 for a still clip, 1 from 20 % of the travel of the scene's own bodies on."""
    return alive(tracks, tracks.templates)


def alive(tracks: Tracks, names: Iterable[str]) -> float:
    """The same for some bodies. Of the scene's poses only how far they lead is used."""
    known = [name for name in names if name in tracks.templates]
    asked = sum(_asked(tracks, name) for name in known)
    if asked < _LEAST:
        return 1.0
    seen = sum(_seen(tracks, name) for name in known)
    return float(np.clip((seen / asked - _NONE) / (_ENOUGH - _NONE), 0.0, 1.0))


def travel(path: Float[np.ndarray, "f d"]) -> float:
    """Length of the path in steps of four frames, which the noise of places lengthens less."""
    steps = np.linalg.norm(path[4:] - path[:-4], axis=1)
    return float(steps[np.isfinite(steps)].sum()) / 4


def _asked(tracks: Tracks, name: str) -> float:
    poses = tracks.scene.pose(name).numpy().astype(np.float64)
    if name not in tracks.bodies:
        return travel(poses[:, :2])
    template = tracks.templates[name]
    turning = travel(poses[:, 2:]) * template.reach if template.mark is not None else 0.0
    return travel(poses[:, :2]) + turning


def _seen(tracks: Tracks, name: str) -> float:
    if name not in tracks.bodies:
        return travel(tracks.colours[tracks.templates[name].colours[0]].centre)
    track = tracks.bodies[name]
    turning = 0.0
    if track.template.mark is not None:
        turning = travel(track.angle[:, None]) * track.template.reach * track.size
    return travel(track.middle) + turning
