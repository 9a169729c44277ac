"""Student's t: the interval of a mean of few independent values, such as one per training seed."""

import math

from jaxtyping import Float
from torch import Tensor

from videojam.evaluation.bootstrap import Interval

_Z = 1.959964  # 97.5% quantile of the normal distribution
# 97.5% quantiles for few degrees of freedom, where the expansion below is not good enough.
_FEW = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


def t_quantile(degrees: int) -> float:
    """The 97.5% quantile of Student's t, to 0.001.

    From the normal one by the expansion 26.7.5 of Abramowitz & Stegun. Raises ValueError for less
    than one degree of freedom.
    """
    if degrees < 1:
        raise ValueError(f"degrees is {degrees}, expected at least 1: one value has no spread")
    if degrees <= len(_FEW):
        return _FEW[degrees - 1]
    z, n = _Z, degrees
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


def t_interval(values: Float[Tensor, "n"]) -> Interval | None:
    """The mean with its 95% interval, values independent and about normal; None for one value."""
    if len(values) < 2:
        return None
    mean = float(values.mean())
    margin = t_quantile(len(values) - 1) * float(values.std()) / math.sqrt(len(values))
    return Interval(mean, mean - margin, mean + margin, len(values), len(values))
