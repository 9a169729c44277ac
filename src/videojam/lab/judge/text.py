"""Text: the share of what the caption asks for that is there. Says nothing about motion's laws."""

import numpy as np

from videojam.lab.judge.scores import mean
from videojam.lab.judge.seeing.components import pieces
from videojam.lab.judge.seeing.outlines import alike
from videojam.lab.judge.seeing.tracks import Track, Tracks
from videojam.lab.scene import Asked

_WAYS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
_TURNS = {"clockwise": 1.0, "counterclockwise": -1.0}
_SPECK = 0.003  # of a template's picture: smaller pieces are none
_SLACK = 1.2  # a speed this much out of its range is still right


def text(tracks: Tracks) -> float:
    """Things asked for that are satisfied, over things asked for."""
    return mean([float(right) for asked in tracks.scene.asked for right in _checks(tracks, asked)])


def _checks(tracks: Tracks, asked: Asked) -> list[bool]:
    seen = tracks.colours[asked.colour]
    expected = sum(tracks.templates[n].areas[asked.colour] for n in tracks.owners[asked.colour])
    present = bool((seen.area > 0.2 * expected).mean() > 0.5)
    checks = [present, present and _count(tracks, asked)]
    track = tracks.bodies.get(asked.body)
    if asked.shape is not None and track and asked.colour == track.template.colours[0]:
        shape = np.minimum(track.template.share.sum(0), 1.0)
        whole = track.whole & ~track.cut
        checks.append(present and alike(track.share[whole], shape))
    if asked.direction is not None and not (asked.direction in _TURNS and _hides_turning(track)):
        checks.append(present and _direction(tracks, asked))
    paces = _paces(tracks, asked)
    if asked.speed is not None and paces:
        low, high = asked.speed
        right = any(low / _SLACK <= pace <= high * _SLACK for pace in paces)
        checks.append(present and right)
    return checks


def _hides_turning(track: Track | None) -> bool:
    return track is None or track.template.mark is None


def _count(tracks: Tracks, asked: Asked) -> bool:
    """As many pieces as asked for in a third of the frames: they may cover each other in others."""
    template = tracks.templates[asked.body]
    picture = template.share[template.colours.index(asked.colour)]
    each = len(pieces(picture[None], _SPECK * picture.size)[0][0])
    found = [
        sum(piece.area > 0.3 * parts[0].area for piece in parts)
        for parts in tracks.colours[asked.colour].pieces
        if parts
    ]
    return float(np.mean([count == asked.count * each for count in found])) >= 1 / 3


def _direction(tracks: Tracks, asked: Asked) -> bool:
    if asked.direction in _TURNS:
        angle = tracks.bodies[asked.body].angle
        turn = angle[np.isfinite(angle)]
        return len(turn) > 1 and bool((turn[-1] - turn[0]) * _TURNS[asked.direction] > 0.1)
    path = _path(tracks, asked)
    path = path[np.isfinite(path[:, 0])]
    if len(path) < 3:
        return False
    along = (path - path[0]) @ np.array(_WAYS[str(asked.direction)])
    moved = np.flatnonzero(np.abs(along) > 0.02)
    return len(moved) > 0 and bool(along[moved[0]] > 0)


def _paces(tracks: Tracks, asked: Asked) -> list[float]:
    """Mean speeds that may be meant: along the path, and along the direction asked for.

    Of turning, where a turn was asked for; none where it cannot be seen.
    """
    track = tracks.bodies.get(asked.body)
    span = float(tracks.times[-1])
    if asked.direction in _TURNS:
        if track is None or _hides_turning(track):
            return []
        turn = track.angle[np.isfinite(track.angle)]
        return [float(np.abs(np.diff(turn)).sum()) / span if len(turn) > 1 else 0.0]
    steps = np.diff(_path(tracks, asked), axis=0) * tracks.scene.fps
    steps = steps[np.isfinite(steps[:, 0])]
    if not len(steps):
        return [0.0]
    paces = [float(np.linalg.norm(steps, axis=1).mean())]
    if asked.direction is not None:
        paces.append(float(np.abs(steps @ np.array(_WAYS[asked.direction])).mean()))
    return paces


def _path(tracks: Tracks, asked: Asked) -> np.ndarray:
    track = tracks.bodies.get(asked.body)
    return track.middle if track is not None else tracks.colours[asked.colour].centre
