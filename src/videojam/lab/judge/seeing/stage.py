"""Where the floor is, and how far things reach towards it."""

import numpy as np
from jaxtyping import Float

from videojam.lab.judge.seeing.tracks import Tracks


def floor(tracks: Tracks) -> float | None:
    """Height of the floor's surface; None where the scene has none.

    Every floor of the Lab is at one height, so this one is taken from the scene.
    """
    for body in tracks.scene.bodies:
        if body.name == "floor":
            part = body.parts[0]
            return float(tracks.scene.pose("floor")[0, 1]) + part.at[1] - part.half[1]
    return None


def bottom(share: Float[np.ndarray, "f h w"]) -> Float[np.ndarray, "f"]:
    """Lowest point of a mask per frame, in frame heights; NaN where it is empty."""
    return extent(share, (0.0, 1.0))


def extent(share: Float[np.ndarray, "f h w"], way: tuple[float, float]) -> Float[np.ndarray, "f"]:
    """How far a mask reaches along a unit vector, in frame heights; NaN where it is empty.

    By the pixels that are more than half covered, and how much of each is.
    """
    height, width = share.shape[1:]
    outside = 0.5 * (abs(way[0]) + abs(way[1])) - (1 - share)
    reach = along(height, width, way) + outside / height
    furthest = np.where(share > 0.5, reach, -np.inf).max((1, 2))
    return np.where(np.isfinite(furthest), furthest, np.nan)


def along(height: int, width: int, way: tuple[float, float]) -> Float[np.ndarray, "h w"]:
    """Scene coordinates of the pixels along a unit vector."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    return ((x - width / 2) / height + 0.5) * way[0] + y / height * way[1]
