"""Student's t: the interval of a mean of few independent values, such as one per training seed."""

import math

from jaxtyping import Float
from torch import Tensor

from videojam.evaluation.statistics import quantiles
from videojam.evaluation.statistics.bootstrap import Interval

# 97.5% quantiles for few degrees of freedom, where quantiles.py's expansion is not good enough.
_FEW = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


def t_quantile(degrees: int) -> float:
    """The 97.5% quantile of Student's t, to 0.001.

    Raises ValueError for less than one degree of freedom.
    """
    if degrees < 1:
        raise ValueError(f"degrees is {degrees}, expected at least 1: one value has no spread")
    if degrees <= len(_FEW):
        return _FEW[degrees - 1]
    return quantiles.t_quantile(0.975, degrees)


def t_interval(values: Float[Tensor, "n"]) -> Interval | None:
    """The mean with its 95% interval, values independent and about normal; None for one value."""
    if len(values) < 2:
        return None
    mean = float(values.mean())
    margin = t_quantile(len(values) - 1) * float(values.std()) / math.sqrt(len(values))
    return Interval(mean, mean - margin, mean + margin, len(values), len(values))
