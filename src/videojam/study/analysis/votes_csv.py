"""Every answer of everyone as one table: also of checks, practice, and late ones."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from videojam.study.analysis.answers import Answer, read_answers
from videojam.study.plan import Plan
from videojam.study.store import Stored

COLUMNS = (
    "vote", "rater", "trial", "kind", "prompt", "seed", "question", "left", "right", "answer",
    "chosen", "seconds", "received", "late",
)  # fmt: skip
# A cell of a spreadsheet that begins so is taken for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def votes_csv(plan: Plan, votes: Sequence[Stored]) -> str:
    """The text of the file; a cell that a spreadsheet would compute has a quote before it."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n")
    write.writerow(COLUMNS)
    received = {stored.number: stored.received for stored in votes}
    for answer in read_answers(plan, votes):
        row = _row(plan, answer, received[answer.number])
        write.writerow(f"'{v}" if isinstance(v, str) and v.startswith(_FORMULA) else v for v in row)
    return text.getvalue()


def _row(plan: Plan, each: Answer, received: float) -> list[Any]:
    film, trial = plan.films[each.film], plan.raters[each.rater][each.trial]
    left, right = (film.second, film.first) if trial.swapped else (film.first, film.second)
    chosen = {"first": film.first, "second": film.second}.get(each.choice, each.choice)
    return [
        each.number,
        each.rater,
        each.trial,
        each.kind,
        film.prompt,
        film.seed,
        each.question,
        left,
        right,
        each.answer,
        chosen,
        f"{each.seconds:.3f}",
        f"{received:.3f}",
        int(each.late),
    ]
