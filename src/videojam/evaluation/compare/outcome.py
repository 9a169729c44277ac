"""What a comparison leaves: results.md and .json, tables as .csv and .tex, plot.png, index.html."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from videojam.evaluation.clips.imported import Key
from videojam.evaluation.clips.judged import Row
from videojam.evaluation.clips.normalise import Form
from videojam.evaluation.clips.prompts import PromptSet
from videojam.evaluation.compare.config import Config
from videojam.evaluation.compare.human import read_human
from videojam.evaluation.compare.page import write_page
from videojam.evaluation.compare.vbench_scores import VBenchScores
from videojam.evaluation.compare.work import Measured, Planned
from videojam.evaluation.metrics.table import METRICS
from videojam.evaluation.report.layout import (
    Laid,
    aggregates_table,
    comma_separated,
    dimensions_table,
    latex,
    markdown,
    plain,
)
from videojam.evaluation.report.plots import bar_plot
from videojam.evaluation.report.results import finite, markdown_table
from videojam.evaluation.report.tables import (
    Cell,
    curve,
    difference,
    difference_table,
    mean_of,
    table_of,
    thirds,
)
from videojam.evaluation.report.tables import plain as plain_cells
from videojam.records.atomic import write_text
from videojam.records.provenance import commit, machine, versions

_PROTOCOL = (
    "The paper's rows are its own: other prompts (VideoJAM-bench and Movie Gen Video Bench), other "
    "lengths, sizes and frame rates. Rows compare within one source; ours and the paper's only as "
    "far as prompts, form and VBench's version agree."
)


class Outcome(NamedTuple):
    """All that was found."""

    config: Config
    prompts: PromptSet
    plans: Sequence[Planned]
    form: Form
    measured: Mapping[tuple[str, Key], Measured]
    rows: dict[str, list[Row]]
    vbench: VBenchScores

    @property
    def names(self) -> list[str]:
        return [*self.rows]

    @property
    def metrics(self) -> list[str]:
        """Those that any clip has a value of."""
        rows = [row for one in self.rows.values() for row in one]
        return [name for name in rows[0].values if any(_finite(row, name) for row in rows)]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return self.config.pairs([planned.system for planned in self.plans])

    @property
    def primary(self) -> tuple[str, str] | None:
        """(metric, pair) of the comparison that was declared."""
        return (self.config.primary, " - ".join(self.pairs[0])) if self.pairs else None


def write_outcome(outcome: Outcome) -> dict[str, Any]:
    """Write everything; returns the figures."""
    out = outcome.config.out
    means = {
        name: {metric: mean_of(rows, metric) for metric in outcome.metrics}
        for name, rows in outcome.rows.items()
    }
    gaps = {
        f"{a} - {b}": {
            metric: difference(outcome.rows[a], outcome.rows[b], metric)
            for metric in outcome.metrics
        }
        for a, b in outcome.pairs
    }
    tables = [
        aggregates_table(
            read_human(outcome.config.human, outcome.names) if outcome.config.human else {},
            outcome.vbench.aggregates(), outcome.names,
        ),
        dimensions_table(outcome.vbench.scores(), outcome.names),
    ]  # fmt: skip
    for table in tables:
        write_text(out / f"{table.name}.csv", comma_separated(table))
        write_text(out / f"{table.name}.tex", latex(table))
        write_text(out / f"{table.name}.json", json.dumps(plain(table), indent=2) + "\n")
    notes = notices(outcome)
    text = _text(outcome, means, gaps, tables, notes)
    write_text(out / "results.md", text)
    _plot(outcome, gaps)
    figures = {
        "means": plain_cells(means), "differences": plain_cells(gaps), "form": outcome.form.text(),
        "notes": notes, "vbench": outcome.vbench.scores(), "vbench_missing": outcome.vbench.reason,
        "aggregates": outcome.vbench.aggregates(),
    }  # fmt: skip
    figures = finite(figures)
    write_text(out / "results.json", json.dumps(_record(outcome, figures), indent=2) + "\n")
    write_page(outcome, means, gaps, tables, notes)
    return figures


def notices(outcome: Outcome) -> list[str]:
    """What a reader has to know about the clips: missing, doubled, short, converted, unreadable."""
    found = []
    if outcome.prompts.repeated:
        found.append(
            f"{outcome.prompts.name}: {len(outcome.prompts.repeated)} prompts come twice in the "
            "file and are asked for once"
        )
    for planned in outcome.plans:
        name = planned.system.name
        if planned.matched is not None:
            found += _of_matching(outcome, planned)
        for key in planned.clips:
            one = outcome.measured[name, key]
            where = f"{name}, {_where(outcome, key)}"
            if one.error is not None:
                found.append(f"{where}: not used, {one.error}")
            elif one.num_frames < outcome.form.num_frames:
                found.append(
                    f"{where}: shorter, {one.num_frames} of {outcome.form.num_frames} frames"
                )
        found += _of_conversion(outcome, planned)
    return found + _skipped(outcome)


def _skipped(outcome: Outcome) -> list[str]:
    """Metrics that some clips have no value of, with the reason."""
    reasons: dict[str, int] = {}
    for one in outcome.measured.values():
        for metric, reason in one.skipped.items():
            text = f"{metric}: {reason}"
            reasons[text] = reasons.get(text, 0) + 1
    return [f"skipped for {count} clips, {text}" for text, count in reasons.items()]


def _finite(row: Row, metric: str) -> bool:
    return math.isfinite(row.values[metric])


def _of_matching(outcome: Outcome, planned: Planned) -> list[str]:
    matched, name = planned.matched, planned.system.name
    assert matched is not None
    found = [f"{name}: {len(matched.clips)} clips of {planned.system.source}, by {matched.how}"]
    if matched.missing:
        places = ", ".join(_where(outcome, key) for key in matched.missing[:5])
        more = f" and {len(matched.missing) - 5} more" if len(matched.missing) > 5 else ""
        found.append(f"{name}: missing {places}{more}; left out of every pair with it")
    for key, paths in matched.doubled.items():
        others = ", ".join(path.name for path in paths)
        found.append(
            f"{name}, {_where(outcome, key)}: doubled, {matched.clips[key].name} was taken and not "
            f"{others}"
        )
    if matched.unmatched:
        names = ", ".join(path.name for path in matched.unmatched[:5])
        found.append(f"{name}: {len(matched.unmatched)} files are of no prompt ({names})")
    return found


def _of_conversion(outcome: Outcome, planned: Planned) -> list[str]:
    """How many clips came at another rate or size."""
    form, name = outcome.form, planned.system.name
    kinds: dict[str, int] = {}
    for key in planned.clips:
        native = outcome.measured[name, key].native
        if native is None:
            continue
        if abs(native.fps - form.fps) > 0.02 * form.fps:
            kinds[f"{native.fps:g} frames a second"] = (
                kinds.get(f"{native.fps:g} frames a second", 0) + 1
            )
        if (native.height, native.width) != (form.height, form.width):
            size = f"{native.width} x {native.height} pixels"
            kinds[size] = kinds.get(size, 0) + 1
    return [
        f"{name}: {count} of {len(planned.clips)} clips came at {kind} and were converted"
        for kind, count in kinds.items()
    ]


def _where(outcome: Outcome, key: Key) -> str:
    number, repeat = key
    return f"prompt {number}" + (f" clip {repeat}" if len(outcome.config.seeds) > 1 else "")


def _text(
    outcome: Outcome,
    means: Mapping[str, Mapping[str, Cell]],
    gaps: Mapping[str, Mapping[str, Cell]],
    tables: Sequence[Laid],
    notes: Sequence[str],
) -> str:
    config, prompts = outcome.config, outcome.prompts
    text = f"# {' | '.join(outcome.names)}\n\n"
    text += (
        f"{len(prompts.prompts)} prompts of {prompts.name} x {len(config.seeds)} seeds. All clips "
        f"as {outcome.form.text()}; those of models were kept as H.264 (crf 14) and read back, as "
        "imported ones are.\n\n"
    )
    text += "".join(f"- {note}\n" for note in notes) + "\n"
    text += (
        "## Metrics without learned weights\n\nMeans over clips, 95 % intervals over prompts.\n\n"
    )
    text += table_of(means, outcome.metrics)
    if gaps:
        text += "\n## Differences on the same prompts and seeds\n\n"
        text += difference_table(gaps, outcome.metrics, outcome.primary)
    text += "\n" + markdown_table(
        ["metric", "better", "sees"],
        [[name, m.better, m.sees] for name, m in METRICS.items() if name in outcome.metrics],
    )
    text += _by_tag(outcome) + _by_moving_share(outcome)
    for numbers, table in zip(("1, 2 and 6", "4, 5 and 7"), tables, strict=True):
        text += f"\n## Laid out as Tables {numbers}\n\n{markdown(table)}"
    if outcome.vbench.reason:
        text += f"\nVBench of our systems: none, {outcome.vbench.reason.splitlines()[0]}\n"
    return text + f"\n{_PROTOCOL}\n"


def _by_tag(outcome: Outcome) -> str:
    """The primary metric in every part of the prompts, all exploratory."""
    tags = {name: values for name, values in outcome.prompts.tags().items() if len(values) <= 20}
    if not tags or not outcome.pairs:
        return ""
    metric = outcome.config.primary
    columns = [f"{a} - {b}" for a, b in outcome.pairs]
    body = {
        f"{tag}: {value}": {
            f"{a} - {b}": difference(
                _tagged(outcome, a, tag, value), _tagged(outcome, b, tag, value), metric
            )
            for a, b in outcome.pairs
        }
        for tag, values in tags.items()
        for value in values
    }
    by_pair = {column: {part: cells[column] for part, cells in body.items()} for column in columns}
    return f"\n## {metric} by tag\n\n" + difference_table(by_pair, [*body])


def _by_moving_share(outcome: Outcome) -> str:
    """The primary metric where little, some and much of the picture moves (Figure 7 a)."""
    if not outcome.pairs:
        return ""
    metric = outcome.config.primary
    names = ("least", "middle", "most")
    columns: dict[str, dict[str, Cell]] = {}
    for a, b in outcome.pairs:
        parts = _thirds(outcome, a, b)
        columns[f"{a} - {b}"] = {
            third: difference(_of(outcome, a, part), _of(outcome, b, part), metric)
            for third, part in zip(names, parts, strict=True)
        }
    text = f"\n## {metric} by how much of the picture moves\n\nThirds of the prompts, by the "
    text += "moving_share of both systems of a pair.\n\n"
    return text + difference_table(columns, names)


def _thirds(outcome: Outcome, a: str, b: str) -> list[set[int]]:
    """Prompts in three parts of rising moving share, those of which both have clips."""
    shares: dict[int, list[float]] = {}
    for row in (*outcome.rows[a], *outcome.rows[b]):
        shares.setdefault(row.prompt, []).append(row.values["moving_share"])
    return thirds({prompt: sum(values) / len(values) for prompt, values in shares.items()})


def _tagged(outcome: Outcome, system: str, tag: str, value: str) -> list[Row]:
    prompts = outcome.prompts.prompts
    return _of(outcome, system, {p.number for p in prompts if value in p.tags.get(tag, ())})


def _of(outcome: Outcome, system: str, numbers: set[int]) -> list[Row]:
    return [row for row in outcome.rows[system] if row.prompt in numbers]


def _plot(outcome: Outcome, gaps: Mapping[str, Mapping[str, Cell]]) -> None:
    """Every difference over the spread of the metric between clips: what is large at a glance."""
    if not gaps:
        return
    metrics = [m for m in outcome.metrics if _fits(outcome, m, gaps.values())]
    bars = {}
    for pair, cells in gaps.items():
        mean, low, high = curve([cells[metric] for metric in metrics])
        spreads = [_spread(outcome, metric) for metric in metrics]
        bars[pair] = tuple(
            [v / s if s else math.nan for v, s in zip(one, spreads, strict=True)]
            for one in (mean, low, high)
        )
    names = [metric.replace("_", " ") for metric in metrics]
    bar_plot(
        outcome.config.out / "plot.png", names, bars,
        "difference / standard deviation of clips", "Differences on the same prompts and seeds",
        lines=(0.0,),
    )  # fmt: skip


def _fits(outcome: Outcome, metric: str, pairs: Iterable[Mapping[str, Cell]]) -> bool:
    """Whether a metric can be drawn: where hardly any clip differs, intervals dwarf all others."""
    spread = _spread(outcome, metric)
    cells = [cells[metric] for cells in pairs]
    widths = [c.high - c.low for c in cells if c is not None and math.isfinite(c.low)]
    return spread > 0 and any(c is not None for c in cells) and max(widths, default=0) < 8 * spread


def _spread(outcome: Outcome, metric: str) -> float:
    values = [r.values[metric] for rows in outcome.rows.values() for r in rows]
    values = [value for value in values if math.isfinite(value)]
    mean = sum(values) / max(1, len(values))
    return math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values)))


def _record(outcome: Outcome, figures: dict[str, Any]) -> dict[str, Any]:
    at = commit()
    return {
        "experiment": "compare",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": json.loads(Path(outcome.config.out / "settings.json").read_text("utf-8")),
        "machine": machine(),
        "versions": versions(),
        "commit": at.hash if at else None,
        "dirty": at.dirty if at else True,
        "figures": figures,
    }
