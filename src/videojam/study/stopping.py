"""When a study may end: early, if looking at every moment still leaves its error rate held.

Two ways to call a difference share the error rate. At any moment, the confidence sequence at level
1 - alpha_early excludes one half. At the planned end, the fixed interval at what is left of alpha
does. The union bound holds the sum, as in Haybittle and Peto's rule, whose early looks are as
strict; the price at the planned end is small, 96% instead of 95%.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from videojam.study.analysis.answers import Answer, compare
from videojam.study.analysis.intervals import Preference, confidence_sequence, preference
from videojam.study.analysis.raters import check_raters
from videojam.study.plan import Plan


class Standing(NamedTuple):
    """Where the primary question stands, of two systems."""

    votes: int
    "Counted: about pairs, by raters who are not left out."
    interval: Preference | None
    "Of the confidence sequence; None where there are too few raters or prompts."
    end: Literal["early", "planned"] | None


def standing(plan: Plan, answers: Sequence[Answer]) -> Standing:
    """Counts votes that came in time, and says whether the study should end."""
    kept = counted(plan, answers)
    votes = sum(each.kind == "pair" and each.question == plan.primary for each in kept)
    planned = "planned" if votes >= plan.planned_votes else None
    if len(plan.systems) != 2:
        return Standing(votes, None, planned)
    interval = early_interval(plan, kept)
    early = (
        plan.stopping.enabled
        and interval is not None
        and min(interval.num_raters, interval.num_prompts) >= plan.stopping.min_raters
        and interval.excludes()
    )
    return Standing(votes, interval, "early" if early else planned)


def counted(plan: Plan, answers: Sequence[Answer]) -> list[Answer]:
    """Answers in time, of raters who are not left out."""
    left_out = {each.rater for each in check_raters(plan, answers) if each.reasons}
    return [each for each in answers if not each.late and each.rater not in left_out]


def early_interval(plan: Plan, kept: Sequence[Answer]) -> Preference | None:
    """The confidence sequence of the primary question, of the first system against the second."""
    pairs = compare(plan, kept, plan.primary, *plan.systems)
    return confidence_sequence(
        [each.score for each in pairs],
        [each.answer.prompt for each in pairs],
        [each.answer.rater for each in pairs],
        1 - plan.stopping.alpha_early,
        plan.planned_votes,
    )


def final_interval(
    plan: Plan, kept: Sequence[Answer], question: str, a: str, b: str
) -> Preference | None:
    """The interval at the planned end, of a against b."""
    pairs = compare(plan, kept, question, a, b)
    return preference(
        [each.score for each in pairs],
        [each.answer.prompt for each in pairs],
        [each.answer.rater for each in pairs],
        plan.stopping.final_level,
    )
