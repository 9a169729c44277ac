"""Where the fixed things of a clip are, seen in its pixels near where the stage has them."""

import numpy as np

from videojam.lab.metrics.tracks import Tracks
from videojam.lab.scene import Scene


def floor(tracks: Tracks) -> float | None:
    """Height of the floor's surface; None where the scene has none. All floors are level."""
    return _asked_floor(tracks.scene)


def _asked_floor(scene: Scene) -> float | None:
    for body in scene.bodies:
        if body.name == "floor":
            part = body.parts[0]
            y = float(scene.pose("floor")[0, 1])
            return y + part.at[1] - part.half[1]
    return None


def bottom(share: np.ndarray, height: int) -> np.ndarray:
    """Lowest point of a mask per frame, by where the coverage of rows runs out; NaN if empty."""
    rows = share.max(2)
    covered = rows > 0.5
    lowest = np.where(covered.any(1), rows.shape[1] - 1 - covered[:, ::-1].argmax(1), -1)
    below = np.minimum(lowest + 1, rows.shape[1] - 1)
    part = np.where(below > lowest, rows[np.arange(len(rows)), below], 0.0)
    return np.where(lowest >= 0, (lowest + 1 + part) / height, np.nan)
