"""What a study says, as data: with the raters who are left out and without them."""

import time
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from videojam.study.analysis.agreement import krippendorff_alpha
from videojam.study.analysis.answers import Answer, compare, read_answers
from videojam.study.analysis.bradley_terry import bradley_terry
from videojam.study.analysis.raters import check_raters, self_agreement
from videojam.study.plan import Plan
from videojam.study.stopping import counted, early_interval, final_interval, standing
from videojam.study.store import Stored


def results(plan: Plan, votes: Sequence[Stored], preregistration: str) -> dict[str, Any]:
    """Everything that the report shows.

    The primary question of a study that is not at its planned end, or that stopped early, has the
    interval of the confidence sequence: the fixed one would be too sure.
    """
    answers = read_answers(plan, votes)
    raters = check_raters(plan, answers)
    kept = counted(plan, answers)
    everyone = [each for each in answers if not each.late]
    good = [each for each in raters if not each.reasons]
    now = standing(plan, answers)
    alike, repeats = self_agreement(good)
    return {
        "study": plan.study,
        "title": plan.title,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "preregistration": preregistration,
        "systems": plan.systems,
        "questions": {question.id: question.text for question in plan.questions},
        "primary": plan.primary,
        "end": now.end,
        "votes": now.votes,
        "planned_votes": plan.planned_votes,
        "late_votes": sum(stored.late for stored in votes),
        "comparisons": _comparisons(plan, kept, now.end),
        "comparisons_with_everyone": _comparisons(plan, everyone, now.end),
        "agreement": {each.id: krippendorff_alpha(kept, each.id) for each in plan.questions},
        "repeats_alike": alike,
        "repeats": repeats,
        "bradley_terry": {
            each.id: [row._asdict() for row in bradley_terry(plan, kept, each.id)]
            for each in plan.questions
            if len(plan.systems) > 2
        },
        "raters": [each._asdict() for each in raters],
        "conclusion": _conclusion(plan, kept, now.end),
    }


def _comparisons(plan: Plan, answers: list[Answer], end: str | None) -> list[dict[str, Any]]:
    """One row for every two systems and every question that has votes."""
    rows = []
    for a, b in combinations(plan.systems, 2):
        for question in plan.questions:
            pairs = compare(plan, answers, question.id, a, b)
            if not pairs:
                continue
            counts = Counter(each.answer.choice for each in pairs)
            ties, bad = counts["tie"], counts["bad"]
            wins = sum(each.score == 1 for each in pairs)
            interval = _interval(plan, answers, question.id, a, b, end)
            rows.append(
                {
                    "a": a,
                    "b": b,
                    "question": question.id,
                    "votes": len(pairs),
                    "a_wins": wins,
                    "b_wins": len(pairs) - wins - ties - bad,
                    "ties": ties,
                    "both_bad": bad,
                    "share_of_a": sum(each.score for each in pairs) / len(pairs),
                    "interval": interval._asdict() if interval else None,
                    "interval_kind": "sequence"
                    if _is_sequence(plan, question.id, end)
                    else "fixed",
                }
            )
    return rows


def _interval(
    plan: Plan, answers: list[Answer], question: str, a: str, b: str, end: str | None
) -> Any:
    if _is_sequence(plan, question, end):
        return early_interval(plan, answers)
    return final_interval(plan, answers, question, a, b)


def _is_sequence(plan: Plan, question: str, end: str | None) -> bool:
    return len(plan.systems) == 2 and question == plan.primary and end != "planned"


def _conclusion(plan: Plan, kept: list[Answer], end: str | None) -> str:
    """One sentence on the primary question."""
    if len(plan.systems) != 2:
        return "See the intervals; with more than two systems no single conclusion was declared."
    a, b = plan.systems
    interval = _interval(plan, kept, plan.primary, a, b, end)
    how = {
        "early": "The study stopped early by its rule",
        "planned": "The study reached its planned end",
        None: "The study is not at its end",
    }[end]
    if interval is None:
        return f"{how}; there are too few prompts or raters for an interval."
    if not interval.excludes():
        return f"{how}; no preference was found in {plan.primary}."
    better = plan.systems[0] if interval.share > 0.5 else plan.systems[1]
    return f"{how}; in {plan.primary} raters prefer {better}."
