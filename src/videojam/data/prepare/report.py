"""What a preparation did: counts, seconds by stage, waiting, everything dropped and why."""

import json
import time
from collections import defaultdict
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
    stale: list[str] = field(default_factory=list)  # rows whose video is gone from the folder
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
        "rows_without_their_video": report.stale,
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
    if report.stale:
        console.print(f"{len(report.stale)} rows belong to videos that are not there any more")
    if report.dropped:
        table = Table("dropped", "reason", title=f"{len(report.dropped)} dropped")
        for item in report.dropped[:_SHOWN]:
            table.add_row(escape(item.name), escape(item.reason))
        console.print(table)
        if len(report.dropped) > _SHOWN:
            console.print(f"... and {len(report.dropped) - _SHOWN} more in report.json")
