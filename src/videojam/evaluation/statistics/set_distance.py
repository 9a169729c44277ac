"""The appearance distance of a set of clips, and how sure the difference of two of them is.

A distance of sets has no value per clip to average: prompts are drawn with all their clips, and
the distance is computed again. Drawn sets hold fewer different clips and so lie further from the
reference than the whole; in the difference of two systems, drawn alike, this cancels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from videojam.evaluation.clips.judged import Judged
from videojam.evaluation.metrics.appearance import Gaussian, frechet_distance, gaussian
from videojam.evaluation.statistics.bootstrap import Interval
from videojam.rng import generator

_RESAMPLES = 400  # 0.01 s each


class _Moments(NamedTuple):
    """Sums over the frames of each prompt, of features less the reference's mean."""

    count: Float64[Tensor, "p"]
    first: Float64[Tensor, "p d"]
    second: Float64[Tensor, "p d d"]


def set_distance(system: Judged, reference: Judged) -> float:
    """appearance_distance of all frames of one to all frames of the other."""
    goal, prompts = _reference(reference), _prompts(system)
    return _distance(_moments(system, goal, prompts), torch.ones(len(prompts)).double(), goal)


def set_distance_difference(
    a: Judged, b: Judged, reference: Judged, resamples: int = _RESAMPLES
) -> Interval:
    """Distance of a less that of b to the same reference; 95% percentiles over drawn prompts.

    The reference is taken as it is. Raises ValueError for systems of different prompts, or of
    fewer than two.
    """
    prompts = _prompts(a)
    if prompts != _prompts(b) or len(prompts) < 2:
        raise ValueError(
            f"the systems have clips of {len(prompts)} and {len(_prompts(b))} prompts; give two "
            "systems on the same two prompts or more"
        )
    goal = _reference(reference)
    moments = [_moments(system, goal, prompts) for system in (a, b)]

    def gap(weights: Tensor) -> float:
        return _distance(moments[0], weights, goal) - _distance(moments[1], weights, goal)

    shape = (resamples, len(prompts))
    draws = torch.randint(len(prompts), shape, generator=generator(0, "bootstrap"))
    gaps = torch.tensor(
        [gap(draw.bincount(minlength=len(prompts)).double()) for draw in draws],
        dtype=torch.float64,
    )
    low, high = gaps.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    whole = gap(torch.ones(len(prompts), dtype=torch.float64))
    return Interval(whole, low, high, len(a.rows), len(prompts))


def _prompts(system: Judged) -> Sequence[int]:
    return sorted({row.prompt for row in system.rows})


def _reference(reference: Judged) -> Gaussian:
    return gaussian(reference.features.flatten(0, 1))


def _moments(system: Judged, goal: Gaussian, prompts: Sequence[int]) -> _Moments:
    place = torch.tensor([prompts.index(row.prompt) for row in system.rows])
    features = system.features - goal.mu
    n, f, d = features.shape
    count, first, second = (torch.zeros(len(prompts), *s).double() for s in ((), (d,), (d, d)))
    count.index_add_(0, place, torch.full((n,), float(f), dtype=torch.float64))
    first.index_add_(0, place, features.sum(1))
    second.index_add_(0, place, features.mT @ features)
    return _Moments(count, first, second)


def _distance(moments: _Moments, weights: Float64[Tensor, "p"], goal: Gaussian) -> float:
    """To the reference, with the frames of each prompt counted `weights` times."""
    count = weights @ moments.count
    mean = weights @ moments.first / count
    second = torch.einsum("p,pij->ij", weights, moments.second)
    cov = (second - count * torch.outer(mean, mean)) / (count - 1)
    return frechet_distance(mean + goal.mu, (cov + cov.T) / 2, goal.mu, goal.cov)
