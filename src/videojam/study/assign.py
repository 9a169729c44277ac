"""Who sees what: trials of every rater, from a seed.

Films are shown to those who come first in balance: a rater gets the films that were seen least so
far, half of them with sides swapped, swapped first where a film was swapped least. So at every
moment the votes of a film differ by one at most, the sides of a rater by one, those of a film by
little. Checks and repeats are spread evenly among them.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from videojam.rng import shuffler
from videojam.study.plan import Trial


class Shares(NamedTuple):
    """How many trials of each kind a rater has."""

    pairs: int
    catches: int
    repeats: int
    practice: int

    @property
    def total(self) -> int:
        return sum(self)


def shares(total: int, pairs_there_are: int, catches: int, repeats: int, practice: int) -> Shares:
    """Divide a rater's `total` trials; fewer films than that ask for fewer trials.

    Raises ValueError where no trial is left for a pair, or more are repeated than there are.
    """
    pairs = min(total - catches - repeats - practice, pairs_there_are)
    if min(catches, repeats, practice) < 0 or pairs < 1 or repeats > pairs:
        raise ValueError(
            f"{total} trials a rater, {catches} catch, {repeats} repeats and {practice} practice "
            f"trials leave {pairs} pairs; expected at least 1, and as many as are repeated"
        )
    return Shares(pairs, catches, repeats, practice)


def assign(
    pairs: Sequence[int],
    checks: Sequence[int],
    practice: Sequence[int],
    raters: int,
    share: Shares,
    seed: int,
) -> list[list[Trial]]:
    """Trials of each rater. pairs, checks, practice: films, as indices into Plan.films."""
    seen, swapped = dict.fromkeys(pairs, 0), dict.fromkeys(pairs, 0)
    return [
        _rater(shuffler(seed, "study rater", number), seen, swapped, checks, practice, share)
        for number in range(raters)
    ]


def _rater(
    rng: random.Random,
    seen: dict[int, int],
    swapped: dict[int, int],
    checks: Sequence[int],
    practice: Sequence[int],
    share: Shares,
) -> list[Trial]:
    films = sorted(seen, key=lambda film: (seen[film], rng.random()))[: share.pairs]
    # Those that were swapped in less than half of their showings come first.
    order = sorted(films, key=lambda film: (2 * swapped[film] - seen[film], rng.random()))
    half = share.pairs // 2
    if share.pairs % 2:  # the one in the middle as its film needs it
        lead = 2 * swapped[order[half]] - seen[order[half]]
        half += lead < 0 or (lead == 0 and rng.random() < 0.5)
    turned = set(order[:half])
    for film in films:
        seen[film] += 1
        swapped[film] += film in turned
    rng.shuffle(films)
    trials = [Trial(film, film in turned, "pair", None) for film in films]
    for film in _cycle(rng, checks, share.catches):
        trials.insert(0, Trial(film, False, "catch", None))
    trials = _spread(rng, trials, share.catches)
    trials = _with_repeats(rng, trials, share.repeats)
    first = [Trial(film, False, "practice", None) for film in _cycle(rng, practice, share.practice)]
    return _shifted(_with_sides(rng, first) + _with_sides(rng, trials), len(first))


def _cycle(rng: random.Random, films: Sequence[int], count: int) -> list[int]:
    """`count` of the films in random order, each again only when all were taken."""
    taken: list[int] = []
    while films and len(taken) < count:
        taken += rng.sample(list(films), min(len(films), count - len(taken)))
    return taken


def _spread(rng: random.Random, trials: list[Trial], count: int) -> list[Trial]:
    """The first `count` trials, one in each of as many stretches of the others."""
    apart, others = trials[:count], trials[count:]
    spread = list(others)
    for place in reversed(range(count)):
        low, high = (len(others) * k // count for k in (place, place + 1))
        spread.insert(rng.randint(low, high), apart[place])
    return spread


def _with_repeats(rng: random.Random, trials: list[Trial], count: int) -> list[Trial]:
    """Pairs of the first two thirds again, sides swapped, in the last third.

    `repeats` is an index into the list that is returned.
    """
    start = max(1, 2 * len(trials) // 3)
    early = [k for k, trial in enumerate(trials[:start]) if trial.kind == "pair"]
    early += [k for k, trial in enumerate(trials) if k >= start and trial.kind == "pair"][
        : max(0, count - len(early))
    ]
    again = sorted(rng.sample(early, count))
    rng.shuffle(again)
    # Behind what they repeat: those of the last third, which a short list needs, at the end.
    places = {k: max(k + 1, rng.randint(start, len(trials))) for k in again}
    result: list[Trial] = []
    at: dict[int, int] = {}
    for place in range(len(trials) + 1):
        for k in (k for k in again if places[k] == place):
            result.append(Trial(trials[k].film, not trials[k].swapped, "repeat", at[k]))
        if place < len(trials):
            at[place] = len(result)
            result.append(trials[place])
    return result


def _with_sides(rng: random.Random, trials: list[Trial]) -> list[Trial]:
    """Sides of the checks: half of them swapped, so that no side is the right one."""
    checks = [k for k, trial in enumerate(trials) if trial.kind in ("catch", "practice")]
    half = len(checks) // 2 + (rng.random() < 0.5) * (len(checks) % 2)
    turned = set(rng.sample(checks, half))
    return [trial._replace(swapped=trial.swapped or k in turned) for k, trial in enumerate(trials)]


def _shifted(trials: list[Trial], by: int) -> list[Trial]:
    return [
        trial if trial.repeats is None else trial._replace(repeats=trial.repeats + by)
        for trial in trials
    ]
