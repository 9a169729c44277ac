"""The law "swing": a mathematical pendulum through the places seen."""

import math

import numpy as np
from jaxtyping import Float

from videojam.lab.judge.scores import score
from videojam.lab.judge.seeing.paths import rms
from videojam.lab.judge.seeing.tracks import Tracks
from videojam.lab.scene import GRAVITY, Law

FLOOR, SCALE = 0.006, 0.02  # frame heights


def swing(tracks: Tracks, law: Law) -> float:
    """a'' = -(GRAVITY / length) sin a about a pivot; both found from the clip.

    A swing of the law's length about a point above the path's middle is improved by Gauss-Newton.
    """
    track = tracks.bodies[law.bodies[0]]
    used = track.whole if track.whole.sum() >= 5 else np.isfinite(track.middle[:, 0])
    if used.sum() < 5:
        return 0.0
    path, times = track.middle[used], tracks.times[used]
    return score(_swing_residual(times, path, law.values["length"]), FLOOR, SCALE)


def _swing_residual(
    times: Float[np.ndarray, "n"], path: Float[np.ndarray, "n 2"], length: float
) -> float:
    lowest = path[path[:, 1].argmax()]
    best = math.inf
    for start in (0.8, 1.0, 1.25):
        pivot = lowest - np.array([0.0, length * start])
        first = path[:2] - pivot
        angles = np.unwrap(np.arctan2(first[:, 0], first[:, 1]))
        rate = (angles[1] - angles[0]) / max(times[1] - times[0], 1e-6)
        guess = np.array([*pivot, length * start, angles[0], rate])
        best = min(best, _refined(times, path, guess, length))
    return best


def _refined(
    times: Float[np.ndarray, "n"], path: Float[np.ndarray, "n 2"], guess: np.ndarray, length: float
) -> float:
    """Levenberg-Marquardt on pivot, length, first angle and rate."""
    damping = 1e-3
    steps = np.diag([1e-4] * 5)
    now = guess
    places = _swings(times, now[None])[0]
    cost = rms(places - path)
    for _ in range(15):
        trials = _swings(times, now + steps)
        jacobian = ((trials - places) / 1e-4).reshape(5, -1).T
        left = (path - places).ravel()
        normal = jacobian.T @ jacobian
        move = np.linalg.solve(
            normal + damping * np.diag(np.diag(normal) + 1e-9), jacobian.T @ left
        )
        trial = now + move
        trial[2] = np.clip(trial[2], 0.5 * length, 2.0 * length)
        there = _swings(times, trial[None])[0]
        value = rms(there - path)
        if value < cost:
            done = cost - value < 1e-5
            now, places, cost, damping = trial, there, value, damping / 4
            if done:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    return cost


def _swings(times: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Paths (m, n, 2) of pendulums (m, 5), by Runge-Kutta steps of about 1/60 s."""
    x, y, length, angle, rate = parameters.T
    pull = GRAVITY / np.maximum(length, 0.05)
    places = [angle]
    for gap in np.diff(times):
        count = max(1, round(gap * 60))
        h = gap / count
        for _ in range(count):
            k1a, k1r = rate, -pull * np.sin(angle)
            k2a, k2r = rate + h / 2 * k1r, -pull * np.sin(angle + h / 2 * k1a)
            k3a, k3r = rate + h / 2 * k2r, -pull * np.sin(angle + h / 2 * k2a)
            k4a, k4r = rate + h * k3r, -pull * np.sin(angle + h * k3a)
            angle = angle + h / 6 * (k1a + 2 * k2a + 2 * k3a + k4a)
            rate = rate + h / 6 * (k1r + 2 * k2r + 2 * k3r + k4r)
        places.append(angle)
    turns = np.stack(places, axis=-1)
    return np.stack(
        [
            x[:, None] + length[:, None] * np.sin(turns),
            y[:, None] + length[:, None] * np.cos(turns),
        ],
        axis=-1,
    )
