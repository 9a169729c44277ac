"""Legs that go in turn: the law "alternate", and what `order` needs of it."""

import math

import numpy as np
from jaxtyping import Bool, Float

from videojam.lab.judge.scores import score
from videojam.lab.judge.seeing.paths import rms
from videojam.lab.judge.seeing.tracks import Tracks
from videojam.lab.scene import Law

WAVE_FLOOR, MIDDLE_FLOOR, SCALE = 0.3, 0.5, 0.3  # shares of the legs' swing
STRETCHES = np.geomspace(0.6, 1.7, 24)  # of the law's period: the caption does not give it exactly
FEW = 8  # frames without which nothing can be said


def alternate(tracks: Tracks, law: Law) -> float:
    """Along x, the legs' distance d swings about 0 with about the law's period, and where they hang
    is midway: the worse of what a wave leaves of d, and of the midpoint's swing, against d.
    """
    apart, times = legs_apart(tracks, law)
    if len(apart) < FEW or rms(apart) < 0.01:
        return 0.0
    swing = rms(apart)
    everywhere = np.ones(len(apart), bool)
    left = min(
        rms(apart - wave(times, apart, law.values["period"] * stretch, everywhere))
        for stretch in STRETCHES
    )
    hang = _hung_from(tracks, law)
    one, two = (_middle(tracks, name) for name in law.bodies)
    middle = one + two - 2 * hang
    middle = middle[np.isfinite(middle)]
    if not len(middle):
        return 0.0
    return min(
        score(left / swing, WAVE_FLOOR, SCALE),
        score(rms(middle - middle.mean()) / swing, MIDDLE_FLOOR, SCALE),
    )


def legs_apart(tracks: Tracks, law: Law) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Distance of the first leg's middle ahead of the second's along x, and when."""
    one, two = (_middle(tracks, name) for name in law.bodies)
    used = np.isfinite(one) & np.isfinite(two)
    return (one - two)[used], tracks.times[used]


def wave(
    times: Float[np.ndarray, "n"],
    values: Float[np.ndarray, "n"],
    period: float,
    used: Bool[np.ndarray, "n"],
) -> Float[np.ndarray, "n"]:
    """The sine of this period nearest to the values used, at all times."""
    turn = 2 * math.pi * times / period
    basis = np.stack([np.cos(turn), np.sin(turn)], -1)
    return basis @ np.linalg.lstsq(basis[used], values[used], rcond=None)[0]


def _middle(tracks: Tracks, name: str) -> Float[np.ndarray, "f"]:
    """Along x; of the leg's whole colour, as a leg of two bones has one colour."""
    return tracks.colours[tracks.templates[name].colours[0]].centre[:, 0]


def _hung_from(tracks: Tracks, law: Law) -> Float[np.ndarray, "f"]:
    """Path along x of the body that a leg hangs from, by way of other bodies of its colour."""
    near, seen = {law.bodies[0]}, set()
    while near - seen:
        name = (near - seen).pop()
        seen.add(name)
        if name in tracks.bodies:
            return tracks.bodies[name].middle[:, 0]
        for joint in tracks.scene.laws:
            if joint.kind == "joined" and name in joint.bodies:
                near |= set(joint.bodies)
    return np.full(len(tracks.times), np.nan)
