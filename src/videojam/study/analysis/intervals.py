"""How sure is a share of votes? Votes of one prompt are alike, and votes of one rater are.

The variance is two-way cluster-robust (Cameron, Gelbach and Miller 2011): that of prompts plus that
of raters less that of votes, each from sums of residuals,

    V_g = G / (G - 1) sum_g (sum_{i in g} e_i)^2 / n^2.

It says how many independent votes these are worth, n_eff = p (1 - p) / V; the interval is Wilson's
for n_eff votes, so it stays within [0, 1] and is never empty, with a factor from Student's t for
the smaller number of clusters.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.stats import norm, t

Values = Sequence[float] | np.ndarray
Ids = Sequence[str] | Sequence[int] | np.ndarray


class Preference(NamedTuple):
    """Share of votes for the first of two systems, and its interval."""

    share: float
    low: float
    high: float
    level: float
    num_votes: int
    num_prompts: int
    num_raters: int
    effective_votes: float
    "So many independent votes would be as sure."

    def excludes(self, value: float = 0.5) -> bool:
        return not self.low <= value <= self.high


def preference(scores: Values, prompts: Ids, raters: Ids, level: float) -> Preference | None:
    """The mean score with its interval at `level`; None for fewer than two prompts or raters."""
    found = _effective(scores, prompts, raters)
    if found is None:
        return None
    share, votes, num_prompts, num_raters = found
    factor = float(t.ppf((1 + level) / 2, min(num_prompts, num_raters) - 1))
    return Preference(
        share,
        *wilson(share, votes, factor),
        level,
        len(scores),
        num_prompts,
        num_raters,
        votes,
    )


def confidence_sequence(
    scores: Values,
    prompts: Ids,
    raters: Ids,
    level: float,
    planned_votes: int,
) -> Preference | None:
    """The same for looking at any moment: all intervals together miss the truth in 1 - level.

    The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2021,
    Theorem 2.2), narrowest around `planned_votes`: mean +- SE sqrt((r + 1) / r log((r + 1) /
    alpha^2)) with r = n rho^2. SE is the cluster-robust one, widened for few clusters.
    """
    found = _effective(scores, prompts, raters)
    if found is None:
        return None
    share, votes, num_prompts, num_raters = found
    alpha = 1 - level
    rho2 = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / planned_votes
    r = len(scores) * rho2
    factor = math.sqrt((r + 1) / r * math.log((r + 1) / alpha**2))
    few = t.ppf(1 - alpha / 2, min(num_prompts, num_raters) - 1) / norm.ppf(1 - alpha / 2)
    low, high = wilson(share, votes, factor * float(few))
    return Preference(share, low, high, level, len(scores), num_prompts, num_raters, votes)


def wilson(share: float, votes: float, factor: float) -> tuple[float, float]:
    """Shares p that are within `factor` standard errors sqrt(p (1 - p) / votes) of this one."""
    shrink = factor**2 / votes
    middle = (share + shrink / 2) / (1 + shrink)
    half = math.sqrt(shrink * (share * (1 - share) + shrink / 4)) / (1 + shrink)
    return max(0.0, middle - half), min(1.0, middle + half)


def clustered_variance(residuals: Float64[np.ndarray, "n"], prompts: Ids, raters: Ids) -> float:
    """Variance of a mean, from votes that are alike within prompts and within raters."""
    one_way = [_one_way(residuals, clusters) for clusters in (prompts, raters)]
    independent = float((residuals**2).sum()) / len(residuals) ** 2
    # The difference may come out too small, or negative; no clustering makes surer than one way.
    return max(sum(one_way) - independent, *one_way, independent)


def _effective(scores: Values, prompts: Ids, raters: Ids) -> tuple[float, float, int, int] | None:
    """Share, effective votes, numbers of prompts and raters."""
    counts = len({*prompts}), len({*raters})
    if min(counts) < 2:
        return None
    values = np.asarray(scores, np.float64)
    share = float(values.mean())
    variance = clustered_variance(values - share, prompts, raters)
    if variance > 1e-12:
        return share, max(1.0, share * (1 - share) / variance), *counts
    # All votes are the same: each prompt, or rater, is taken for one vote.
    return share, float(min(counts)), *counts


def _one_way(residuals: Float64[np.ndarray, "n"], clusters: Ids) -> float:
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(place, residuals)
    return float((sums**2).sum()) / len(residuals) ** 2 * len(sums) / (len(sums) - 1)
