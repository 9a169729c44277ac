"""Rigidity: every body keeps its shape, up to moving and turning."""

import math

import numpy as np
from jaxtyping import Float

from videojam.lab.judge.scores import mean, score
from videojam.lab.judge.seeing.tracks import Track, Tracks

SCALE = 0.1  # of 1 - intersection / union
_EDGE = 0.22  # pixels by which noise moves the outline of a true clip's body
_SIDE = 32


def rigidity(tracks: Tracks) -> float:
    """exp(-(left - floor) / SCALE), the mean over the bodies that can be told apart.

    left: mean over frames of 1 - intersection / union of a body's mask and its own mean mask, both
    turned and moved into one place. floor: 0.22 pixels x outline / area of the body.
    """
    bodies = (*tracks.bodies.values(), *tracks.limbs)
    return mean([_score(tracks, track) for track in bodies])


def _score(tracks: Tracks, track: Track) -> float:
    used = track.whole & np.isfinite(track.middle[:, 0])
    if track.template.mark is not None:
        used &= np.isfinite(track.angle)
    if used.sum() < 3:
        return 0.0 if track.full == 0.0 else math.nan
    masks = _aligned(tracks, track, used)
    middle = masks.mean(0)
    both = np.minimum(masks, middle).sum((1, 2))
    either = np.maximum(masks, middle).sum((1, 2))
    left = float(1 - (both / np.maximum(either, 1e-9)).mean())
    return score(left, _EDGE * _outline_over_area(track.share[used]), SCALE)


def _outline_over_area(share: Float[np.ndarray, "f h w"]) -> float:
    """Per pixel: the gradient of a mask adds up to the length of its outline."""
    down, right = share[:, 1:, :-1] - share[:, :-1, :-1], share[:, :-1, 1:] - share[:, :-1, :-1]
    return float(np.hypot(down, right).sum() / max(share.sum(), 1e-9))


def _aligned(tracks: Tracks, track: Track, used: np.ndarray) -> np.ndarray:
    """The masks in the body's frame, (n, side, side)."""
    reach = 1.3 * track.template.reach * track.size
    grid = (np.arange(_SIDE) + 0.5) / _SIDE * 2 * reach - reach
    v, u = np.meshgrid(grid, grid, indexing="ij")
    turn = track.angle[used] if track.template.mark is not None else np.zeros(int(used.sum()))
    cos, sin = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    at = track.middle[used]
    x = at[:, 0, None, None] + cos * u - sin * v
    y = at[:, 1, None, None] + sin * u + cos * v
    column = (x - 0.5) * tracks.height + tracks.width / 2 - 0.5
    row = y * tracks.height - 0.5
    return bilinear(track.share[used], row, column)


def bilinear(pictures: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Values between pixel centres; 0 outside."""
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))
    height, width = padded.shape[1:]
    row, column = np.clip(row + 1, 0, height - 1.001), np.clip(column + 1, 0, width - 1.001)
    top, left = row.astype(int), column.astype(int)
    down, right = row - top, column - left
    k = np.arange(len(pictures)).reshape(-1, 1, 1)
    return (
        padded[k, top, left] * (1 - down) * (1 - right)
        + padded[k, top, left + 1] * (1 - down) * right
        + padded[k, top + 1, left] * down * (1 - right)
        + padded[k, top + 1, left + 1] * down * right
    )
