"""The appearance distance of a set of clips, and how sure the difference of two of them is.

The distance is the energy distance (Szekely & Rizzo 2013) between the frames of a system and those
of a reference, in the features of metrics/appearance.py:

    2 E|X - R| - E|X - X'| - E|R - R'|,    X, X' and R, R' of different prompts

It is 0 for the same distribution and positive for others. Means are over pairs of different
prompts alone, so the estimate is unbiased however alike the frames of a clip are; it may be
slightly negative. A plug-in distance, such as Frechet's, is larger for a system whose clips vary
less in time, because it has seen less of it, and resampling prompts makes that worse.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from videojam.evaluation.clips.judged import Judged
from videojam.evaluation.statistics.bootstrap import Interval
from videojam.evaluation.statistics.student import t_quantile

_LEAST_PROMPTS = 4  # the variance is of four prompts at a time
_AT_ONCE = 2**24  # distances


def set_distance(system: Judged, reference: Judged) -> float:
    """Energy distance of the frames of one to the frames of the other, every prompt alike.

    Raises ValueError for fewer than two prompts of either.
    """
    own = [_between(one, one) for one in (system, reference)]
    means = [_off_diagonal_mean(pairs, _same(one, one)) for pairs, one in zip(
        own, (system, reference), strict=True)]  # fmt: skip
    across = _off_diagonal_mean(_between(system, reference), _same(system, reference))
    return 2 * across - sum(means)


def set_distance_difference(a: Judged, b: Judged, reference: Judged) -> Interval | None:
    """Distance of a less that of b to the same reference, with its 95% interval over prompts.

    A U-statistic of degree two: its variance is estimated without bias (Hoeffding 1948), for
    systems that differ and for such that do not, where only the part of single pairs is left. The
    reference is taken as it is, but for its clips of the prompt itself. None for fewer than four
    prompts. Raises ValueError for systems of different prompts.
    """
    prompts = _prompts(a)
    if prompts != _prompts(b):
        raise ValueError(
            f"the systems have clips of {len(prompts)} and {len(_prompts(b))} prompts; give two "
            "systems on the same prompts"
        )
    if len(prompts) < _LEAST_PROMPTS:
        return None
    h = _kernel(a, reference) - _kernel(b, reference)
    n = len(prompts)
    rows, squares = h.sum(1), h.square().sum()
    total = rows.sum()
    pairs = n * (n - 1)
    mean = total / pairs
    # E h(1, 2)^2, E h(1, 2) h(1, 3) and E h(1, 2) h(3, 4), each over different prompts.
    three = rows.square().sum() - squares
    two_alike = squares / pairs
    one_alike = three / (pairs * (n - 2))
    none_alike = (total**2 - 4 * three - 2 * squares) / (pairs * (n - 2) * (n - 3))
    single = (one_alike - none_alike).clamp(min=0)
    variance = (4 * (n - 2) * single + 2 * (two_alike - none_alike).clamp(min=0)) / pairs
    margin = t_quantile(n - 1) * float(variance.sqrt())
    return Interval(float(mean), float(mean) - margin, float(mean) + margin, len(a.rows), n)


def _kernel(system: Judged, reference: Judged) -> Float64[Tensor, "p p"]:
    """What a pair of prompts adds to 2 E|X - R| - E|X - X'|, nothing for one with itself."""
    same = _same(system, reference)
    # The mean over the reference for each prompt, its own clips left out.
    near = (_between(system, reference) * ~same).sum(1) / (~same).sum(1)
    pairs = near[:, None] + near[None, :] - _between(system, system)
    return pairs.fill_diagonal_(0)


def _prompts(system: Judged) -> Sequence[int]:
    return sorted({row.prompt for row in system.rows})


def _same(a: Judged, b: Judged) -> Tensor:
    """Which pairs are of one prompt."""
    return torch.tensor(_prompts(a))[:, None] == torch.tensor(_prompts(b))[None, :]


def _off_diagonal_mean(pairs: Float64[Tensor, "p q"], same: Tensor) -> float:
    if not bool((~same).any()):
        raise ValueError("all clips are of one prompt; a distance needs at least two")
    return float(pairs[~same].mean())


def _between(a: Judged, b: Judged) -> Float64[Tensor, "p q"]:
    """Mean distance of the frames of each prompt of one to those of each prompt of the other."""
    own, other = (_by_prompt(system) for system in (a, b))
    sizes = torch.tensor([len(frames) for frames in other]).double()
    place = torch.arange(len(other)).repeat_interleave(sizes.long())
    everything = torch.cat(other)
    rows = []
    for frames in own:
        parts = frames.split(max(1, _AT_ONCE // len(everything)))
        total = torch.stack([torch.cdist(part, everything).sum(0) for part in parts]).sum(0)
        sums = torch.zeros(len(other), dtype=torch.float64).index_add_(0, place, total)
        rows.append(sums / sizes / len(frames))
    return torch.stack(rows)


def _by_prompt(system: Judged) -> list[Float64[Tensor, "n d"]]:
    places = torch.tensor([row.prompt for row in system.rows])
    return [system.features[places == prompt].flatten(0, 1) for prompt in _prompts(system)]
