"""Grey things that stand still, found behind what moves: slopes by an edge, posts by a strip."""

import math

import numpy as np
from jaxtyping import Bool, Float

from videojam.lab.judge.seeing.stage import along
from videojam.lab.judge.seeing.tracks import Tracks

_CONTRAST = 10.0  # of 255: what is fainter is not trusted
_CLEAR = 1.4  # times any other edge
_STEPS = 2  # bins per pixel
_FLANK = 4  # bins compared on either side


def edge(tracks: Tracks, way: tuple[float, float], low: float, high: float) -> float | None:
    """Where between low and high along a unit vector the backdrop changes most.

    The middle of the range counts most. None where the change is faint, or another is near it.
    """
    everywhere = np.ones((tracks.height, tracks.width), bool)
    profile = _profile(tracks, way, low, high, everywhere)
    if profile is None:
        return None
    before, after = _beside(profile, 1)
    change = np.abs(after - before) * (1 - 0.5 * np.linspace(-1, 1, len(before)) ** 2)
    best = int(change.argmax())
    others = np.abs(np.arange(len(change)) - best) > 2 * _FLANK
    if change[best] < max(_CONTRAST, _CLEAR * change[others].max(initial=0.0)):
        return None
    return low + (best + 0.5) / (_STEPS * tracks.height)


def strip(
    tracks: Tracks, low: float, high: float, wide: float, where: Bool[np.ndarray, "h w"]
) -> float | None:
    """The left side, between low and high, of the upright strip that is darkest beside both sides.

    The middle of the range counts most.
    """
    profile = _profile(tracks, (1.0, 0.0), low, high, where)
    if profile is None:
        return None
    bins = round(wide * tracks.height * _STEPS)
    before, after = _beside(profile, bins)
    sums = np.concatenate([[0.0], profile.cumsum()])
    starts = np.arange(len(before)) + _FLANK
    inside = (sums[starts + bins] - sums[starts]) / bins
    contrast = np.minimum(before, after) - inside
    off = np.linspace(-1, 1, len(contrast)) ** 2
    best = int((contrast * (1 - 0.5 * off)).argmax())
    if contrast[best] < _CONTRAST:
        return None
    return low + best / (_STEPS * tracks.height)


def _profile(
    tracks: Tracks,
    way: tuple[float, float],
    low: float,
    high: float,
    where: Bool[np.ndarray, "h w"],
) -> Float[np.ndarray, "n"] | None:
    """Median level per bin along a unit vector, _FLANK bins more on either side."""
    level = _behind(tracks)
    used = where & np.isfinite(level)
    place = along(tracks.height, tracks.width, way)[used]
    bins = np.floor((place - low) * tracks.height * _STEPS).astype(int) + _FLANK
    count = math.ceil((high - low) * tracks.height * _STEPS) + 2 * _FLANK
    values = [level[used][bins == k] for k in range(count)]
    known = [k for k, found in enumerate(values) if len(found)]
    if len(known) < count / 3:
        return None
    return np.interp(np.arange(count), known, [float(np.median(values[k])) for k in known])


def _beside(profile: Float[np.ndarray, "n"], gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of _FLANK bins before and after a gap that starts at bin _FLANK, _FLANK + 1, ..."""
    sums = np.concatenate([[0.0], profile.cumsum()])
    means = (sums[_FLANK:] - sums[:-_FLANK]) / _FLANK
    after = means[_FLANK + gap :]
    return means[: len(after)], after


def _behind(tracks: Tracks) -> Float[np.ndarray, "h w"]:
    """Per pixel the median over the frames in which nothing coloured is there; NaN if always."""
    hidden = np.max([seen.share for seen in tracks.colours.values()], axis=0) > 0.05
    never = hidden.all(0)
    level = np.where(hidden & ~never, np.nan, tracks.grey)
    return np.where(never, np.nan, np.nanmedian(level, axis=0))
