"""What a study is: systems, questions, trials of every rater, rules. One JSON file, made once.

plan.json says everything that decides a study, and is never served: the page gets trials without
kinds or systems. Its hash stands in the pre-registration.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from videojam.records.atomic import write_text

PLAN_FILE = "plan.json"
FILMS = "films"
"The folder of films, beside it."
Kind = Literal["practice", "catch", "pair", "repeat"]
Choice = Literal["first", "second", "tie", "bad"]
"Of the two clips in the order of the film, not in the order in which they were shown."
CHOICES: tuple[Choice, ...] = ("first", "second", "tie", "bad")


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a rater is asked about every pair."""

    id: str
    text: str
    check: bool = True
    "Must the intact clip win this question in a catch trial?"


# The paper's three (Section 5, human evaluation), in our words.
QUESTIONS = (
    Question(id="text", text="Which clip shows better what the text says?", check=False),
    Question(id="quality", text="Which clip looks better, frame by frame?", check=False),
    Question(id="motion", text="In which clip is the motion more natural and more coherent?"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Exclusion:
    """Which raters are left out of the result, all of them decided before the first vote."""

    min_catch_passed: float = 0.8
    "Share of the catch trials that the intact clip must win."
    min_catch_seen: int = 3
    "A rater who left before so many was never checked."
    min_repeat_agreement: float = 0.35
    "Share of repeats answered alike; a clicker has a third to a half, so this finds spite alone."
    max_same_side: float = 0.9
    "Share of decided answers on one side of the screen."
    min_median_seconds: float = 1.0
    "Median time from seeing a pair to answering it."


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopping:
    """An early end that holds its error rate; see study/stopping.py."""

    enabled: bool = True
    alpha: float = 0.05
    "Error of the whole study, of its early end and its planned end together."
    alpha_early: float = 0.01
    "The part of it that is spent on looking at any moment."
    min_raters: int = 8
    "No look before so many raters, and as many prompts, have a vote."

    def __post_init__(self) -> None:
        if not 0 < self.alpha_early < self.alpha < 0.5:
            raise ValueError(
                f"alpha_early is {self.alpha_early} of alpha {self.alpha}; expected "
                "0 < alpha_early < alpha < 0.5"
            )
        if self.min_raters < 2:
            raise ValueError(f"min_raters is {self.min_raters}, expected 2 or more")

    @property
    def final_level(self) -> float:
        """Confidence of the interval at the planned end: what looking early has left of alpha."""
        return 1 - (self.alpha - self.alpha_early if self.enabled else self.alpha)


class Film(NamedTuple):
    """One file that holds two clips, first and second, in every frame."""

    name: str
    "Random, and the name of the file."
    prompt: str
    seed: int
    first: str
    "System, or for a check intact, frozen or shuffled."
    second: str
    width: int
    "Of each clip, in pixels; the file is twice as wide."
    height: int
    times_ms: list[float]
    "When each frame begins; the last number is the end."


class Trial(NamedTuple):
    """One pair on the screen of one rater."""

    film: int
    "Index into Plan.films."
    swapped: bool
    "The second clip on the left."
    kind: Kind
    repeats: int | None
    "Which trial of this rater it repeats, sides swapped."


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything that decides a study."""

    study: str
    "Random, tells studies apart."
    title: str
    seed: int
    systems: list[str]
    questions: list[Question]
    primary: str
    "Id of the question that stopping and the conclusion are about."
    ties: bool
    both_bad: bool
    watch_once: bool
    "An answer is taken only after the pair was seen to its end."
    consent: str
    exclusion: Exclusion
    stopping: Stopping
    planned_votes: int
    "Answers to the primary question about pairs at which the study ends; checks and repeats apart."
    films: list[Film]
    raters: list[list[Trial]]
    "Trials of rater 0, 1, ...; a study has room for so many raters."

    @property
    def choices(self) -> tuple[Choice, ...]:
        offered = {"tie": self.ties, "bad": self.both_bad}
        return tuple(choice for choice in CHOICES if offered.get(choice, True))

    def is_check(self, trial: Trial) -> bool:
        """A trial with a known answer."""
        return trial.kind in ("practice", "catch")


def plan_text(plan: Plan) -> str:
    """The plan as the text of its file."""
    return json.dumps(asdict(plan), indent=1, ensure_ascii=False) + "\n"


def write_plan(folder: Path, plan: Plan) -> Path:
    """FOLDER/plan.json."""
    write_text(folder / PLAN_FILE, plan_text(plan))
    return folder / PLAN_FILE


def read_plan(folder: Path) -> Plan:
    """The plan of a study folder. ValueError if there is none, or it is not as it was written."""
    path = _plan_path(folder)
    try:
        kept: dict[str, Any] = json.loads(path.read_text("utf-8"))
        plan = Plan(
            **{
                **kept,
                "questions": [Question(**question) for question in kept["questions"]],
                "exclusion": Exclusion(**kept["exclusion"]),
                "stopping": Stopping(**kept["stopping"]),
                "films": [Film(*row) for row in kept["films"]],
                "raters": [[Trial(*row) for row in trials] for trials in kept["raters"]],
            }
        )
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is no plan of this version: {error}") from error
    return plan


def check_questions(questions: list[Question], primary: str) -> None:
    """Raises ValueError for questions that cannot be asked, stored or checked."""
    ids = [question.id for question in questions]
    if not questions or len(set(ids)) < len(ids):
        raise ValueError(f"questions are {ids}; expected one or more with an id of its own each")
    for question in questions:
        if not question.id.isidentifier() or len(question.id) > 40 or not question.text.strip():
            raise ValueError(
                f"the question {question.id!r}: {question.text!r}; an id is a short word of "
                "letters, digits and _, and a text is not empty"
            )
    if primary not in ids:
        raise ValueError(f"the primary question is {primary!r}; there are {', '.join(ids)}")
    if not any(question.check for question in questions):
        raise ValueError("no question is checked by catch trials; set check on one of them")


def _plan_path(folder: Path) -> Path:
    path = folder / PLAN_FILE
    if not path.is_file():
        raise ValueError(f"{folder} has no {PLAN_FILE}; make a study with `videojam study new`")
    return path
