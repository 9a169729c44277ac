"""How sure is a mean? Percentile bootstrap over clusters, for one system or two on the same work.

The clips of one prompt (its seeds) are no independent evidence, so whole prompts are drawn, each
with all its clips. The percentile interval is a little narrow for few prompts: of normal data
the "95%" covers 89% on 10 prompts, 94% on 20 to 60, 95% on 128 (2000 simulations of each).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from videojam.rng import generator

_LEVEL = 0.95


class Interval(NamedTuple):
    """A mean and its 95% interval; how many values and clusters it is from, after dropping NaN."""

    mean: float
    low: float
    high: float
    num_values: int
    num_clusters: int


def paired_bootstrap(
    a: Float[Tensor, "n"],
    b: Float[Tensor, "n"],
    clusters: Int[Tensor, "n"],
    seed: int = 0,
    resamples: int = 10_000,
) -> Interval:
    """The mean of a - b: a[i] and b[i] are two systems on the same prompt and seed.

    clusters: which prompt i belongs to. Pairs where either is NaN are dropped.
    Raises ValueError for different lengths, or fewer than two clusters with a value.
    """
    if len(a) != len(b):
        raise ValueError(
            f"paired systems have as many values as each other, got {len(a)} and {len(b)}; give "
            "NaN where one is missing"
        )
    return bootstrap_mean(a.double() - b.double(), clusters, seed, resamples)


def bootstrap_mean(
    values: Float[Tensor, "n"],
    clusters: Int[Tensor, "n"],
    seed: int = 0,
    resamples: int = 10_000,
) -> Interval:
    """The mean of all values, with the 2.5% and 97.5% quantiles of its resamples.

    A resample draws as many clusters as there are, with replacement, and takes the mean of all
    values in them. NaN values are dropped.
    Raises ValueError for different lengths, or fewer than two clusters with a value.
    """
    if len(values) != len(clusters):
        raise ValueError(
            f"each value belongs to a cluster, got {len(values)} values and {len(clusters)} "
            "cluster ids"
        )
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}, expected at least 1")
    kept = ~values.isnan()
    values = values[kept].double()
    ids, place = clusters[kept].unique(return_inverse=True)
    if len(ids) < 2:
        raise ValueError(
            f"got {len(values)} values (of {len(kept)}) in {len(ids)} clusters, expected at least "
            "2 clusters with a value: fewer say nothing of the spread"
        )
    sums = torch.zeros(len(ids), dtype=torch.float64).index_add_(0, place, values)
    sizes = place.bincount().double()
    draws = torch.randint(len(ids), (resamples, len(ids)), generator=generator(seed, "bootstrap"))
    means = sums[draws].sum(1) / sizes[draws].sum(1)
    tail = (1 - _LEVEL) / 2
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(float(values.mean()), low, high, len(values), len(ids))
