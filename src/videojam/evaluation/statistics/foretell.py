"""Does a number that is had beforehand foretell a gain? A line, found here and tested there."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Values = Sequence[float]


class Line(NamedTuple):
    """y = intercept + slope x, and the mean of y that it was found from."""

    intercept: float
    slope: float
    mean: float


class Tested(NamedTuple):
    """A line on cells that it was not found from."""

    cells: int
    rank_correlation: float
    "Of what is foretold and what was measured."
    error: float
    "Mean absolute error of the line."
    error_of_mean: float
    "That of foretelling the mean that the line was found from, for all: the line should beat it."
    right_sign: int
    "Cells whose gain has the sign that the line foretells."


def rank_correlation(x: Values, y: Values) -> float:
    """Spearman's, ties with their mean rank; NaN where one of them is constant or has one value."""
    a, b = (_ranks(torch.tensor(values, dtype=torch.float64)) for values in (x, y))
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) / (a.norm() * b.norm()))


def fit_line(x: Values, y: Values) -> Line:
    """Least squares; a constant x gives the mean of y."""
    a, b = (torch.tensor(values, dtype=torch.float64) for values in (x, y))
    off, mean = a - a.mean(), float(b.mean())
    slope = float(off @ b / (off @ off)) if bool(off.any()) else 0.0
    return Line(mean - slope * float(a.mean()), slope, mean)


def check_line(line: Line, x: Values, y: Values) -> Tested:
    """How well it foretells y."""
    a, b = (torch.tensor(values, dtype=torch.float64) for values in (x, y))
    foretold = line.intercept + line.slope * a
    return Tested(
        len(b),
        rank_correlation(foretold.tolist(), b.tolist()),
        float((foretold - b).abs().mean()),
        float((line.mean - b).abs().mean()),
        int((foretold.sign() == b.sign()).sum()),
    )


def _ranks(x: Tensor) -> Tensor:
    return (x[:, None] > x).double().sum(1) + 0.5 * (x[:, None] == x).double().sum(1)
