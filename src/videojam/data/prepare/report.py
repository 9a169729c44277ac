"""What a preparation did: counts, seconds by stage, waiting, everything dropped and why."""

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from videojam.data.prepare.stages import ClipData
from videojam.data.source.manifest import Dropped
from videojam.records.atomic import write_text

T = TypeVar("T")

_SHOWN = 40  # dropped items printed; report.json has all


@dataclass(slots=True)
class Report:
    """Filled while prepare runs. seconds and frames by stage; those of workers add up."""

    num_workers: int = 0
    videos_found: int = 0
    videos_with_clips: int = 0
    clips: int = 0
    prepared: int = 0
    already_there: int = 0
    stale: list[str] = field(default_factory=list)  # videos with rows that left the folder
    unplanned: int = 0  # rows of clips that the settings of now would not make
    captions_encoded: int = 0
    captions_corrected: int = 0  # videos whose captions were replaced
    captions_cut: list[str] = field(default_factory=list)  # videos: the model reads no further
    estimate: dict[str, float] = field(default_factory=dict)  # of a dry run
    wall_s: float = 0.0
    source_s: float = 0.0
    clips_s: float = 0.0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    frames: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    dropped: list[Dropped] = field(default_factory=list)

    @contextmanager
    def time(self, stage: str, frames: int = 0) -> Iterator[None]:
        """Add the time of this block, and the frames it worked on, to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - begin
            self.frames[stage] += frames

    def count_clip(self, clip: ClipData) -> None:
        """Add what a worker spent on a clip."""
        for stage, seconds in (("decode", clip.decode_s), ("flow", clip.flow_s)):
            self.seconds[stage] += seconds
            self.frames[stage] += len(clip.frames)


def timed(results: Generator[T, None, None], report: Report) -> Generator[T, None, None]:
    """The same results; the time spent waiting for each counts as waiting for workers."""
    try:
        while True:
            with report.time("waiting for workers"):
                try:
                    result = next(results)
                except StopIteration:
                    return
            yield result
    finally:
        results.close()  # stops the worker processes


def as_dict(report: Report) -> dict:
    """Everything, with the derived rates and shares; plain JSON values."""
    wall = max(report.wall_s, 1e-9)
    busy = sum(report.seconds[stage] for stage in ("scan", "decode", "flow"))
    workers = report.num_workers
    return {
        "videos_found": report.videos_found,
        "videos_with_clips": report.videos_with_clips,
        "clips": report.clips,
        "prepared": report.prepared,
        "already_there": report.already_there,
        "prepared_videos_not_there": report.stale,
        "rows_not_planned_any_more": report.unplanned,
        "captions_encoded": report.captions_encoded,
        "captions_corrected": report.captions_corrected,
        "captions_cut": report.captions_cut,
        "estimate": report.estimate,
        "source_s": report.source_s,
        "clips_s": report.clips_s,
        "wall_s": report.wall_s,
        "samples_per_s": report.prepared / wall,
        "stages": {
            stage: {
                "seconds": seconds,
                "frames_per_s": report.frames[stage] / seconds if report.frames[stage] else None,
            }
            for stage, seconds in report.seconds.items()
        },
        "encoder_waited_share": report.seconds["waiting for workers"] / wall,
        "workers_idle_share": max(0.0, 1 - busy / (workers * wall)) if workers else None,
        "num_workers": workers,
        "dropped": [item._asdict() for item in report.dropped],
    }


def write(report: Report, path: Path) -> None:
    """The report as JSON, replaced at once."""
    write_text(path, json.dumps(as_dict(report), indent=1))


def show(report: Report, console: Console) -> None:
    """The same as tables for people."""
    values = as_dict(report)
    console.print(
        f"{report.videos_found} videos, {report.videos_with_clips} with clips; "
        f"{report.clips} clips ({report.clips_s:.0f} of {report.source_s:.0f} s of video); "
        f"{report.prepared} prepared now, {report.already_there} already there; "
        f"{report.wall_s:.1f} s"
    )
    table = Table("stage", "seconds", "frames/s")
    for stage, row in values["stages"].items():
        rate = f"{row['frames_per_s']:.1f}" if row["frames_per_s"] else ""
        table.add_row(stage, f"{row['seconds']:.1f}", rate)
    console.print(table)
    idle = values["workers_idle_share"]
    console.print(
        f"encoder waited for workers {values['encoder_waited_share']:.0%} of the time"
        + ("" if idle is None else f", workers were idle {idle:.0%}")
    )
    if report.captions_corrected:
        console.print(f"captions of {report.captions_corrected} videos replaced, latents kept")
    if report.captions_cut:
        names = ", ".join(report.captions_cut[:3])
        console.print(
            f"{len(report.captions_cut)} captions are longer than the model reads (the rest is "
            f"cut): {names}"
        )
    if report.stale:
        console.print(
            f"{len(report.stale)} prepared videos are not there any more; their samples "
            "are kept and trained on"
        )
    if report.unplanned:
        console.print(f"{report.unplanned} samples that these settings would not make are kept")
    if report.estimate:
        hours, gib = report.estimate["hours"], report.estimate["gib"]
        console.print(
            f"to do: {report.clips - report.already_there} clips, about {hours:.3g} hours here "
            f"and {gib:.3g} GiB, judged by one clip of each size"
        )
    show_dropped(report, console)


def show_dropped(report: Report, console: Console) -> None:
    """What was dropped: reasons counted, the commonest first, then each by name."""
    if not report.dropped:
        return
    counts = Counter(_kind(item.reason) for item in report.dropped)
    for kind, number in counts.most_common(3):
        console.print(f"{number} x {escape(kind)}")
    table = Table("dropped", "reason", title=f"{len(report.dropped)} dropped")
    for item in report.dropped[:_SHOWN]:
        table.add_row(escape(item.name), escape(item.reason))
    console.print(table)
    if len(report.dropped) > _SHOWN:
        console.print(f"... and {len(report.dropped) - _SHOWN} more in report.json")


def commonest(report: Report) -> str:
    """The three commonest reasons with their counts and an example each, for an error message."""
    examples: dict[str, Dropped] = {}
    for item in report.dropped:
        examples.setdefault(_kind(item.reason), item)
    counts = Counter(_kind(item.reason) for item in report.dropped)
    return "; ".join(
        f"{number} x {examples[kind].reason} ({examples[kind].name})"
        for kind, number in counts.most_common(3)
    )


def _kind(reason: str) -> str:
    """Reasons that differ in numbers and names only are one kind."""
    return re.sub(r"\b[\w-]+\.\w+\b|\d+(\.\d+)?", "..", reason.partition(":")[0])
