"""Pixels to coverage: how much of each pixel shows an object of a given hue.

An object's texture changes its brightness and not its saturation, and what is behind it is nearly
grey, so the saturation of a pixel tells which share of it is the object.
"""

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from videojam.lab.judge.seeing.components import thick_core
from videojam.lab.scene import COLOURS

STRAY = "other"  # saturated pixels of a hue that was not asked for
_FAINT, _CLEAR = 28.0, 52.0  # chroma (largest less smallest channel) of grey noise, of an object
_REACH = 28.0  # degrees of hue on either side of a colour; the colours are about 60 apart
_HUES = {
    name: 360 * colorsys.rgb_to_hsv(*(channel / 255 for channel in rgb))[0]
    for name, rgb in COLOURS.items()
}
_FULL = {name: (max(rgb) - min(rgb)) / max(rgb) for name, rgb in COLOURS.items()}


class Coverage(NamedTuple):
    """Per colour asked for, and STRAY for all others: the covered share of every pixel."""

    names: tuple[str, ...]
    "The colours asked for, then STRAY."
    share: Float[np.ndarray, "c f h w"]

    def of(self, name: str) -> Float[np.ndarray, "f h w"]:
        return self.share[self.names.index(name)]


def coverage(frames: UInt8[np.ndarray, "f h w 3"], asked: Sequence[str]) -> Coverage:
    """Which colour covers how much of each pixel.

    A pixel on the border of two colours may have the hue of a third; it is given to the nearest
    colour that was asked for, and counts as STRAY only with enough neighbours of its kind.
    """
    rgb = np.ascontiguousarray(np.moveaxis(frames, -1, 0)).astype(np.float32)
    brightest = np.maximum(np.maximum(rgb[0], rgb[1]), rgb[2])
    chroma = brightest - np.minimum(np.minimum(rgb[0], rgb[1]), rgb[2])
    hue = _hue(rgb, brightest, chroma)
    coloured = chroma > (_FAINT + _CLEAR) / 2
    distance = np.stack([np.abs((hue - _HUES[name] + 180) % 360 - 180) for name in asked])
    nearest = distance.argmin(0)
    known = distance.min(0) < _REACH
    saturation = chroma / np.maximum(brightest, 1.0)
    share = np.zeros((len(asked) + 1, *hue.shape), np.float32)
    behind = _mean_where(brightest, ~coloured)
    for k, name in enumerate(asked):
        mine = known & (nearest == k)
        if not (mine & coloured).any():
            continue
        pure = np.minimum(saturation / _typical(saturation[mine & coloured], _FULL[name]), 1.0)
        solid = mine & coloured & (pure > 0.9)
        share[k] = np.where(mine, _unmixed(pure, _mean_where(brightest, solid), behind), 0.0)
    share *= np.clip((chroma - _FAINT) / (_CLEAR - _FAINT), 0.0, 1.0)
    share[-1] = thick_core(coloured & ~known)
    return Coverage((*asked, STRAY), share)


def _unmixed(
    pure: Float[np.ndarray, "f h w"],
    front: Float[np.ndarray, "f h w"],
    behind: Float[np.ndarray, "f h w"],
) -> Float[np.ndarray, "f h w"]:
    """The share a of an object in a mix with grey, from its saturation.

    s = a C / (a M + (1 - a) B) with pure = s M / C, so a = pure B / (M - pure (M - B)).
    """
    return np.clip(pure * behind / np.maximum(front - pure * (front - behind), 1.0), 0.0, 1.0)


def _typical(saturations: Float[np.ndarray, "n"], nominal: float) -> float:
    """Of the object's inside: its upper quarter, if the clip has paler colours than the Lab's."""
    return float(np.clip(np.quantile(saturations, 0.7), 0.5 * nominal, 1.0))


def _hue(
    rgb: Float[np.ndarray, "3 f h w"],
    brightest: Float[np.ndarray, "f h w"],
    chroma: Float[np.ndarray, "f h w"],
) -> Float[np.ndarray, "f h w"]:
    """Degrees, as in HSV."""
    red, green, blue = rgb
    safe = np.maximum(chroma, 1.0)
    sixth = np.where(
        brightest == red,
        (green - blue) / safe,
        np.where(brightest == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    return sixth * 60 % 360


def _mean_where(
    values: Float[np.ndarray, "f h w"], chosen: np.ndarray
) -> Float[np.ndarray, "f h w"]:
    """Mean of the chosen values within two pixels; where there are none, the clip's median."""
    if not chosen.any():
        return np.full_like(values, 128.0)
    weight = chosen.astype(np.float32)
    total, count = _sum_around(values * weight), _sum_around(weight)
    everywhere = np.float32(np.median(values[chosen]))
    return np.where(count > 0.5, total / np.maximum(count, 0.5), everywhere)


def _sum_around(values: Float[np.ndarray, "f h w"], reach: int = 2) -> Float[np.ndarray, "f h w"]:
    """Sum over a square of 2 reach + 1 pixels a side."""
    total = values.copy()
    for step in range(1, reach + 1):
        total[:, :, step:] += values[:, :, :-step]
        total[:, :, :-step] += values[:, :, step:]
    square = total.copy()
    for step in range(1, reach + 1):
        square[:, step:] += total[:, :-step]
        square[:, :-step] += total[:, step:]
    return square
