"""Which of several datasets a step reads: a function of (seed, step), so resuming needs no state.

Step s reads the dataset in whose share of [0, 1) the number frac(start + s golden ratio) lies.
These numbers fill the interval evenly, so after any number of steps each dataset has had its share
of them but for a few: random draws would be off by the root of their number.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64

from videojam.rng import generator

_GOLDEN = (5**0.5 - 1) / 2


def which_dataset(step: int, weights: Sequence[float], seed: int) -> int:
    """The number of the dataset that global batch `step` comes from."""
    return int(_places(np.array([step]), weights, seed)[0])


def steps_before(step: int, weights: Sequence[float], seed: int) -> Int64[np.ndarray, "n"]:
    """How many of the steps before this one read each dataset: where its own stream goes on."""
    places = _places(np.arange(step), weights, seed)
    return np.bincount(places, minlength=len(weights)).astype(np.int64)


def _places(
    steps: Int64[np.ndarray, "s"], weights: Sequence[float], seed: int
) -> Int64[np.ndarray, "s"]:
    ends: Float[np.ndarray, "n"] = np.cumsum(np.array(weights, np.float64)) / sum(weights)
    start = float(torch.rand((), generator=generator(seed, "mixture"), dtype=torch.float64))
    return np.searchsorted(ends[:-1], (start + steps * _GOLDEN) % 1.0, side="right")
