"""Quantiles of the normal distribution and of Student's t."""

from statistics import NormalDist


def normal_quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)


def t_quantile(share: float, degrees: int) -> float:
    """Student's t, by the expansion of Abramowitz & Stegun 26.7.5 in 1 / degrees.

    Right to 0.001 from 7 degrees of freedom on, for shares from 0.025 to 0.975. ValueError below.
    """
    if degrees < 7:
        raise ValueError(f"{degrees} degrees of freedom, expected at least 7")
    z, n = normal_quantile(share), degrees
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / n**power for power, term in enumerate(terms))
