"""Kinds of shape, by numbers that do not depend on place, turn or size."""

import numpy as np
from jaxtyping import Float

from videojam.lab.judge.seeing.templates import harmonic

# How far each number of a right shape may be from the template's.
_TOLERANCE = np.array([0.35, 0.25, 0.15, 0.15])
# From here on the others depend on how long, or how hollow, it is, which nobody asked for.
_LONG, _HOLLOW = 0.4, 0.45


def alike(seen: Float[np.ndarray, "f h w"], shape: Float[np.ndarray, "rows columns"]) -> bool:
    """True if the usual mask is of the kind of the shape: round, square, long, hollow ..."""
    if not len(seen):
        return False
    found, wanted = np.median(outline(seen), axis=0), outline(shape[None])[0]
    if wanted[1] > _LONG:
        return bool(found[1] > wanted[1] - _TOLERANCE[1])
    right = np.abs(found - wanted) < _TOLERANCE
    if wanted[0] > _HOLLOW:
        right[0] = found[0] > _HOLLOW - _TOLERANCE[0] / 2
    return bool(right.all())


def outline(share: Float[np.ndarray, "f h w"]) -> Float[np.ndarray, "f 4"]:
    """log(2 pi I / A^2), 0 for a disc, and the strengths of the harmonics 2, 3 and 4."""
    height, width = share.shape[1:]
    y, x = np.mgrid[0:height, 0:width] + 0.5
    area = np.maximum(share.sum((1, 2)), 1e-9)
    x = x - ((share * x).sum((1, 2)) / area)[:, None, None]
    y = y - ((share * y).sum((1, 2)) / area)[:, None, None]
    inertia = (share * (x**2 + y**2)).sum((1, 2))
    spread = np.log(np.maximum(2 * np.pi * inertia / area**2, 1e-9))
    return np.stack([spread, *(harmonic(share, x, y, k)[0] for k in (2, 3, 4))], axis=-1)
