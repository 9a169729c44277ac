"""From residuals to scores between 0 and 1."""

import math

import numpy as np


def score(residual: float, floor: float, scale: float) -> float:
    """exp(-max(residual - floor, 0) / scale).

    floor: what pixels of a true clip leave; scale: the excess that costs a factor e.
    0 for a residual that is not finite.
    """
    if not math.isfinite(residual):
        return 0.0
    return math.exp(-max(residual - floor, 0.0) / scale)


def mean(scores: list[float]) -> float:
    """The mean of the scores that apply; NaN where none does."""
    kept = [value for value in scores if not math.isnan(value)]
    return float(np.mean(kept)) if kept else math.nan


def worst(scores: list[float]) -> float:
    """The least of the scores that apply; NaN where none does."""
    kept = [value for value in scores if not math.isnan(value)]
    return min(kept) if kept else math.nan
