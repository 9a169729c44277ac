"""Several comparisons at once: of twenty that are nothing, one excludes zero at 95 %.

One metric is declared primary before anything is looked at. All others are exploratory: they carry
a star only where Holm's correction over all of them leaves p under 0.05.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from videojam.rng import generator

LEVEL = 0.05


def sign_flip_p(
    differences: Float[Tensor, "n"],
    clusters: Int[Tensor, "n"],
    seed: int = 0,
    flips: int = 10_000,
) -> float:
    """Two-sided p of "the two systems are alike", by turning the signs of whole prompts at random.

    If they are, a - b of a prompt could as well be b - a. p = (1 + #{|flipped sum| >= |sum|}) /
    (1 + flips): never 0, valid for any number of prompts and for yes/no values.
    differences: of pairs; NaN is left out. 1 where no pair differs.
    """
    kept = ~differences.isnan()
    ids, place = clusters[kept].unique(return_inverse=True)
    values = differences[kept].double()
    sums = torch.zeros(len(ids), dtype=torch.float64).index_add_(0, place, values)
    if not bool(sums.any()):
        return 1.0
    signs = torch.randint(2, (flips, len(ids)), generator=generator(seed, "signs")) * 2 - 1
    total = sums.abs().sum()
    flipped = (signs.double() @ sums).abs()
    # Sums in another order differ in their last bits; the same sum must count as the same.
    as_large = flipped >= sums.sum().abs() - 1e-12 * total
    return (1 + int(as_large.sum())) / (1 + flips)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p, in the order given: the i-th smallest is
    max over j <= i of min(1, (m - j + 1) p_j).

    Rejecting where they are under 0.05 errs anywhere at all in at most 5 % of such families.
    """
    m = len(p_values)
    adjusted = [0.0] * m
    largest = 0.0
    for rank, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (m - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
