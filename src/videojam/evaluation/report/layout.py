"""Tables laid out like the paper's, with its own rows beside ours; markdown, LaTeX, CSV, JSON.

Tables 1, 2, 3 and 6: human votes and two aggregates. Tables 4, 5 and 7: six dimensions of VBench.
A cell that nobody has measured is "-"; nothing is filled in from elsewhere.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from videojam.evaluation.report.published import published
from videojam.evaluation.report.results import markdown_table
from videojam.evaluation.vbench.aggregate import PAPER_DIMENSIONS

HUMAN = ("text_faithfulness", "quality", "motion")
LABELS = {
    "text_faithfulness": "Text Faith.", "quality": "Quality", "motion_preference": "Motion",
    "appearance": "Appearance", "motion": "Motion",
    "aesthetic_quality": "Aesthetic Quality", "imaging_quality": "Image Quality",
    "subject_consistency": "Subject Consistency",
    "background_consistency": "Background Consistency",
    "motion_smoothness": "Motion Smoothness", "dynamic_degree": "Dynamic Degree",
}  # fmt: skip


class Laid(NamedTuple):
    """A table: columns in groups, rows of numbers, ours and the paper's apart."""

    name: str
    "Of its files."
    caption: str
    groups: list[tuple[str, int]]
    "Head over so many columns."
    columns: list[str]
    ours: dict[str, list[float | None]]
    papers: dict[str, list[float | None]]

    def rows(self) -> list[tuple[str, str, list[float | None]]]:
        """(whose, system, numbers)."""
        return [("ours", *row) for row in self.ours.items()] + [
            ("paper", *row) for row in self.papers.items()
        ]


def aggregates_table(
    human: Mapping[str, Mapping[str, float]],
    aggregates: Mapping[str, Mapping[str, float]],
    systems: Sequence[str],
) -> Laid:
    """As Tables 1, 2 and 6. human: system -> per cent; aggregates: system -> shares."""
    columns = [*HUMAN[:2], "motion_preference", "appearance", "motion"]
    ours = {
        name: [
            *(human.get(name, {}).get(vote) for vote in HUMAN),
            *(_percent(aggregates.get(name, {}).get(part)) for part in ("appearance", "motion")),
        ]
        for name in systems
    }
    return Laid(
        name="table_aggregates",
        caption="Human: per cent of votes for the subject over the system of the row. "
        "Automatic: VBench aggregates, per cent.",
        groups=[("Human Eval", 3), ("Auto. Metrics", 2)],
        columns=columns,
        ours=ours,
        papers=_papers(("1", "2", "6"), columns),
    )


def dimensions_table(scores: Mapping[str, Mapping[str, float]], systems: Sequence[str]) -> Laid:
    """As Tables 4, 5 and 7. scores: system -> dimension -> share."""
    columns = [*PAPER_DIMENSIONS]
    return Laid(
        name="table_dimensions",
        caption="The six dimensions of VBench, per cent.",
        groups=[("Appearance Metrics", 4), ("Motion Metrics", 2)],
        columns=columns,
        ours={
            name: [_percent(scores.get(name, {}).get(one)) for one in columns] for name in systems
        },
        papers=_papers(("4", "5", "7"), columns),
    )


def markdown(table: Laid) -> str:
    head = ["", "", *(LABELS.get(name, name) for name in table.columns)]
    body = [[whose, name, *map(_cell, row)] for whose, name, row in table.rows()]
    return f"{table.caption}\n\n{markdown_table(head, body)}"


def latex(table: Laid) -> str:
    """For booktabs: two rules of heads, our rows, a rule, the paper's."""
    heads = " & ".join(rf"\multicolumn{{{n}}}{{c}}{{{_tex(text)}}}" for text, n in table.groups)
    names = " & ".join(_tex(LABELS.get(name, name)) for name in table.columns)
    lines = [
        rf"% {table.caption}",
        rf"\begin{{tabular}}{{l{'c' * len(table.columns)}}}",
        r"\toprule",
        rf" & {heads} \\",
        rf"Method & {names} \\",
        r"\midrule",
        *(_line(name, row) for name, row in table.ours.items()),
        r"\midrule",
        *(_line(name, row) for name, row in table.papers.items()),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def comma_separated(table: Laid) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["whose", "system", *table.columns])
    for whose, name, row in table.rows():
        writer.writerow([whose, name, *("" if value is None else f"{value:.4g}" for value in row)])
    return file.getvalue()


def plain(table: Laid) -> dict[str, Any]:
    return table._asdict()


def _papers(numbers: Sequence[str], columns: Sequence[str]) -> dict[str, list[float | None]]:
    rows = {}
    for number in numbers:
        table = published()[number]
        for name, row in table.rows.items():
            by_name = dict(zip(table.columns, row, strict=True))
            rows[f"{name} (Table {number}, {table.benchmark})"] = [by_name[c] for c in columns]
    return rows


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _line(name: str, row: Sequence[float | None]) -> str:
    return rf"{_tex(name)} & {' & '.join(map(_cell, row))} \\"


def _tex(text: str) -> str:
    for sign in ("\\", "&", "%", "_", "#", "$", "{", "}"):
        text = text.replace(sign, r"\textbackslash " if sign == "\\" else f"\\{sign}")
    return text.replace("~", r"\textasciitilde ").replace("^", r"\textasciicircum ")
