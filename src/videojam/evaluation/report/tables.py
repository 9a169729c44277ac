"""Rows of judged clips -> means with intervals, paired differences, and tables of them.

All intervals are 95%, by bootstrap over prompts (bootstrap.py). A cell is None, shown as "-",
where a metric applies to clips of fewer than two prompts.
"""

import math
from collections.abc import Mapping, Sequence

import torch

from videojam.evaluation.clips.judged import Row
from videojam.evaluation.report.results import markdown_table
from videojam.evaluation.statistics.bootstrap import Interval, bootstrap_mean, paired_bootstrap
from videojam.lab.scene import KINDS

Cell = Interval | None
ALL = "all"
GROUPS = (ALL, *KINDS)
"Kinds of scenes, and all clips together."


def mean_of(rows: Sequence[Row], metric: str, resamples: int = 10_000) -> Cell:
    """The mean of a metric over clips."""
    values, prompts = _column(rows, metric), _prompts(rows)
    return (
        bootstrap_mean(values, prompts, resamples=resamples) if _enough(values, prompts) else None
    )


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
    if not _enough(one - other, prompts):
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


def table_of(
    columns: Mapping[str, Mapping[str, Cell]], metrics: Sequence[str], signed: bool = False
) -> str:
    """A Markdown table: a row per metric, a column per system or pair."""
    body = [[name, *(show(cells[name], signed) for cells in columns.values())] for name in metrics]
    return markdown_table(["", *columns], body)


def show(cell: Cell, signed: bool = False) -> str:
    """mean [low, high], three decimals below 10 and one above."""
    if cell is None:
        return "-"
    sign = "+" if signed else ""
    decimals = 1 if max(abs(cell.low), abs(cell.high)) >= 10 else 3
    mean, low, high = (f"{value:{sign}.{decimals}f}" for value in cell[:3])
    return f"{mean} [{low}, {high}]"


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


def _enough(values: torch.Tensor, prompts: torch.Tensor) -> bool:
    return len(prompts[~values.isnan()].unique()) > 1
