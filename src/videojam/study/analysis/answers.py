"""Votes, read back as choices between systems."""

from collections.abc import Iterable
from typing import NamedTuple

from videojam.study.plan import Choice, Kind, Plan
from videojam.study.store import Stored
from videojam.study.trials import chosen

_SCORE: dict[Choice, float] = {"first": 1.0, "second": 0.0, "tie": 0.5, "bad": 0.5}


class Answer(NamedTuple):
    """One rater's answer to one question about one trial."""

    number: int
    "Of the vote, in the order in which they came."
    rater: int
    trial: int
    film: int
    prompt: str
    kind: Kind
    question: str
    answer: str
    "As given: left, right, tie or bad."
    choice: Choice
    seconds: float
    late: bool


class Compared(NamedTuple):
    """An answer about a pair, as a score of one of two systems: 1, 0, or 0.5 for ties."""

    answer: Answer
    score: float


def read_answers(plan: Plan, votes: Iterable[Stored]) -> list[Answer]:
    """All answers, also of checks and practice; in the order in which they came."""
    return [
        Answer(
            stored.number,
            vote.rater,
            vote.trial,
            trial.film,
            plan.films[trial.film].prompt,
            trial.kind,
            question,
            answer,
            chosen(trial, answer),
            vote.seconds,
            stored.late,
        )
        for stored in votes
        for vote in [stored.vote]
        for trial in [plan.raters[vote.rater][vote.trial]]
        for question, answer in vote.answers.items()
    ]


def compare(plan: Plan, answers: Iterable[Answer], question: str, a: str, b: str) -> list[Compared]:
    """Answers to a question about pairs of a and b, as scores of a. No checks, no repeats."""
    found = []
    for answer in answers:
        film = plan.films[answer.film]
        if answer.kind == "pair" and answer.question == question:
            if (film.first, film.second) == (a, b):
                found.append(Compared(answer, _SCORE[answer.choice]))
            elif (film.first, film.second) == (b, a):
                found.append(Compared(answer, 1 - _SCORE[answer.choice]))
    return found
