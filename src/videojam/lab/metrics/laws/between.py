"""Laws between bodies: momentum, energy, joined, alternate, mirror."""


import math

import numpy as np


from videojam.lab.metrics.paths import length, line, moving, rms
from videojam.lab.metrics.scores import score
from videojam.lab.metrics.tracks import Tracks
from videojam.lab.scene import GRAVITY, Law

FLOOR, SCALE = 0.006, 0.02  # frame heights
SHARE_FLOOR, SHARE_SCALE = 0.05, 0.15  # of momentum, energy, or amplitude


def momentum(tracks: Tracks, law: Law) -> float:
    """m0 v0 + m1 v1 before = after; masses go with the areas seen.

    Velocities are those of lines through the places before and after the break that fits best.
    """
    one, two = (tracks.bodies[name] for name in law.bodies)
    used = np.isfinite(one.middle[:, 0]) & np.isfinite(two.middle[:, 0])
    times, places = tracks.times[used], np.concatenate([one.middle, two.middle], axis=1)[used]
    if len(times) < 7:
        return 0.0
    _, split = min(
        (
            sum(float((line(times[part], places[part])[1] ** 2).sum()) for part in _halves(k)),
            k,
        )
        for k in range(3, len(times) - 2)
    )
    before, after = (line(times[part], places[part])[0][1] for part in _halves(split))
    masses = [law.values[f"m{k}"] * t.size**2 for k, t in enumerate((one, two))]
    change = masses[0] * (after - before)[:2] + masses[1] * (after - before)[2:]
    flow = sum(
        mass * np.linalg.norm(speed[part])
        for mass, part in zip(masses, (slice(0, 2), slice(2, 4)), strict=True)
        for speed in (before, after)
    )
    asked = sum(length(tracks.scene.pose(n)[:, :2].numpy().astype(float)) for n in law.bodies)
    seen = length(one.middle) + length(two.middle)
    residual = float(np.linalg.norm(change)) / max(flow / 2, 1e-9)
    return moving(seen, asked) * score(residual, SHARE_FLOOR, SHARE_SCALE)


def _halves(k: int) -> tuple[slice, slice]:
    return slice(0, k), slice(k, None)


def energy(tracks: Tracks, law: Law) -> float:
    """sum of m (v^2 / 2 - GRAVITY y) is kept, against the span of its kinetic part."""
    bodies = [tracks.bodies[name] for name in law.bodies]
    step = tracks.times[1]
    kinetic, potential = np.zeros(len(tracks.times) - 4), np.zeros(len(tracks.times) - 4)
    for k, body in enumerate(bodies):
        p = body.middle
        mass = law.values[f"m{k}"] * body.size**2
        v = (8 * (p[3:-1] - p[1:-3]) - (p[4:] - p[:-4])) / (12 * step)
        kinetic = kinetic + mass * (v**2).sum(1) / 2
        potential = potential - mass * GRAVITY * p[2:-2, 1]
    total = kinetic + potential
    used = np.isfinite(total)
    if used.sum() < 4:
        return 0.0
    span = max(float(np.ptp(kinetic[used])), float(np.ptp(potential[used])), 1e-6)
    asked = sum(length(tracks.scene.pose(n)[:, :2].numpy().astype(float)) for n in law.bodies)
    gate = moving(sum(length(b.middle) for b in bodies), asked)
    return gate * score(float(np.std(total[used])) / span, SHARE_FLOOR, SHARE_SCALE)


def joined(tracks: Tracks, law: Law) -> float:
    """Two coloured bodies keep touching; a body on a grey pivot keeps a point where it is.

    Round bodies (whose angle cannot be seen) joined through one's middle keep their distance.
    """
    first, second = law.bodies
    colours = [set(_colours(tracks, name)) for name in law.bodies]
    if not colours[0] or not colours[1]:
        name = first if colours[0] else second
        return _pinned(tracks, name) if colours[0] or colours[1] else math.nan
    if colours[0] & colours[1]:
        return math.nan  # one mask: `permanence` sees it come apart
    if first in tracks.bodies and second in tracks.bodies:
        one, two = tracks.bodies[first], tracks.bodies[second]
        if one.template.mark is None and two.template.mark is None:
            distance = np.linalg.norm(one.middle - two.middle, axis=1)[one.whole & two.whole]
            if len(distance) < 5:
                return math.nan
            return score(rms(distance - np.median(distance)), FLOOR, SCALE)
    apart = _distance(tracks, next(iter(colours[0])), next(iter(colours[1])))
    return score(apart, 0.03, SCALE)


def _distance(tracks: Tracks, one: str, two: str) -> float:
    """Mean over frames of the least distance of two colours, in frame heights."""
    found = []
    for a, b in zip(tracks.colours[one].share, tracks.colours[two].share, strict=True):
        first, second = np.argwhere(a > 0.5), np.argwhere(b > 0.5)
        if not len(first) or not len(second):
            continue
        low, high = first.min(0), first.max(0)
        away = np.linalg.norm(np.maximum(np.maximum(low - second, second - high), 0), axis=1)
        second = second[away <= away.min() + 8]
        gaps = ((first[:, None] - second[None]) ** 2).sum(-1)
        found.append(math.sqrt(gaps.min()) - 1)
    return float(np.mean(found)) / tracks.height if found else math.inf


def _pinned(tracks: Tracks, name: str) -> float:
    """middle + R(angle) q = p in every frame, for some q and p (least squares)."""
    if name not in tracks.bodies:
        return math.nan
    track = tracks.bodies[name]
    used = np.isfinite(track.middle[:, 0])
    if track.template.mark is not None:
        used &= np.isfinite(track.angle)
    if used.sum() < 5:
        return 0.0
    path = track.middle[used]
    if track.template.mark is None:
        # A circle about the pivot: |x|^2 = 2 p x + c.
        basis = np.concatenate([2 * path, np.ones((len(path), 1))], axis=1)
        px, py, c = np.linalg.lstsq(basis, (path**2).sum(1), rcond=None)[0]
        radius = math.sqrt(max(c + px**2 + py**2, 0.0))
        return score(rms(np.hypot(*(path - (px, py)).T) - radius), FLOOR, SCALE)
    cos, sin = np.cos(track.angle[used]), np.sin(track.angle[used])
    zero, one = np.zeros_like(cos), np.ones_like(cos)
    rows = np.concatenate(
        [np.stack([cos, -sin, -one, zero], -1), np.stack([sin, cos, zero, -one], -1)]
    )
    target = -np.concatenate([path[:, 0], path[:, 1]])
    solution = np.linalg.lstsq(rows, target, rcond=None)[0]
    left = rows @ solution - target
    return score(math.sqrt(2) * rms(left), FLOOR, SCALE)


def alternate(tracks: Tracks, law: Law) -> float:
    """Seen from where both hang, the legs go opposite ways with about the law's period."""
    one, two = (tracks.colours[_colours(tracks, name)[0]].centre[:, 0] for name in law.bodies)
    used = np.isfinite(one) & np.isfinite(two)
    if used.sum() < 8:
        return 0.0
    times = tracks.times[used]
    apart = one[used] - two[used]
    best = min(
        rms(apart - _wave(times, apart, law.values["period"] * stretch))
        for stretch in np.geomspace(0.6, 1.7, 24)
    )
    asked = [tracks.scene.pose(name)[:, 2].numpy() for name in law.bodies]
    swing = rms(apart)
    wanted = 0.3 * float(np.std(asked[0] - asked[1])) * 0.2
    gate = moving(swing, max(wanted, 0.03) * 4)
    return gate * score(best / max(swing, 1e-6), 0.15, 0.3)


def _wave(times: np.ndarray, values: np.ndarray, period: float) -> np.ndarray:
    turn = 2 * math.pi * times / period
    basis = np.stack([np.cos(turn), np.sin(turn)], -1)
    return basis @ np.linalg.lstsq(basis, values, rcond=None)[0]


def mirror(tracks: Tracks, law: Law) -> float:
    """The colour's mask is its own mirror image about an upright line: 1 - intersection / union."""
    left, right = law.bodies
    colours = set(_colours(tracks, left)) & set(_colours(tracks, right))
    if not colours:
        return math.nan
    seen = tracks.colours[colours.pop()]
    middle = np.nanmedian(seen.centre[:, 0]) if np.isfinite(seen.centre).any() else math.nan
    if math.isnan(middle):
        return 0.0
    width = seen.share.shape[2]
    column = (middle - 0.5) * tracks.height + width / 2  # pixels
    place = 2 * column - (np.arange(width) + 0.5) - 0.5
    low = np.floor(place).astype(int)
    part = place - low
    inside = (low >= 0) & (low + 1 < width)
    safe = np.clip(low, 0, width - 2)
    turned = np.where(
        inside, seen.share[:, :, safe] * (1 - part) + seen.share[:, :, safe + 1] * part, 0.0
    )
    both = np.minimum(seen.share, turned).sum((1, 2))
    either = np.maximum(seen.share, turned).sum((1, 2))
    used = either > 0
    asked = sum(
        float(np.abs(np.diff(tracks.scene.pose(n)[:, 2].numpy())).sum()) for n in law.bodies
    )
    # Arms that do not move are mirror images too: their mask must change.
    change = float(np.abs(np.diff(seen.share, axis=0)).sum() / max(seen.share.sum(), 1e-9))
    return moving(change, asked * 0.2, 0.02) * score(
        float(1 - (both[used] / either[used]).mean()), 0.15, 0.3
    )


def _colours(tracks: Tracks, name: str) -> tuple[str, ...]:
    return tracks.templates[name].colours if name in tracks.templates else ()


