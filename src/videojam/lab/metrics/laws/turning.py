"""Laws of things that turn: spin, roll, mesh, swing, crank."""

import math

import numpy as np

from videojam.lab.metrics.paths import line, moving, rms
from videojam.lab.metrics.scores import score
from videojam.lab.metrics.tracks import Track, Tracks
from videojam.lab.scene import GRAVITY, Law

FLOOR, SCALE = 0.006, 0.02  # frame heights, on the rim


def spin(tracks: Tracks, law: Law) -> float:
    """angle = start + rate t about a point that stays where it is."""
    track = tracks.bodies[law.bodies[0]]
    used = np.isfinite(track.angle)
    if track.template.mark is None:
        return math.nan
    if used.sum() < 5:
        return 0.0
    _, left = line(tracks.times[used], track.angle[used, None])
    wander = track.middle[used] - np.median(track.middle[used], axis=0)
    residual = math.hypot(rms(left) * rim(track), rms(wander))
    return gate(tracks, track) * score(residual, FLOOR, SCALE)


def roll(tracks: Tracks, law: Law) -> float:
    """radius x turn = travel, until the travel turns back; clockwise to the right."""
    track = tracks.bodies[law.bodies[0]]
    used = np.isfinite(track.angle) & np.isfinite(track.middle[:, 0])
    if used.sum() < 5:
        return 0.0
    radius = law.values["radius"] * track.size
    path, angle = track.middle[used], track.angle[used]
    end = int(np.abs(path[:, 0] - path[0, 0]).argmax())
    path, angle = path[: end + 1], angle[: end + 1]
    if len(path) < 4:
        return 0.0
    travel = np.linalg.norm(path - path[0], axis=1) * np.sign(path[-1, 0] - path[0, 0])
    slip = radius * (angle - angle[0]) - travel
    return gate(tracks, track) * score(rms(slip - slip.mean()), FLOOR, SCALE)


def mesh(tracks: Tracks, law: Law) -> float:
    """turn1 = -ratio turn0, the ratio within 15 % of the law's times that of the sizes seen."""
    first, second = (tracks.bodies[name] for name in law.bodies)
    used = np.isfinite(first.angle) & np.isfinite(second.angle)
    if used.sum() < 5:
        return 0.0
    one, two = (t.angle[used] - t.angle[used].mean() for t in (first, second))
    ratio = law.values["ratio"] * first.size / max(second.size, 1e-6)
    best = -float(one @ two) / max(float(one @ one), 1e-9)
    left = two + np.clip(best, 0.85 * ratio, 1.15 * ratio) * one
    return gate(tracks, first) * score(rms(left) * rim(second), FLOOR, SCALE)


def swing(tracks: Tracks, law: Law) -> float:
    """a'' = -(GRAVITY / length) sin a about a pivot; both found from the clip.

    A swing of the law's length about a point above the path's middle is improved by Gauss-Newton.
    """
    track = tracks.bodies[law.bodies[0]]
    used = track.whole if track.whole.sum() >= 5 else np.isfinite(track.middle[:, 0])
    if used.sum() < 5:
        return 0.0
    path, times = track.middle[used], tracks.times[used]
    asked = tracks.scene.pose(law.bodies[0])[:, :2].numpy()
    travel = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    gone = float(np.linalg.norm(np.diff(asked, axis=0), axis=1).sum())
    residual = _swing_residual(times, path, law.values["length"])
    return moving(float(travel), gone) * score(residual, FLOOR, SCALE)


def _swing_residual(times: np.ndarray, path: np.ndarray, length: float) -> float:
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


def _refined(times: np.ndarray, path: np.ndarray, guess: np.ndarray, length: float) -> float:
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
        move = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), jacobian.T @ left)
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
        [x[:, None] + length[:, None] * np.sin(turns), y[:, None] + length[:, None] * np.cos(turns)],
        axis=-1,
    )


def crank(tracks: Tracks, law: Law) -> float:
    """piston = radius cos a + sqrt(length^2 - (radius sin a)^2) from the hub, a the wheel's angle."""
    wheel, piston = (tracks.bodies[name] for name in law.bodies)
    if wheel.template.mark is None:
        return math.nan
    used = np.isfinite(wheel.angle) & np.isfinite(piston.middle[:, 0])
    if used.sum() < 5:
        return 0.0
    facing = law.values["angle"]
    turn = wheel.angle[used] - facing
    radius, length = law.values["radius"] * wheel.size, law.values["length"] * wheel.size
    reach = radius * np.cos(turn) + np.sqrt(length**2 - (radius * np.sin(turn)) ** 2)
    seen = piston.middle[used] @ np.array([math.cos(facing), math.sin(facing)])
    slack = seen - reach
    return gate(tracks, wheel) * score(rms(slack - slack.mean()), FLOOR, SCALE)


def rim(track: Track) -> float:
    """Distance from the middle at which angles are turned into lengths."""
    return track.template.reach * track.size


def gate(tracks: Tracks, track: Track) -> float:
    """0 for a thing that should turn and does not."""
    asked = tracks.scene.pose(track.name)[:, 2].numpy()
    turned = track.angle[np.isfinite(track.angle)]
    return moving(
        float(np.abs(np.diff(turned)).sum()), float(np.abs(np.diff(asked)).sum()), least=0.1
    )
