"""Intervals for yes/no metrics, where a resampled mean has no spread once nothing happened.

Of 32 clips with a true share of 5 %, one sample in five has no event at all; a bootstrap then says
[0, 0]. Score intervals do not. Seeds of one prompt count as `effective` clips, fewer than there are
where they agree, never fewer than the prompts.
"""

import math

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from videojam.evaluation.statistics.quantiles import normal_quantile, t_quantile


def is_yes_or_no(values: Float64[Tensor, "n"]) -> bool:
    """Whether all values are 0 or 1."""
    return bool(((values == 0) | (values == 1)).all())


def share_interval(
    values: Float64[Tensor, "n"], place: Int[Tensor, "n"], level: float = 0.95
) -> tuple[float, float]:
    """Wilson's score interval (1927) of the mean of zeros and ones.

        (p + q^2 / 2n +- q sqrt(p (1 - p) / n + q^2 / 4n^2)) / (1 + q^2 / n)

    n: effective clips. q: the normal quantile for one clip a prompt; with several, Student's t with
    one degree of freedom less than there are prompts, as n is estimated from them (Dean & Pagano
    2015). place: of the prompt of each value, 0 up.
    """
    p = float(values.mean())
    n = _effective(values, place, p * (1 - p))
    q = _quantile(values, place, level)
    middle = p + q * q / (2 * n)
    half = q * math.sqrt(p * (1 - p) / n + q * q / (4 * n * n))
    scale = 1 + q * q / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def share_difference_interval(
    a: Float64[Tensor, "n"], b: Float64[Tensor, "n"], place: Int[Tensor, "n"], level: float = 0.95
) -> tuple[float, float]:
    """The interval of the mean of a - b, pairs of zeros and ones, after Bonett & Price (2012).

    With one pair added to each of the two ways to differ, p = (n p + 1) / (n + 2), it is

        p10 - p01 +- q sqrt((p10 + p01 - (p10 - p01)^2) / (n + 2))

    n, q and place as in share_interval. It holds the true difference about as often where the two
    never differed in the sample.
    """
    d = a - b
    p10, p01 = (float((d == sign).double().mean()) for sign in (1, -1))
    n = _effective(d, place, p10 + p01 - (p10 - p01) ** 2)
    p10, p01 = ((n * p + 1) / (n + 2) for p in (p10, p01))
    q = _quantile(d, place, level)
    half = q * math.sqrt((p10 + p01 - (p10 - p01) ** 2) / (n + 2))
    return max(-1.0, p10 - p01 - half), min(1.0, p10 - p01 + half)


def _effective(values: Tensor, place: Tensor, variance: float) -> float:
    """How many independent clips would give a mean as uncertain as these, between k and n.

    variance: of one value. Var = k / (k - 1) sum over prompts of (sum of deviations)^2 / n^2.
    """
    n, k = len(values), int(place.max()) + 1
    sums = torch.zeros(k, dtype=torch.float64).index_add_(0, place, values - values.mean())
    of_mean = float(sums.square().sum()) * k / (k - 1) / n**2
    return min(max(variance / of_mean, float(k)), float(n)) if of_mean > 0 < variance else float(k)


def _quantile(values: Tensor, place: Tensor, level: float) -> float:
    k = int(place.max()) + 1
    above = (1 + level) / 2
    return normal_quantile(above) if k == len(values) else t_quantile(above, k - 1)
