"""Convex hulls of masks: what a rod in front hides of a disc or a box is filled again."""

import numpy as np
from jaxtyping import Float

_DIRECTIONS = 32
_ANGLES = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
_NORMALS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])  # (2, directions)


def filled(share: Float[np.ndarray, "f h w"]) -> Float[np.ndarray, "f h w"]:
    """Covered everywhere between covered pixels, frame by frame, but for their soft outline."""
    out = share.copy()
    for k, frame in enumerate(share):
        rows, columns = np.nonzero(frame > 0.5)
        if len(rows) < 3:
            continue
        limits = (np.stack([columns, rows], axis=-1) @ _NORMALS).max(0)
        top, left = rows.min(), columns.min()
        y, x = np.mgrid[top : rows.max() + 1, left : columns.max() + 1]
        inside = (np.stack([x, y], axis=-1) @ _NORMALS <= limits - 0.7).all(-1)
        part = out[k, top : rows.max() + 1, left : columns.max() + 1]
        np.maximum(part, inside, out=part)
    return out


def convexity(share: Float[np.ndarray, "h w"]) -> float:
    """Area over that of the hull: 1 for convex shapes."""
    return float(share.sum() / max(filled(share[None]).sum(), 1e-9))
