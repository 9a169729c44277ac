"""Contact: bodies that must stay apart do not go into each other, nor into floors and posts."""

import math

import numpy as np

from videojam.lab.judge.scores import mean, score
from videojam.lab.judge.seeing.backdrop import edge, strip
from videojam.lab.judge.seeing.seen import grown
from videojam.lab.judge.seeing.stage import bottom, extent, floor
from videojam.lab.judge.seeing.tracks import Track, Tracks
from videojam.lab.scene import Law

FLOOR, SCALE = 0.02, 0.03  # frame heights
_SEARCH = 0.15  # frame heights around the place of contact in which posts and slopes are looked for


def contact(tracks: Tracks) -> float:
    """exp(-(depth - FLOOR) / SCALE), the mean over the "apart" laws that can be seen.

    depth: the largest in the clip, in frame heights.
    """
    return mean([_score(tracks, law) for law in tracks.scene.laws if law.kind == "apart"])


def _score(tracks: Tracks, law: Law) -> float:
    moving = [tracks.bodies[name] for name in law.bodies if name in tracks.bodies]
    if any(track.full == 0.0 for track in moving):
        return 0.0
    if len(moving) == 2:
        return score(_between(*moving), FLOOR, SCALE)
    fixed = [name for name in law.bodies if name in INTO]
    if len(moving) != 1 or not fixed:
        return math.nan
    depth = INTO[fixed[0]](tracks, moving[0])
    return math.nan if depth is None else score(depth, FLOOR, SCALE)


def _between(one: Track, two: Track) -> float:
    """What one loses of its area to the other while they touch, as a share of its breadth."""
    touching = (grown(one.share > 0.3) & grown(two.share > 0.3)).any((1, 2))
    depth = 0.0
    for track in (one, two):
        lost = np.maximum(1 - track.area / max(track.full, 1e-9), 0.0)
        lost = np.where(touching & ~track.cut, lost, 0.0)
        depth = max(depth, float(lost.max()) * 2 * track.template.spread * track.size)
    return depth


def _floor(tracks: Tracks, track: Track) -> float | None:
    ground = floor(tracks)
    return None if ground is None else float(np.nanmax(bottom(track.share))) - ground


def _post(tracks: Tracks, track: Track) -> float | None:
    """The post is the strip of its width that stands out near where the body turns back."""
    (post,) = (body.parts[0] for body in tracks.scene.bodies if body.name == "post")
    wide, tall = 2 * post.half[0], 2 * post.half[1]
    away = track.middle[:, 0] - track.middle[np.isfinite(track.middle[:, 0])][0, 0]
    way = 1.0 if np.nanmax(away) > -np.nanmin(away) else -1.0
    reach = float(np.nanmax(extent(track.share, (way, 0.0)))) * way
    ground = floor(tracks) or 1.0
    rows = (np.arange(tracks.height) + 0.5) / tracks.height
    upright = (rows > ground - 0.9 * tall) & (rows < ground - 0.04)
    where = np.repeat(upright[:, None], tracks.width, axis=1)
    low = reach - _SEARCH - (wide if way < 0 else 0.0)
    left = strip(tracks, low, low + 2 * _SEARCH, wide, where)
    if left is None:
        return None
    return way * (reach - (left if way > 0 else left + wide))


def _ramp(tracks: Tracks, track: Track) -> float | None:
    """The slope's surface is the edge along the path, near the side of the body."""
    path = track.middle[np.isfinite(track.middle[:, 0])]
    if len(path) < 3:
        return None
    x, y = np.linalg.svd(path - path.mean(0), full_matrices=False)[2][0]
    down = (float(-y), float(x)) if x > 0 else (float(y), float(-x))
    reach = extent(track.share, down)
    usual = float(np.nanmedian(reach))
    surface = edge(tracks, down, usual - _SEARCH / 2, usual + _SEARCH / 2)
    return None if surface is None else float(np.nanmax(reach)) - surface


INTO = {"floor": _floor, "post": _post, "ramp": _ramp}
