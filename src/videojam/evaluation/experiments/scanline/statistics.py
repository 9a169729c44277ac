"""How sure is a difference over training seeds and prompts?

Two intervals, because they answer two questions. `hierarchical` draws training seeds with
replacement and then prompts within each: how far another training and other captions could lead;
of five seeds it is too narrow (a bootstrap knows no more spread than it has seen). The t interval
over the seeds' own means takes few seeds for what they are, and is the one to believe.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.evaluation.statistics.bootstrap import Interval
from videojam.evaluation.statistics.student import t_interval
from videojam.rng import generator

_AT_ONCE = 100  # resamples
_TAIL = torch.tensor([0.025, 0.975], dtype=torch.float64)


class OverSeeds(NamedTuple):
    """A mean over training seeds, each with the same weight."""

    per_seed: list[float]
    hierarchical: Interval | None
    "None where a seed has fewer than two values."
    over_seeds: Interval | None
    "t interval; None for one seed."


def over_seeds(values: Float[Tensor, "s p"], resamples: int = 2000) -> OverSeeds:
    """Of values for s training seeds and p prompts each; NaN is left out."""
    values = values.double()
    own = values.nanmean(1)
    enough = bool((values.isfinite().sum(1) > 1).all())
    return OverSeeds(
        own.tolist(),
        _hierarchical(values, resamples) if enough else None,
        t_interval(own) if bool(own.isfinite().all()) else None,
    )


def _hierarchical(values: Float[Tensor, "s p"], resamples: int) -> Interval:
    seeds, prompts = values.shape
    random = generator(0, "bootstrap over seeds and prompts")
    means = []
    for _ in range(-(-resamples // _AT_ONCE)):
        drawn = values[torch.randint(seeds, (_AT_ONCE, seeds), generator=random)]
        columns = torch.randint(prompts, (_AT_ONCE, seeds, prompts), generator=random)
        means.append(drawn.gather(2, columns).nanmean(2).nanmean(1))
    low, high = torch.cat(means).nanquantile(_TAIL).tolist()
    count = int(values.isfinite().sum())
    return Interval(float(values.nanmean(1).mean()), low, high, count, seeds)
