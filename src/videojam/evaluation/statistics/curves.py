"""Curves over time steps, from clips: their bands, and where they first reach a threshold.

Clips are resampled with replacement (percentile bootstrap, as in bootstrap.py), whole and with
the same draws for every system: what two systems differ in keeps its pairing.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.rng import generator

_TAIL = 0.025  # of a 95% interval, on each side


class Band(NamedTuple):
    """A curve with its 95% band and the standard error at every point."""

    mean: list[float]
    low: list[float]
    high: list[float]
    error: list[float]


class Crossing(NamedTuple):
    """Where a curve first reaches a threshold; None for never."""

    at: float | None
    "Where the mean reaches it, linear between points."
    low: float | None
    "95% interval of that place, from where the resampled curves reach it."
    high: float | None
    point: float | None
    "The first point of the grid at which the mean has reached it and its band excludes zero."


def resample_weights(
    num_clips: int, seed: int = 0, resamples: int = 4000
) -> Float[Tensor, "r clips"]:
    """Rows that add up to 1: `weights @ values` are the means of resampled clips.

    Raises ValueError for fewer than two clips.
    """
    if num_clips < 2:
        raise ValueError(f"got {num_clips} clips, expected at least 2: one says nothing of spread")
    draws = torch.randint(num_clips, (resamples, num_clips), generator=generator(seed, "bootstrap"))
    weights = torch.zeros(resamples, num_clips, dtype=torch.float64)
    return weights.scatter_add_(1, draws, torch.full_like(weights, 1 / num_clips))


def band(mean: Float[Tensor, "t"], resampled: Float[Tensor, "r t"]) -> Band:
    """The curve of all clips, with the quantiles and the spread of the resampled curves."""
    low, high = _quantiles(resampled)
    return Band(*(row.tolist() for row in (mean, low, high, resampled.std(0))))


def mean_band(values: Float[Tensor, "clips t"], weights: Float[Tensor, "r clips"]) -> Band:
    """The mean over clips at every point."""
    return band(values.double().mean(0), weights @ values.double())


def crossings(
    x: Float[Tensor, "t"], curves: Float[Tensor, "r t"], threshold: float
) -> Float[Tensor, "r"]:
    """Where each curve first reaches the threshold, linear between points; infinity for never."""
    reached = curves >= threshold
    after = reached.int().argmax(1)  # 0 where none is
    before = (after - 1).clamp(min=0)
    low, high = (curves.gather(1, at[:, None])[:, 0] for at in (before, after))
    share = torch.where(after > 0, (threshold - low) / (high - low), 0.0)
    at = torch.lerp(x[before].double(), x[after].double(), share.double())
    return torch.where(reached.any(1), at, torch.inf)


def crossing(
    x: Float[Tensor, "t"],
    mean: Float[Tensor, "t"],
    resampled: Float[Tensor, "r t"],
    threshold: float,
) -> Crossing:
    """Where a curve reaches a positive threshold, and how sure that is."""
    if threshold <= 0:
        raise ValueError(f"threshold is {threshold}, expected a positive number")
    sure = (mean >= threshold) & (_quantiles(resampled)[0] > 0)
    point = float(x[sure.int().argmax()]) if bool(sure.any()) else None
    places = crossings(x, resampled, threshold).sort().values
    low, high = (places[round(q * (len(places) - 1))] for q in (_TAIL, 1 - _TAIL))
    place = crossings(x, mean[None], threshold)[0]
    return Crossing(_or_none(place), _or_none(low), _or_none(high), point)


class Sooner(NamedTuple):
    """How much sooner one curve reaches a threshold than another, with its 95% interval."""

    median: float
    low: float
    high: float
    bound: str
    """">=" if mostly only the one reaches it at all, "<=" if mostly only the other does, "neither",
    or "" where both do."""


def earlier(
    x: Float[Tensor, "t"],
    one: Float[Tensor, "r t"],
    other: Float[Tensor, "r t"],
    threshold: float,
) -> Sooner:
    """With curves resampled by the same draws. One that never does counts as at the end of x."""
    found = [crossings(x, curves, threshold) for curves in (one, other)]
    does, other_does = (float(places.isfinite().double().mean()) >= 0.5 for places in found)
    bound = {(True, True): "", (True, False): ">=", (False, True): "<=", (False, False): "neither"}
    gain = found[1].clamp(max=float(x[-1])) - found[0].clamp(max=float(x[-1]))
    median, low, high = gain.quantile(
        torch.tensor([0.5, _TAIL, 1 - _TAIL], dtype=gain.dtype)
    ).tolist()
    return Sooner(median, low, high, bound[does, other_does])


def _quantiles(resampled: Tensor) -> tuple[Tensor, Tensor]:
    low, high = resampled.quantile(torch.tensor([_TAIL, 1 - _TAIL], dtype=resampled.dtype), dim=0)
    return low, high


def _or_none(place: Tensor) -> float | None:
    return float(place) if bool(place.isfinite()) else None
