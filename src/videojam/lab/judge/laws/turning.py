"""Laws of things that turn: spin, roll, mesh, crank."""

import math

import numpy as np

from videojam.lab.judge.scores import score
from videojam.lab.judge.seeing.paths import line, rms
from videojam.lab.judge.seeing.tracks import Track, Tracks
from videojam.lab.scene import Law

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
    return score(residual, FLOOR, SCALE)


def roll(tracks: Tracks, law: Law) -> float:
    """radius x turn = travel, until the travel turns back; clockwise to the right.

    The radius is that seen, within the 7 % to which pixels give it.
    """
    track = tracks.bodies[law.bodies[0]]
    used = np.isfinite(track.angle) & track.whole
    if used.sum() < 5:
        return 0.0
    radius = law.values["radius"] * track.size
    path, angle = track.middle[used], track.angle[used]
    away = path[:, 0] - path[0, 0]
    moved = np.flatnonzero(np.abs(away) > 0.02)
    way = float(np.sign(away[moved[0]])) if len(moved) else 1.0
    end = int((way * away).argmax())
    path, angle = path[: end + 1], angle[: end + 1]
    if len(path) < 4:
        return 0.0
    travel = np.linalg.norm(path - path[0], axis=1) * way
    turn, travel = angle - angle.mean(), travel - travel.mean()
    fitting = float(turn @ travel) / max(float(turn @ turn), 1e-9)
    slip = np.clip(fitting, 0.93 * radius, 1.07 * radius) * turn - travel
    return score(rms(slip), FLOOR, SCALE)


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
    return score(rms(left) * rim(second), FLOOR, SCALE)


def crank(tracks: Tracks, law: Law) -> float:
    """piston = radius cos a + sqrt(length^2 - (radius sin a)^2), a the wheel's angle."""
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
    return score(rms(slack - slack.mean()), FLOOR, SCALE)


def rim(track: Track) -> float:
    """Distance from the middle at which angles are turned into lengths."""
    return track.template.reach * track.size
