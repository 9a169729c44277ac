"""How sure is a mean? Intervals over prompts, for one system or two on the same work.

The clips of one prompt (its seeds) are no independent evidence, so whole prompts are drawn, each
with all its clips. Percentiles of resampled means are too narrow for few prompts (at eight, "95 %"
holds the truth in 88 %), so they are taken further out: by Hesterberg's expansion, exact for the
mean of normal data. Yes/no metrics have score intervals of their own (proportions.py). Under eight
prompts there is no interval at all, only the mean.

Coverage of every kind of interval, simulated: benchmarks/interval_coverage.py.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from videojam.evaluation.statistics.proportions import (
    is_yes_or_no,
    share_difference_interval,
    share_interval,
)
from videojam.evaluation.statistics.quantiles import t_quantile
from videojam.evaluation.statistics.several import sign_flip_p
from videojam.rng import generator

_LEVEL = 0.95
FEWEST = 8
"Prompts for an interval; with fewer, none of those tried holds what it says for skewed data."


class Interval(NamedTuple):
    """A mean and its 95% interval; how many values and clusters it is from, after dropping NaN.

    low and high are NaN for fewer than FEWEST clusters.
    """

    mean: float
    low: float
    high: float
    num_values: int
    num_clusters: int
    p: float | None = None
    "Of a difference: of two systems that are alike (several.py); not corrected."


def paired_bootstrap(
    a: Float[Tensor, "n"],
    b: Float[Tensor, "n"],
    clusters: Int[Tensor, "n"],
    seed: int = 0,
    resamples: int = 10_000,
) -> Interval:
    """The mean of a - b: a[i] and b[i] are two systems on the same prompt and seed.

    clusters: which prompt i belongs to. Pairs where either is NaN are dropped.
    Raises ValueError for different lengths, or no pair with values.
    """
    if len(a) != len(b):
        raise ValueError(
            f"paired systems have as many values as each other, got {len(a)} and {len(b)}; give "
            "NaN where one is missing"
        )
    differences = a.double() - b.double()
    interval = bootstrap_mean(differences, clusters, seed, resamples)
    if interval.num_clusters < FEWEST:
        return interval
    kept = ~differences.isnan()
    one, other = a[kept].double(), b[kept].double()
    if is_yes_or_no(one) and is_yes_or_no(other):
        place = clusters[kept].unique(return_inverse=True)[1]
        low, high = share_difference_interval(one, other, place, _LEVEL)
        interval = interval._replace(low=low, high=high)
    return interval._replace(p=sign_flip_p(differences, clusters, seed))


def bootstrap_mean(
    values: Float[Tensor, "n"],
    clusters: Int[Tensor, "n"],
    seed: int = 0,
    resamples: int = 10_000,
) -> Interval:
    """The mean of all values, with the outer quantiles of its resamples (expanded_tail).

    A resample draws as many clusters as there are, with replacement, and takes the mean of all
    values in them. Zeros and ones have share_interval in place of it. NaN values are dropped.
    Raises ValueError for different lengths, or no values.
    """
    if len(values) != len(clusters):
        raise ValueError(
            f"each value belongs to a cluster, got {len(values)} values and {len(clusters)} "
            "cluster ids"
        )
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}, expected at least 1")
    kept = ~values.isnan()
    if not bool(kept.any()):
        raise ValueError(f"got no values (of {len(kept)}), expected at least one that is not NaN")
    values = values[kept].double()
    ids, place = clusters[kept].unique(return_inverse=True)
    mean, counts = float(values.mean()), (len(values), len(ids))
    if len(ids) < FEWEST:
        return Interval(mean, math.nan, math.nan, *counts)
    if is_yes_or_no(values):
        return Interval(mean, *share_interval(values, place, _LEVEL), *counts)
    sums = torch.zeros(len(ids), dtype=torch.float64).index_add_(0, place, values)
    sizes = place.bincount().double()
    draws = torch.randint(len(ids), (resamples, len(ids)), generator=generator(seed, "bootstrap"))
    means = sums[draws].sum(1) / sizes[draws].sum(1)
    tail = expanded_tail(len(ids))
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(mean, low, high, *counts)


def expanded_tail(clusters: int, level: float = _LEVEL) -> float:
    """The share to leave on each side:  Phi(-sqrt(k / (k - 1)) t_{k-1})  (Hesterberg 2015).

    t: the quantile for `level`. The bootstrap's standard error lacks the factor, and its normal
    shape the tails of t. 0.025 for many clusters, 0.006 for eight.
    """
    t = t_quantile((1 + level) / 2, clusters - 1)
    return NormalDist().cdf(-math.sqrt(clusters / (clusters - 1)) * t)
