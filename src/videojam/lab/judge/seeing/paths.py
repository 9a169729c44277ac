"""Paths of points: how well pieces of given acceleration fit them."""

import itertools
import math

import numpy as np
from jaxtyping import Bool, Float

_LEAST = 3  # frames in a piece, but for the first and last one
_GAP = 0.004  # frame heights: pieces meet if they come as near as this


def rms(values: Float[np.ndarray, "..."]) -> float:
    """Root mean square distance from zero of vectors along the last axis."""
    flat = values.reshape(len(values), -1)
    return math.sqrt(float((flat**2).sum(1).mean())) if len(flat) else math.inf


def line(
    times: Float[np.ndarray, "n"], path: Float[np.ndarray, "n d"]
) -> tuple[Float[np.ndarray, "2 d"], Float[np.ndarray, "n d"]]:
    """Start and velocity of the best uniform motion, and what it leaves."""
    basis = np.stack([np.ones_like(times), times], axis=-1)
    coefficients = np.linalg.lstsq(basis, path, rcond=None)[0]
    return coefficients, path - basis @ coefficients


def pieced(
    times: Float[np.ndarray, "n"],
    path: Float[np.ndarray, "n 2"],
    accelerations: list[tuple[float, float]],
    allowed: list[Bool[np.ndarray, "n"]],
    struck: Bool[np.ndarray, "n"],
    breaks: int,
) -> tuple[float, list[int]]:
    """Residual (frame heights, rms) of the best motion in pieces, and where new pieces start.

    Within a piece the acceleration is one of `accelerations`, at frames where `allowed`. A new
    piece starts only beside a frame in which the thing may have been `struck`, and pieces that
    follow each other must meet between their frames. Solved by dynamic programming.
    """
    n = len(times)
    start = np.concatenate([[True], struck[1:] | struck[:-1], [True]])
    spans = [
        (i, j, a)
        for i, j in itertools.combinations(np.flatnonzero(start).tolist(), 2)
        if j - i >= _LEAST or ((i == 0 or j == n) and j - i == _LEAST - 1)
        for a in range(len(accelerations))
        if allowed[a][i:j].all()
    ]
    if not spans:
        return math.inf, []
    fits = {}
    bowed = [path - 0.5 * times[:, None] ** 2 * np.array(a) for a in accelerations]
    for i, j, a in spans:
        coefficients, left = _quick_line(times[i:j], bowed[a][i:j])
        fits[i, j, a] = (coefficients, left)
    best: list[dict[tuple[int, int, int], tuple[float, list[int]]]] = []
    for used in range(breaks + 1):
        now: dict[tuple[int, int, int], tuple[float, list[int]]] = {}
        for i, j, a in spans:
            cost = fits[i, j, a][1]
            if used == 0:
                if i == 0:
                    now[i, j, a] = (cost, [])
                continue
            options = [
                (before + cost + _gap(times, fits, accelerations, key, (i, j, a)), key, starts)
                for key, (before, starts) in best[-1].items()
                if key[1] == i
            ]
            if options:
                total, _, starts = min(options, key=lambda option: option[0])
                now[i, j, a] = (total, [*starts, i])
        best.append(now)
    ends = [value for level in best for (_, j, _), value in level.items() if j == n]
    if not ends:
        return math.inf, []
    total, starts = min(ends, key=lambda value: value[0])
    return math.sqrt(total / n), starts


def _quick_line(
    times: Float[np.ndarray, "n"], path: Float[np.ndarray, "n 2"]
) -> tuple[Float[np.ndarray, "2 2"], float]:
    """The fit of `line`, with the sum of squares that is left."""
    mean_t, mean_p = times.mean(), path.mean(0)
    t, p = times - mean_t, path - mean_p
    slope = t @ p / max(float(t @ t), 1e-12)
    return np.stack([mean_p - slope * mean_t, slope]), float(((p - t[:, None] * slope) ** 2).sum())


def _gap(times, fits, accelerations, before, after) -> float:
    """Squared distance at which two pieces pass each other between their frames, times frames."""
    i = after[0]
    when = np.linspace(times[i - 1], times[i], 9)
    ends = []
    for key in (before, after):
        start, velocity = fits[key][0]
        ends.append(
            start
            + when[:, None] * velocity
            + 0.5 * when[:, None] ** 2 * np.array(accelerations[key[2]])
        )
    nearest = float(np.linalg.norm(ends[0] - ends[1], axis=1).min())
    return max(nearest - _GAP, 0.0) ** 2 * 4
