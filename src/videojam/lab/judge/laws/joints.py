"""Joints: joined, by the point of each body that a hinge holds."""

import math

import numpy as np

from videojam.lab.judge.scores import score
from videojam.lab.judge.seeing.layers import in_front
from videojam.lab.judge.seeing.paths import rms
from videojam.lab.judge.seeing.tracks import Track, Tracks
from videojam.lab.scene import Law

FLOOR, SCALE = 0.012, 0.02  # frame heights
_FEW = 5


def joined(tracks: Tracks, law: Law) -> float:
    """A point of one body stays on a point of the other, wherever on them the clip has it.

    On a grey pivot, the point stays where it is. Bodies whose angle cannot be seen keep their
    distance. Bodies that share their colour with others must touch. NaN for grey rods.
    """
    coloured = [name for name in law.bodies if name in tracks.templates]
    if not coloured:
        return math.nan
    if len(coloured) == 1:
        track = tracks.bodies.get(coloured[0])
        fixed = [b.name for b in tracks.scene.bodies if b.fixture and b.name in law.bodies]
        return math.nan if track is None or not fixed else score(_pinned(track), FLOOR, SCALE)
    one, two = (tracks.templates[name].colours[0] for name in coloured)
    if all(name in tracks.bodies for name in coloured):
        left = _hinged(*(tracks.bodies[name] for name in coloured))
        return score(left, FLOOR, SCALE)
    return score(_distance(tracks, one, two), FLOOR, SCALE)


def _hinged(one: Track, two: Track) -> float:
    """p0 + R0 q0 = p1 + R1 q1 in every frame, for some q0 and q1 (least squares); rms.

    A body without a visible angle has q = 0, and if neither has one |p0 - p1| is constant.
    """
    turning = [track for track in (one, two) if track.template.mark is not None]
    used = one.whole & two.whole
    for track in turning:
        used &= np.isfinite(track.angle)
    if used.sum() < _FEW:
        return math.nan if _hardly_seen(one, two) else math.inf
    apart = one.middle[used] - two.middle[used]
    if not turning:
        distance = np.linalg.norm(apart, axis=1)
        return rms(distance - np.median(distance))
    columns = [_turned(track.angle[used]) for track in turning]
    return _left(columns, apart)


def _pinned(track: Track) -> float:
    """p + R q = c in every frame, for some q and c; on a circle about c if the angle is unseen."""
    used = track.whole & np.isfinite(track.middle[:, 0])
    if track.template.mark is not None:
        used &= np.isfinite(track.angle)
    if used.sum() < _FEW:
        return math.inf
    path = track.middle[used]
    if track.template.mark is None:
        # |p|^2 = 2 c p + (r^2 - |c|^2)
        basis = np.concatenate([2 * path, np.ones((len(path), 1))], axis=1)
        x, y, offset = np.linalg.lstsq(basis, (path**2).sum(1), rcond=None)[0]
        radius = math.sqrt(max(offset + x**2 + y**2, 0.0))
        return rms(np.hypot(*(path - (x, y)).T) - radius)
    fixed = np.tile(np.eye(2), (len(path), 1))
    return _left([_turned(track.angle[used]), fixed], path)


def _turned(angle: np.ndarray) -> np.ndarray:
    """Rows x, y of every frame: R(angle) as a matrix on q."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1).reshape(-1, 2)


def _left(columns: list[np.ndarray], target: np.ndarray) -> float:
    basis = np.concatenate(columns, axis=1)
    solution = np.linalg.lstsq(basis, target.ravel(), rcond=None)[0]
    return rms((target.ravel() - basis @ solution).reshape(-1, 2))


def _hardly_seen(*tracks: Track) -> bool:
    """There, but never wholly: nothing can be said."""
    return all(np.isfinite(track.middle[:, 0]).mean() > 0.5 for track in tracks)


def _distance(tracks: Tracks, one: str, two: str) -> float:
    """Mean over frames of the largest distance from a piece of one colour to the other colour.

    Or to one in front, which may hide the joint; of one colour, from its smaller pieces to the
    largest one.
    """
    shown = tracks.colours[one]
    others = {two, *in_front(tracks.scene, tracks.owners, one)} - {one}
    found = []
    for k, pieces in enumerate(shown.pieces):
        target = np.sum([tracks.colours[other].labels[k] for other in others], axis=0)
        if one == two and pieces:
            target = target + (shown.labels[k] == pieces[0].label)
            pieces = pieces[1:]
        second = np.argwhere(target)
        if not len(second):
            continue
        places = [np.argwhere(shown.labels[k] == piece.label) for piece in pieces]
        found.append(max((_nearest(place, second) for place in places), default=0.0))
    return float(np.mean(found)) / tracks.height if found else math.inf


def _nearest(first: np.ndarray, second: np.ndarray) -> float:
    """Pixels between two sets of pixels, 0 for neighbours."""
    low, high = first.min(0), first.max(0)
    away = np.maximum(np.maximum(low - second, second - high), 0).max(1)
    second = second[away <= away.min() + 6]
    squared = ((first[:, None] - second[None]) ** 2).sum(-1)
    return max(math.sqrt(squared.min()) - 1.5, 0.0)
