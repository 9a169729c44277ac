"""Rows of judged clips -> means with intervals, paired differences, and tables of them.

All intervals are 95%, over prompts (statistics/bootstrap.py); under eight prompts a cell shows its
mean with "[-]". A cell is None, shown as "-", where a metric applies to no clip.
"""

import math
from collections.abc import Hashable, Mapping, Sequence

import torch

from videojam.evaluation.clips.judged import Row
from videojam.evaluation.report.results import markdown_table
from videojam.evaluation.statistics.bootstrap import (
    FEWEST,
    Interval,
    bootstrap_mean,
    paired_bootstrap,
)
from videojam.evaluation.statistics.several import LEVEL, holm
from videojam.lab.scene import KINDS

Cell = Interval | None
ALL = "all"
GROUPS = (ALL, *KINDS)
"Kinds of scenes, and all clips together."


def mean_of(rows: Sequence[Row], metric: str, resamples: int = 10_000) -> Cell:
    """The mean of a metric over clips."""
    values, prompts = _column(rows, metric), _prompts(rows)
    return None if bool(values.isnan().all()) else bootstrap_mean(values, prompts, 0, resamples)


def difference(a: Sequence[Row], b: Sequence[Row], metric: str, resamples: int = 10_000) -> Cell:
    """The mean of a - b over clips of the same prompt and seed; where either is NaN is left out.

    Raises ValueError if the two are not of the same prompts and seeds.
    """
    a, b = (sorted(rows, key=lambda row: (row.prompt, row.seed)) for rows in (a, b))
    keys = [[(row.prompt, row.seed) for row in rows] for rows in (a, b)]
    if keys[0] != keys[1]:
        odd = sorted({*keys[0]} ^ {*keys[1]})[:3]
        raise ValueError(
            f"paired systems have clips of the same (prompt, seed)s, but {len(a)} and {len(b)} "
            f"came, and only one of them has {odd}; generate the same requests with both"
        )
    one, other, prompts = _column(a, metric), _column(b, metric), _prompts(a)
    if bool((one - other).isnan().all()):  # of no clips, too
        return None
    return paired_bootstrap(one, other, prompts, resamples=resamples)


def summary(
    systems: Mapping[str, Sequence[Row]], metrics: Sequence[str], resamples: int = 10_000
) -> dict[str, dict[str, dict[str, Cell]]]:
    """system -> group -> metric -> mean."""
    return {
        name: {
            group: {metric: mean_of(in_group(rows, group), metric, resamples) for metric in metrics}
            for group in GROUPS
        }
        for name, rows in systems.items()
    }


def differences(
    systems: Mapping[str, Sequence[Row]],
    pairs: Sequence[tuple[str, str]],
    metrics: Sequence[str],
    resamples: int = 10_000,
) -> dict[str, dict[str, dict[str, Cell]]]:
    """ "a - b" -> group -> metric -> paired difference."""
    return {
        f"{a} - {b}": {
            group: {
                metric: difference(
                    in_group(systems[a], group), in_group(systems[b], group), metric, resamples
                )
                for metric in metrics
            }
            for group in GROUPS
        }
        for a, b in pairs
    }


def in_group(rows: Sequence[Row], group: str) -> list[Row]:
    return [row for row in rows if group in (ALL, row.kind)]


def thirds(values: Mapping[int, float]) -> list[set[int]]:
    """Prompts in three parts of rising value, as equal as can be; NaN is in none."""
    order = sorted((p for p, v in values.items() if math.isfinite(v)), key=lambda p: values[p])
    at = [len(order) * k // 3 for k in range(4)]
    return [{*order[at[k] : at[k + 1]]} for k in range(3)]


def table_of(
    columns: Mapping[str, Mapping[str, Cell]], metrics: Sequence[str], signed: bool = False
) -> str:
    """A Markdown table: a row per metric, a column per system or pair."""
    body = [[name, *(show(cells[name], signed) for cells in columns.values())] for name in metrics]
    return markdown_table(["", *columns], body)


def difference_table(
    columns: Mapping[str, Mapping[str, Cell]],
    metrics: Sequence[str],
    primary: tuple[str, str] | None = None,
) -> str:
    """A Markdown table of paired differences, with what they are worth together said under it.

    columns: pair -> metric -> difference. primary: the (metric, pair) declared before anything was
    looked at, shown in bold; all others are exploratory, starred where they survive Holm's
    correction over all others of this table. Raises ValueError for a primary that is not there.
    """
    places = [(metric, pair) for metric in metrics for pair in columns]
    if primary is not None and primary not in places:
        raise ValueError(
            f"the primary comparison {primary} is not in the table; give one of its metrics with "
            "one of its pairs"
        )
    starred = survivors({p: columns[p[1]][p[0]] for p in places if p != primary})

    def cell(metric: str, pair: str) -> str:
        text = show(columns[pair][metric], signed=True)
        if (metric, pair) == primary:
            return f"**{text}**"
        return f"{text} *" if (metric, pair) in starred else text

    body = [[metric, *(cell(metric, pair) for pair in columns)] for metric in metrics]
    text = sentence(primary, exploratory(columns, metrics, primary))
    return markdown_table(["", *columns], body) + "\n" + text + "\n"


def exploratory(
    columns: Mapping[str, Mapping[str, Cell]],
    metrics: Sequence[str],
    primary: tuple[str, str] | None,
) -> int:
    """How many differences of a table are tested beside the primary one."""
    places = [(metric, pair) for metric in metrics for pair in columns]
    cells = [columns[pair][metric] for metric, pair in places if (metric, pair) != primary]
    return sum(cell is not None and cell.p is not None for cell in cells)


def survivors(cells: Mapping[Hashable, Cell]) -> set[Hashable]:
    """The differences whose p is under 0.05 after Holm's correction over all that are given."""
    p = {place: cell.p for place, cell in cells.items() if cell is not None and cell.p is not None}
    return {place for place, one in zip(p, holm([*p.values()]), strict=True) if one < LEVEL}


def sentence(primary: tuple[str, str] | None, others: int) -> str:
    """What stands under a table of differences. others: that are tested beside the primary."""
    declared = (
        f"Primary, declared before: {primary[0]} of {primary[1]} (bold). The others are exploratory"
        if primary
        else "No comparison of this table was declared primary: all are exploratory"
    )
    if not others:
        return f"{declared}. No other difference is tested: none has {FEWEST} prompts."
    return (
        f"{declared}: * marks those that survive Holm's correction over all {others} (p < {LEVEL}, "
        f"signs of prompts turned at random). Intervals are 95 % each, not corrected; none under "
        f"{FEWEST} prompts."
    )


def show(cell: Cell, signed: bool = False) -> str:
    """mean [low, high], three decimals below 10 and one above; "[-]" without an interval."""
    if cell is None:
        return "-"
    sign = "+" if signed else ""
    largest = max(abs(value) for value in cell[:3] if not math.isnan(value))
    decimals = 1 if largest >= 10 else 3
    mean, low, high = (f"{value:{sign}.{decimals}f}" for value in cell[:3])
    return f"{mean} [-]" if math.isnan(cell.low) else f"{mean} [{low}, {high}]"


def curve(cells: Sequence[Cell]) -> tuple[list[float], list[float], list[float]]:
    """(mean, low, high) for plots.py, NaN where there is none."""
    empty = (math.nan,) * 3
    mean, low, high = zip(*(empty if cell is None else cell[:3] for cell in cells), strict=True)
    return list(mean), list(low), list(high)


def plain(cells: object) -> object:
    """For JSON: intervals as dicts of what they are."""
    if isinstance(cells, Interval):
        return cells._asdict()
    if isinstance(cells, Mapping):
        return {key: plain(value) for key, value in cells.items()}
    return cells


def _column(rows: Sequence[Row], metric: str) -> torch.Tensor:
    return torch.tensor([row.values[metric] for row in rows], dtype=torch.float64)


def _prompts(rows: Sequence[Row]) -> torch.Tensor:
    return torch.tensor([row.prompt for row in rows], dtype=torch.int64)
