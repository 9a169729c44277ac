"""Simulated studies of two systems: false alarms of report and stopping rule, power, coverage.

    python benchmarks/study_error_rates.py

128 prompts x 5 votes, by raters of 44 pairs each, as `videojam study new` assigns them by default.
The log-odds of a vote are a mean, plus a part of the prompt, plus a part of the rater, both normal;
without a difference the mean is zero. The stopping rule looks after every 20 votes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tyro
from scipy.stats import norm

from record import record
from videojam.study.analysis.intervals import Preference, confidence_sequence, preference
from videojam.study.assign import Shares, assign
from videojam.study.plan import Stopping

STOPPING = Stopping()


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """How many studies, of which size."""

    studies: int = 1000
    prompts: int = 128
    votes_per_pair: int = 5
    pairs_per_rater: int = 44
    look_every: int = 20


class World(NamedTuple):
    """How people differ, as standard deviations of log-odds."""

    of_prompts: float
    of_raters: float


WORLDS = {"alike": World(0, 0), "usual": World(1.0, 0.5), "extreme": World(2.0, 1.0)}


class Outcome(NamedTuple):
    """What one study said."""

    final: Preference
    stopped_at: int | None
    called: str
    "Which system the rule, early or at the planned end, prefers: first, second or neither."


def study(size: Simulation, world: World, share: float, rng: np.random.Generator) -> Outcome:
    """One study; `share` is the share of votes for the first system over all people."""
    raters = -(-size.prompts * size.votes_per_pair // size.pairs_per_rater)
    share_of = Shares(size.pairs_per_rater, 0, 0, 0)
    plan = assign(range(size.prompts), (), (), raters, share_of, int(rng.integers(2**31)))
    of_prompt = rng.normal(0, world.of_prompts, size.prompts)
    of_rater = rng.normal(0, world.of_raters, raters)
    mean = log_odds(share, world)
    votes = [(trial.film, rater) for rater, trials in enumerate(plan) for trial in trials]
    # Five raters at a time, their votes in any order.
    votes.sort(key=lambda vote: (vote[1] // 5, rng.random()))
    votes = votes[: size.prompts * size.votes_per_pair]
    prompts, people = (np.array(part) for part in zip(*votes, strict=True))
    chance = 1 / (1 + np.exp(-(mean + of_prompt[prompts] + of_rater[people])))
    scores = (rng.random(len(votes)) < chance).astype(float)
    final = preference(scores, prompts, people, STOPPING.final_level)
    stopped = None
    for count in range(size.look_every, len(votes) + 1, size.look_every):
        now = confidence_sequence(
            scores[:count], prompts[:count], people[:count], 1 - STOPPING.alpha_early, len(votes)
        )
        enough = now and min(now.num_raters, now.num_prompts) >= STOPPING.min_raters
        if enough and now.excludes():
            stopped = count
            break
    decided = now if stopped else final
    called = "neither" if not decided.excludes() else "first" if decided.share > 0.5 else "second"
    return Outcome(final, stopped, called)


def log_odds(share: float, world: World) -> float:
    """The mean of the log-odds at which people give `share` of their votes to the first system."""
    spread = np.hypot(*world)
    grid = norm.ppf((np.arange(4000) + 0.5) / 4000) * spread
    low, high = -12.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        reached = (1 / (1 + np.exp(-(middle + grid)))).mean()
        low, high = (middle, high) if reached < share else (low, middle)
    return (low + high) / 2


def summary(size: Simulation, world: World, share: float) -> dict[str, float | None]:
    """Rates over all studies, in per cent."""
    rng = np.random.default_rng(17)
    outcomes = [study(size, world, share, rng) for _ in range(size.studies)]
    stops = [each.stopped_at for each in outcomes if each.stopped_at]

    def per_cent(flags: list[bool]) -> float:
        return round(100 * sum(flags) / len(flags), 1)

    return {
        "report_calls_a_difference": per_cent([each.final.excludes() for each in outcomes]),
        "stopped_early": per_cent([each.stopped_at is not None for each in outcomes]),
        "rule_calls_a_difference": per_cent([each.called != "neither" for each in outcomes]),
        "rule_calls_the_better_one": per_cent([each.called == "first" for each in outcomes]),
        "interval_covers": per_cent(
            [each.final.low <= share <= each.final.high for each in outcomes]
        ),
        "mean_half_width_points": round(
            50 * float(np.mean([each.final.high - each.final.low for each in outcomes])), 1
        ),
        "median_votes_at_early_stop": float(np.median(stops)) if stops else None,
    }


def main(size: Simulation) -> None:
    figures = {
        world: {str(share): summary(size, WORLDS[world], share) for share in (0.5, 0.55, 0.6, 0.7)}
        for world in WORLDS
    }
    figures["final_level"] = STOPPING.final_level
    print(record("study_error_rates", figures).read_text())


if __name__ == "__main__":
    main(tyro.cli(Simulation))
