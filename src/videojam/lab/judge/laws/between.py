"""Laws between bodies: momentum, energy, mirror."""

import math

import numpy as np

from videojam.lab.judge.scores import score
from videojam.lab.judge.seeing.paths import line
from videojam.lab.judge.seeing.tracks import Tracks
from videojam.lab.scene import GRAVITY, Law

FLOOR, SCALE = 0.05, 0.15  # shares of momentum, of energy
IMAGE_FLOOR, IMAGE_SCALE = 0.15, 0.2  # shares of the mask


def momentum(tracks: Tracks, law: Law) -> float:
    """m0 v0 + m1 v1 before = after; the ratio of masses is that of the areas seen, within 15 %.

    Velocities are those of lines through the places before and after the break that fits best.
    """
    one, two = (tracks.bodies[name] for name in law.bodies)
    used = np.isfinite(one.middle[:, 0]) & np.isfinite(two.middle[:, 0]) & one.whole & two.whole
    times, places = tracks.times[used], np.concatenate([one.middle, two.middle], axis=1)[used]
    if len(times) < 7:
        return 0.0
    _, split = min(
        (sum(float((line(times[part], places[part])[1] ** 2).sum()) for part in _halves(k)), k)
        for k in range(3, len(times) - 2)
    )
    before, after = (line(times[part], places[part])[0][1] for part in _halves(split))
    m0, m1 = (law.values[f"m{k}"] * track.size**2 for k, track in enumerate((one, two)))
    return score(
        min(
            _change(np.repeat([m0 * stretch, m1], 2), before, after)
            for stretch in np.linspace(0.85, 1.15, 13)
        ),
        FLOOR,
        SCALE,
    )


def _change(masses: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    """|change of m0 v0 + m1 v1| over the mean of |m0 v0| + |m1 v1| before and after."""
    lost = (masses * (after - before)).reshape(2, 2).sum(0)
    flow = sum(
        np.linalg.norm((masses * speed).reshape(2, 2), axis=1).sum() for speed in (before, after)
    )
    return float(np.linalg.norm(lost)) / max(float(flow) / 2, 1e-9)


def _halves(k: int) -> tuple[slice, slice]:
    return slice(0, k), slice(k, None)


def energy(tracks: Tracks, law: Law) -> float:
    """sum of m (v^2 / 2 - GRAVITY y) is kept: its deviation against the span of either part."""
    bodies = [tracks.bodies[name] for name in law.bodies]
    step = tracks.times[1]
    kinetic, potential = np.zeros(len(tracks.times) - 4), np.zeros(len(tracks.times) - 4)
    for k, body in enumerate(bodies):
        p = np.where(body.whole[:, None], body.middle, np.nan)
        mass = law.values[f"m{k}"] * body.size**2
        v = (8 * (p[3:-1] - p[1:-3]) - (p[4:] - p[:-4])) / (12 * step)
        kinetic = kinetic + mass * (v**2).sum(1) / 2
        potential = potential - mass * GRAVITY * p[2:-2, 1]
    used = np.isfinite(kinetic + potential)
    if used.sum() < 4:
        return 0.0
    kinetic, potential = kinetic[used], potential[used]
    span = max(float(np.ptp(kinetic)), float(np.ptp(potential)), 1e-6)
    return score(float(np.std(kinetic + potential)) / span, FLOOR, SCALE)


def mirror(tracks: Tracks, law: Law) -> float:
    """The colour's mask is its mirror image about an upright line: 1 - intersection / union."""
    left, right = (set(tracks.templates[name].colours) for name in law.bodies)
    if not left & right:
        return math.nan
    seen = tracks.colours[(left & right).pop()]
    used = np.isfinite(seen.centre[:, 0])
    if used.sum() < 5:
        return 0.0
    share = seen.share[used]
    width = share.shape[2]
    column = (np.median(seen.centre[used, 0]) - 0.5) * tracks.height + width / 2
    place = 2 * column - np.arange(width) - 1.0
    low = np.floor(place).astype(int)
    part = place - low
    inside = (low >= 0) & (low + 1 < width)
    safe = np.clip(low, 0, width - 2)
    turned = share[:, :, safe] * (1 - part) + share[:, :, safe + 1] * part
    turned = np.where(inside, turned, 0.0)
    both = np.minimum(share, turned).sum((1, 2))
    either = np.maximum(share, turned).sum((1, 2))
    return score(float(1 - (both / either).mean()), IMAGE_FLOOR, IMAGE_SCALE)
