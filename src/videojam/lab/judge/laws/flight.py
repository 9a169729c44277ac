"""Laws of points that move: fall, fall together, steady, accelerate, still, oscillate."""

import math

import numpy as np
from jaxtyping import Bool, Float

from videojam.lab.judge.scores import score
from videojam.lab.judge.seeing.paths import line, pieced, rms
from videojam.lab.judge.seeing.stage import bottom, floor
from videojam.lab.judge.seeing.tracks import Tracks
from videojam.lab.scene import GRAVITY, Law

FLOOR, SCALE = 0.006, 0.02  # frame heights
_FEW = 5  # frames without which nothing can be said
_BOUNCES = 3  # most contacts in a clip
_LANDED = 0.025  # frame heights above the floor from which a thing may touch it
_NEAR = 0.1  # frame heights: what a thing goes in one or two frames


def fall(tracks: Tracks, law: Law) -> float:
    """x'' = 0 and y'' = GRAVITY between contacts; lying on the floor, y'' = 0."""
    (name,) = law.bodies
    path, times = _known(tracks, name)
    if len(path) < _FEW:
        return 0.0
    everywhere = np.ones(len(path), bool)
    accelerations, allowed = [(0.0, GRAVITY)], [everywhere]
    ground = floor(tracks)
    if ground is not None:
        track = tracks.bodies[name]
        lowest = bottom(track.share)[_usable(tracks, name)]
        accelerations.append((0.0, 0.0))
        allowed.append(lowest > ground - 0.04)
    used = _usable(tracks, name)
    breaks = min(contacts(tracks, name) + 1, _BOUNCES)
    residual, _ = pieced(times, path, accelerations, allowed, near(tracks, name)[used], breaks)
    return score(residual, FLOOR, SCALE)


def steady(tracks: Tracks, law: Law) -> float:
    """x'' = y'' = 0 between contacts, as many as the scene has of this body."""
    (name,) = law.bodies
    path, times = _known(tracks, name)
    if len(path) < _FEW:
        return 0.0
    everywhere = np.ones(len(path), bool)
    struck = near(tracks, name)[_usable(tracks, name)] if len(tracks.bodies) > 1 else everywhere
    residual, _ = pieced(times, path, [(0.0, 0.0)], [everywhere], struck, contacts(tracks, name))
    return score(residual, FLOOR, SCALE)


def accelerate(tracks: Tracks, law: Law) -> float:
    """Along a line of slope b, s'' = f GRAVITY sin b, f = 1 sliding and 2/3 rolling.

    The slope is the clip's own; f is that of the law's (ax, ay).
    """
    (name,) = law.bodies
    path, times = _known(tracks, name)
    if len(path) < _FEW:
        return 0.0
    ax, ay = law.values["ax"], law.values["ay"]
    share = math.hypot(ax, ay) ** 2 / (GRAVITY * ay)
    along = path - path.mean(0)
    direction = np.linalg.svd(along, full_matrices=False)[2][0]
    direction = direction * (1.0 if direction[1] > 0 else -1.0)  # downhill
    pull = share * GRAVITY * direction[1] * direction
    _, left = line(times, path - 0.5 * times[:, None] ** 2 * pull)
    return score(rms(left), FLOOR, SCALE)


def still(tracks: Tracks, law: Law) -> float:
    """x' = y' = 0."""
    path, _ = _known(tracks, law.bodies[0])
    return score(rms(path - np.median(path, axis=0)), FLOOR, SCALE) if len(path) else 0.0


def oscillate(tracks: Tracks, law: Law) -> float:
    """s = c + two harmonics of a period near the law's; nothing across the direction of motion."""
    (name,) = law.bodies
    path, times = _known(tracks, name)
    if len(path) < 8:
        return 0.0
    angle = law.values["angle"]
    along = path @ np.array([math.cos(angle), math.sin(angle)])
    across = path @ np.array([-math.sin(angle), math.cos(angle)])
    left = min(
        rms(along - _harmonics(times, along, law.values["period"] * stretch))
        for stretch in np.geomspace(0.6, 1.7, 24)
    )
    residual = math.hypot(left, rms(across - across.mean()))
    return score(residual, FLOOR, SCALE)


def fall_together(tracks: Tracks, law: Law) -> float:
    """The common centre of mass of the bodies falls freely until one of them meets the floor."""
    mass: dict[str, float] = {}
    for k, name in enumerate(law.bodies):
        for colour in tracks.templates[name].colours:
            mass[colour] = mass.get(colour, 0.0) + law.values[f"m{k}"]
    total = sum(mass.values())
    path = np.zeros((len(tracks.times), 2))
    lowest = np.full(len(tracks.times), -np.inf)
    for colour, weight in mass.items():
        path = path + tracks.colours[colour].centre * weight / total
        lowest = np.fmax(lowest, bottom(tracks.colours[colour].share))
    ground = floor(tracks)
    landed = np.flatnonzero(lowest > ground - _LANDED) if ground is not None else np.array([], int)
    free = np.arange(len(path)) < (landed[0] if len(landed) else len(path))
    used = free & np.isfinite(path[:, 0])
    if used.sum() < 4:
        return math.nan
    times = tracks.times[used]
    _, left = line(times, path[used] - 0.5 * times[:, None] ** 2 * np.array([0.0, GRAVITY]))
    return score(rms(left), FLOOR, SCALE)


def near(tracks: Tracks, name: str) -> Bool[np.ndarray, "f"]:
    """Frames in which the body is so near to the floor or another body that it may be struck
    before the next one.
    """
    share = tracks.bodies[name].share
    ground = floor(tracks)
    found = bottom(share) > ground - _NEAR if ground is not None else np.zeros(len(share), bool)
    mine = _box(share)
    for other in tracks.bodies.values():
        if other.name != name:
            theirs = _box(other.share)
            apart = np.maximum(mine[:, :2] - theirs[:, 2:], theirs[:, :2] - mine[:, 2:]).max(1)
            found |= apart < _NEAR * tracks.height
    return found


def _box(share: Float[np.ndarray, "f h w"]) -> Float[np.ndarray, "f 4"]:
    """First row and column, last row and column, in pixels; NaN where empty."""
    rows, columns = share.max(2) > 0.5, share.max(1) > 0.5
    box = np.stack(
        [
            rows.argmax(1),
            columns.argmax(1),
            rows.shape[1] - 1 - rows[:, ::-1].argmax(1),
            columns.shape[1] - 1 - columns[:, ::-1].argmax(1),
        ],
        axis=-1,
    ).astype(np.float64)
    return np.where(rows.any(1)[:, None], box, np.nan)


def contacts(tracks: Tracks, name: str) -> int:
    """How often the body is struck in the scene: runs of frames in which it touches something."""
    frames = sorted({c.frame for c in tracks.scene.contacts if name in (c.first, c.second)})
    return sum(1 for k, frame in enumerate(frames) if k == 0 or frame > frames[k - 1] + 1)


def _harmonics(times: np.ndarray, values: np.ndarray, period: float) -> np.ndarray:
    turn = 2 * math.pi * times / period
    basis = np.stack(
        [np.ones_like(turn), np.cos(turn), np.sin(turn), np.cos(2 * turn), np.sin(2 * turn)], -1
    )
    return basis @ np.linalg.lstsq(basis, values, rcond=None)[0]


def _usable(tracks: Tracks, name: str) -> np.ndarray:
    track = tracks.bodies[name]
    return track.whole if track.whole.sum() >= _FEW else np.isfinite(track.middle[:, 0])


def _known(tracks: Tracks, name: str) -> tuple[np.ndarray, np.ndarray]:
    kept = _usable(tracks, name)
    return tracks.bodies[name].middle[kept], tracks.times[kept]
