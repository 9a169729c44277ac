"""Strengths of more than two systems, from votes about pairs (Bradley and Terry 1952)."""

from collections.abc import Sequence
from typing import NamedTuple

import choix
import numpy as np
from jaxtyping import Float64

from videojam.rng import shuffler
from videojam.study.analysis.answers import Answer, compare
from videojam.study.plan import Plan

_RESAMPLES = 400
_PRIOR = 0.1  # votes added to each side of every pair, so that a system that always wins is finite


class Strength(NamedTuple):
    """Log-odds of a system against the mean of all, with its interval."""

    system: str
    strength: float
    low: float
    high: float


def bradley_terry(
    plan: Plan, answers: Sequence[Answer], question: str, seed: int = 0, level: float = 0.95
) -> list[Strength]:
    """Strongest first. A tie is half a win for each; P(a beats b) = logistic(s_a - s_b).

    Intervals: prompts and raters are drawn with replacement, independently of each other, and a
    vote counts as often as both were drawn (Owen 2007): a little too wide rather than too narrow.
    Empty without votes.
    """
    rows = [
        (i, j, each.score, each.answer.prompt, each.answer.rater)
        for i, a in enumerate(plan.systems)
        for j, b in enumerate(plan.systems[i + 1 :], i + 1)
        for each in compare(plan, answers, question, a, b)
    ]
    if not rows:
        return []
    first, second, scores, prompts, raters = zip(*rows, strict=True)
    at = np.array(first), np.array(second)
    size, values = len(plan.systems), np.array(scores)
    clusters = [np.unique(ids, return_inverse=True)[1] for ids in (prompts, raters)]
    rng = np.random.default_rng(shuffler(seed, "study bradley-terry").getrandbits(64))
    fits = np.array(
        [
            _fit(size, at, values, _drawn(rng, clusters[0]) * _drawn(rng, clusters[1]))
            for _ in range(_RESAMPLES)
        ]
    )
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(fits, [tail, 100 - tail], axis=0)
    fit = _fit(size, at, values, np.ones(len(values)))
    found = zip(plan.systems, fit.tolist(), low.tolist(), high.tolist(), strict=True)
    return sorted((Strength(*row) for row in found), key=lambda row: -row.strength)


def _drawn(rng: np.random.Generator, place: np.ndarray) -> Float64[np.ndarray, "n"]:
    """How often the cluster of each vote was drawn."""
    count = int(place.max()) + 1
    return np.bincount(rng.integers(count, size=count), minlength=count)[place].astype(float)


def _fit(
    size: int, at: tuple[np.ndarray, np.ndarray], scores: np.ndarray, weights: np.ndarray
) -> Float64[np.ndarray, "s"]:
    wins = np.full((size, size), _PRIOR)
    np.fill_diagonal(wins, 0)
    np.add.at(wins, at, weights * scores)
    np.add.at(wins, at[::-1], weights * (1 - scores))
    return choix.ilsr_pairwise_dense(wins)
