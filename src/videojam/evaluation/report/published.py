"""The paper's own tables, as data, and what follows from them.

    videojam evaluate paper-tables

prints them and puts the published dimensions of Tables 4, 5 and 7 together again: the largest
difference to the aggregates of Tables 1, 2 and 6 says whether vbench/aggregate.py is the paper's.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from videojam.evaluation.report.results import markdown_table
from videojam.evaluation.vbench.aggregate import aggregate_vbench

_FILE = Path(__file__).with_name("published.json")
AGGREGATES = ("appearance", "motion")


class Table(NamedTuple):
    """A table of the paper: what was measured on which prompts, in per cent."""

    number: str
    kind: str
    "'aggregates' (Tables 1, 2, 3, 6) or 'dimensions' (4, 5, 7)."
    benchmark: str
    caption: str
    columns: list[str]
    rows: dict[str, list[float | None]]
    aggregates: str | None = None
    "The number of the table with the aggregates of these dimensions."


class Check(NamedTuple):
    """A published aggregate and the same from the published dimensions, in per cent."""

    table: str
    system: str
    aggregate: str
    published: float
    computed: float

    @property
    def difference(self) -> float:
        return self.computed - self.published


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The paper's Tables 1 to 7, and the aggregates computed from its dimensions."""


@cache
def published() -> dict[str, Table]:
    """Number -> table."""
    tables = json.loads(_FILE.read_text("utf-8"))["tables"]
    return {number: Table(number=number, **table) for number, table in tables.items()}


def source() -> str:
    """Where the numbers are from, and what they are."""
    return json.loads(_FILE.read_text("utf-8"))["source"]


def checks() -> list[Check]:
    """The two aggregates of each of the 15 published rows of dimensions."""
    found = []
    for number, table in published().items():
        if table.aggregates is None:
            continue
        theirs = published()[table.aggregates]
        for system, row in table.rows.items():
            scores = {
                name: (value or 0) / 100 for name, value in zip(table.columns, row, strict=True)
            }
            ours = aggregate_vbench(scores)
            for name in AGGREGATES:
                value = theirs.rows[system][theirs.columns.index(name)]
                assert value is not None
                found.append(Check(number, system, name, value, 100 * ours[name]))
    return found


def run(config: Config) -> dict[str, Any]:
    """Print the tables and the largest difference; returns the figures."""
    del config
    print(source())
    for table in published().values():
        print(f"\nTable {table.number}: {table.caption}, {table.benchmark}\n")
        body = [[name, *(_cell(value) for value in row)] for name, row in table.rows.items()]
        print(markdown_table(["", *table.columns], body), end="")
    found = checks()
    print("\nAggregates of the published dimensions:\n")
    body = [
        [c.table, c.system, c.aggregate, f"{c.published:.1f}", f"{c.computed:.2f}",
         f"{c.difference:+.2f}"]
        for c in found
    ]  # fmt: skip
    print(markdown_table(["table", "system", "", "published", "computed", "difference"], body))
    largest = max(found, key=lambda check: abs(check.difference))
    print(
        f"largest difference: {abs(largest.difference):.2f} points ({largest.aggregate} of "
        f"{largest.system}, Table {largest.table}), over {len(found)} aggregates of "
        f"{len(found) // 2} rows"
    )
    return {"largest": abs(largest.difference), "rows": [check._asdict() for check in found]}


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
