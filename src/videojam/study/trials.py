"""What a rater's page is given, and what its answers mean.

Neither kinds nor systems: a catch trial looks like any other. Only practice trials come with their
answer, which the page shows.
"""

from typing import Any

from videojam.study.plan import Choice, Plan, Trial

SIDES = ("left", "right")


def page_trials(plan: Plan, rater: int, count: int | None = None) -> list[dict[str, Any]]:
    """The first `count` trials of a rater, as the page shows them; None for all."""
    return [_page_trial(plan, trial) for trial in plan.raters[rater][:count]]


def page_study(plan: Plan) -> dict[str, Any]:
    """What the page says about the study."""
    return {
        "study": plan.study,
        "title": plan.title,
        "consent": plan.consent,
        "questions": [{"id": each.id, "text": each.text} for each in plan.questions],
        "ties": plan.ties,
        "both_bad": plan.both_bad,
        "watch_once": plan.watch_once,
    }


def answers_allowed(plan: Plan) -> tuple[str, ...]:
    """What may be answered to a question, as the page says it."""
    return (*SIDES, *plan.choices[2:])


def check_answers(plan: Plan, answers: dict[str, str]) -> None:
    """ValueError unless there is one allowed answer to every question, and nothing else."""
    asked, allowed = {question.id for question in plan.questions}, answers_allowed(plan)
    if set(answers) != asked or not set(answers.values()) <= {*allowed}:
        raise ValueError(
            f"answers are expected to {', '.join(sorted(asked))}, each one of {', '.join(allowed)}"
        )


def chosen(trial: Trial, answer: str) -> Choice:
    """An answer on the screen as a choice between the clips of the film."""
    if answer in SIDES:
        return "second" if (answer == "right") != trial.swapped else "first"
    return "tie" if answer == "tie" else "bad"


def intact_side(plan: Plan, trial: Trial) -> str | None:
    """On which side the intact clip of a check is; None for a pair."""
    if not plan.is_check(trial):
        return None
    first = plan.films[trial.film].first == "intact"
    return "left" if first != trial.swapped else "right"


def _page_trial(plan: Plan, trial: Trial) -> dict[str, Any]:
    film = plan.films[trial.film]
    shown = {
        "film": film.name,
        "swapped": trial.swapped,
        "prompt": film.prompt,
        "width": film.width,
        "height": film.height,
        "times": film.times_ms,
    }
    if trial.kind == "practice":
        shown["practice"] = {
            "side": intact_side(plan, trial),
            "why": "stands still" if "frozen" in (film.first, film.second) else "is jumbled",
            "checks": [question.id for question in plan.questions if question.check],
        }
    return shown
