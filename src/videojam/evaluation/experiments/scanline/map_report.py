"""What the map says: which knobs the gain depends on, and whether anything foretells it.

Rows are cells as JSON values: their set (found or tested), seed, knobs, gains and what their base
notices. The found cells have every combination of two values of each knob, so that what a knob does
is a mean over pairs of cells that differ in it alone. Whether a number of the base foretells a gain
is decided by a line found on the found cells and tested on the others.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from videojam.evaluation.premise.order import Noticing
from videojam.evaluation.report.plots import Points, scatter_panels
from videojam.evaluation.report.results import markdown_table
from videojam.evaluation.report.tables import show
from videojam.evaluation.statistics.bootstrap import Interval
from videojam.evaluation.statistics.foretell import check_line, fit_line, rank_correlation
from videojam.evaluation.statistics.student import t_interval
from videojam.lab.scanline.judge import PRIMARY

Row = dict[str, Any]

KNOBS = ("radius", "background", "base_steps", "tune_steps")
# The base's numbers were named before anything was measured; how much moves, which needs no model,
# stands beside them to look at, and decides nothing.
BESIDE = "moving"


def summarise(rows: list[Row], gains: Sequence[str]) -> dict[str, Any]:
    """The cells, what each knob does, how numbers go with the gains, and the best one's test."""
    return {
        "primary": PRIMARY,
        "cells": rows,
        "effects": {what: effects(rows, what) for what in gains},
        "foretold": {what: foretold(rows, what) for what in gains},
    }


def effects(rows: list[Row], what: str) -> dict[str, dict[str, Any]]:
    """Knob -> its two values, and the gain at the higher less that at the lower one.

    Of pairs of found cells that differ in nothing else; 95 % t interval over the pairs. A knob of
    fewer than two pairs is left out.
    """
    own = [row for row in rows if row["set"] == "found"]
    found: dict[str, dict[str, Any]] = {}
    for knob in KNOBS:
        others = [name for name in (*KNOBS, "kind", "seed") if name != knob]
        low, high = min(r[knob] for r in own), max(r[knob] for r in own)
        lower = {tuple(r[name] for name in others): r for r in own if r[knob] == low}
        pairs = [
            row["gains"][what]["mean"] - lower[place]["gains"][what]["mean"]
            for row in own
            if row[knob] == high and (place := tuple(row[name] for name in others)) in lower
        ]
        interval = t_interval(torch.tensor(pairs, dtype=torch.float64))
        if low < high and interval:
            found[knob] = {"from": low, "to": high, "gain": interval._asdict()}
    return found


def foretold(rows: list[Row], what: str) -> dict[str, Any]:
    """Rank correlations in both sets; the line of the number that is best on the found cells."""

    def values(which: str, number: str) -> tuple[list[float], list[float]]:
        own = [row for row in rows if row["set"] == which]
        numbers = [row[number] if number == BESIDE else row["noticing"][number] for row in own]
        return numbers, [row["gains"][what]["mean"] for row in own]

    ranks = {
        which: {
            name: rank_correlation(*values(which, name)) for name in (*Noticing._fields, BESIDE)
        }
        for which in ("found", "tested")
    }
    # One that is the same in all cells has no correlation, and foretells nothing.
    own = {n: 0.0 if math.isnan(r := ranks["found"][n]) else abs(r) for n in Noticing._fields}
    best = max(own, key=lambda name: own[name])
    line = fit_line(*values("found", best))
    tested = check_line(line, *values("tested", best))
    return {"rank_correlation": ranks, "best": best, "line": line._asdict(),
            "tested": tested._asdict()}  # fmt: skip


def markdown(figures: dict[str, Any]) -> str:
    """results.md."""
    gains, numbers = [*figures["foretold"]], [*Noticing._fields]
    text = (
        f"# Gain in `{figures['primary']}` over worlds and recipes\n\nEach system at its own best "
        "scales; held-out captions; mean [95 % over prompts].\n\n"
    )
    head = ["set", "world", "moving", "background", "base / tune steps", "base", "control"]
    body = [
        [
            row["set"], row["kind"], f"{row['moving']:.2f}", f"{row['background']:g}",
            f"{row['base_steps']} / {row['tune_steps']}", f"{row['base']:.3f}",
            f"{row['control']:.3f}",
            *(show(Interval(**row["gains"][what]), signed=True) for what in gains),
            *(f"{row['noticing'][name]:.2f}" for name in numbers),
        ]
        for row in figures["cells"]
    ]  # fmt: skip
    text += markdown_table([*head, *gains, *numbers], body)
    text += "\n## What does the gain depend on?\n\nGain at the higher value of a knob less that at "
    text += "the lower one, over pairs of found cells that differ in nothing else; 95 % t "
    text += "interval over the pairs.\n\n"
    body = [
        [f"{knob} {own['from']:g} to {own['to']:g}"]
        + [show(Interval(**figures["effects"][what][knob]["gain"]), signed=True) for what in gains]
        for knob, own in figures["effects"][gains[0]].items()
    ]
    text += markdown_table(["", *gains], body)
    text += "\n## Does the base foretell the gain?\n\nRank correlation of a number with the gain.\n"
    body = [
        [what, which, *(f"{own['rank_correlation'][which][n]:+.2f}" for n in (*numbers, BESIDE))]
        for what, own in figures["foretold"].items()
        for which in own["rank_correlation"]
    ]
    text += "\n" + markdown_table(["gain of", "cells", *numbers, BESIDE], body)
    text += "\nThe line of the base's best number on the found cells, tested on the others.\n\n"
    body = [
        [
            what, own["best"], f"{own['tested']['rank_correlation']:+.2f}",
            f"{own['tested']['error']:.3f}", f"{own['tested']['error_of_mean']:.3f}",
            f"{own['tested']['right_sign']} of {own['tested']['cells']}",
        ]
        for what, own in figures["foretold"].items()
    ]  # fmt: skip
    heads = ["gain of", "best", "rank correlation", "mean error of the line",
             "of the mean gain", "sign right"]  # fmt: skip
    return text + markdown_table(heads, body)


def draw(path: Path, figures: dict[str, Any]) -> None:
    """Each kind of gain over the number of the base that goes with it best."""

    def points(own: dict[str, Any], what: str) -> dict[str, tuple[list[float], list[float]]]:
        found = {}
        for which in ("found", "tested"):
            rows = [row for row in figures["cells"] if row["set"] == which]
            found[which] = (
                [row["noticing"][own["best"]] for row in rows],
                [row["gains"][what]["mean"] for row in rows],
            )
        return found

    scatter_panels(
        path,
        [
            Points(
                f"gain of {what}", points(own, what), own["best"], figures["primary"],
                (own["line"]["intercept"], own["line"]["slope"]),
            )
            for what, own in figures["foretold"].items()
        ],
    )  # fmt: skip
