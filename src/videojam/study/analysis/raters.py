"""Which raters are left out, by the rule of the plan; how raters agree with themselves."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from videojam.study.analysis.answers import Answer
from videojam.study.plan import Plan
from videojam.study.trials import SIDES, intact_side

_MIN_REPEATS, _MIN_DECIDED = 3, 10  # fewer say nothing


class RaterChecks(NamedTuple):
    """What the checks say of one rater."""

    rater: int
    trials: int
    catch_seen: int
    catch_passed: int
    repeats: int
    repeats_alike: int
    decided: int
    "Answers about pairs with a side."
    left: int
    median_seconds: float
    reasons: list[str]
    "Why the rater is left out; empty if not."


def check_raters(plan: Plan, answers: Iterable[Answer]) -> list[RaterChecks]:
    """One entry for every rater with an answer, practice apart."""
    by_rater: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.kind != "practice" and not answer.late:
            by_rater[answer.rater].append(answer)
    return [_check(plan, rater, given) for rater, given in sorted(by_rater.items())]


def self_agreement(raters: Sequence[RaterChecks]) -> tuple[int, int]:
    """Repeats answered alike in the primary question, and all repeats."""
    return sum(each.repeats_alike for each in raters), sum(each.repeats for each in raters)


def _check(plan: Plan, rater: int, given: list[Answer]) -> RaterChecks:
    trials = plan.raters[rater]
    caught = _catches(plan, rater, given)
    first = {each.trial: each.choice for each in given if each.question == plan.primary}
    alike = [
        choice == first[original]
        for trial, choice in first.items()
        if trials[trial].kind == "repeat"
        for original in [trials[trial].repeats]
        if original in first
    ]
    sides = [e.answer for e in given if e.kind in ("pair", "repeat") and e.answer in SIDES]
    times = {each.trial: each.seconds for each in given}
    checks = RaterChecks(
        rater,
        len(times),
        len(caught),
        sum(caught),
        len(alike),
        sum(alike),
        len(sides),
        sides.count("left"),
        median(times.values()),
        [],
    )
    return checks._replace(reasons=_reasons(plan, checks))


def _catches(plan: Plan, rater: int, given: list[Answer]) -> list[bool]:
    """For each catch trial, whether the intact clip won all questions that check."""
    checking = {question.id for question in plan.questions if question.check}
    passed: dict[int, bool] = {}
    for each in given:
        if each.kind == "catch" and each.question in checking:
            right = each.answer == intact_side(plan, plan.raters[rater][each.trial])
            passed[each.trial] = passed.get(each.trial, True) and right
    return [*passed.values()]


def _reasons(plan: Plan, seen: RaterChecks) -> list[str]:
    rule, reasons = plan.exclusion, []
    if seen.catch_seen < rule.min_catch_seen:
        reasons.append(f"saw {seen.catch_seen} catch trials, fewer than {rule.min_catch_seen}")
    elif seen.catch_passed < rule.min_catch_passed * seen.catch_seen:
        reasons.append(f"passed {seen.catch_passed} of {seen.catch_seen} catch trials")
    if (
        seen.repeats >= _MIN_REPEATS
        and seen.repeats_alike < rule.min_repeat_agreement * seen.repeats
    ):
        reasons.append(f"answered {seen.repeats_alike} of {seen.repeats} repeats alike")
    most = max(seen.left, seen.decided - seen.left)
    if seen.decided >= _MIN_DECIDED and most > rule.max_same_side * seen.decided:
        reasons.append(f"took one side in {most} of {seen.decided} answers")
    if seen.median_seconds < rule.min_median_seconds:
        reasons.append(f"took {seen.median_seconds:.2f} s in the median")
    return reasons
