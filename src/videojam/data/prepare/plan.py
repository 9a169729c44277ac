"""Scan all videos in worker processes, once: a rerun reads the scans of the run before.

Scans are kept as one JSON line per video in scans.jsonl; a line holds for as long as the file has
the same size and modification time. Half a line, from a killed run, is scanned again.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from videojam.data.prepare.stages import PlanOptions, VideoPlan, plan_video, unusable
from videojam.data.prepare.workers import WorkerDied, ordered_map
from videojam.data.source.manifest import Dropped, Entry


def plan_videos(
    entries: Sequence[Entry],
    folder: Path,
    options: PlanOptions,
    cache: Path,
    *,
    num_workers: int,
    timeout_s: float | None = None,
    on_scanned: Callable[[], None] = lambda: None,
) -> Iterator[tuple[VideoPlan, bool]]:
    """(plan, whether it was scanned now) of each entry, in order."""
    known = _read(cache)
    stamps = [_stamp(folder / entry.path) for entry in entries]
    todo = [
        entry.path
        for entry, stamp in zip(entries, stamps, strict=True)
        if (entry.path, *stamp) not in known
    ]
    scan = functools.partial(plan_video, folder=folder, options=options)
    scans = ordered_map(scan, todo, num_workers, ahead=4 * num_workers, timeout_s=timeout_s)
    with cache.open("a") as file:
        for entry, stamp in zip(entries, stamps, strict=True):
            found = known.get((entry.path, *stamp))
            if found is not None:
                yield found, False
                continue
            found = next(scans)
            if isinstance(found, WorkerDied):  # not kept: the next run tries again
                yield unusable(entry.path, stamp[0], found.reason), True
                continue
            file.write(json.dumps([*stamp, found]) + "\n")
            file.flush()
            yield found, True


def choose_validation(
    paths: Sequence[str], named: Sequence[str], number: int, seed: int
) -> set[str]:
    """The held-out videos: those named, and a number more with the smallest hash of (seed, path).

    Raises ValueError for a name that is not among the paths.
    """
    unknown = sorted(set(named) - set(paths))
    if unknown:
        raise ValueError(
            f"holdout names {unknown}, which give no clips; name prepared videos by their path "
            "in the folder"
        )
    unnamed = [path for path in paths if path not in set(named)]
    unnamed.sort(key=lambda path: hashlib.sha256(f"{seed}:{path}".encode()).digest())
    return {*named, *unnamed[:number]}


def _stamp(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


def _read(cache: Path) -> dict[tuple[str, int, int], VideoPlan]:
    if not cache.exists():
        return {}
    text = cache.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        cache.write_bytes(whole)
    plans = {}
    for line in whole.splitlines():
        num_bytes, modified_ns, values = json.loads(line)
        found = VideoPlan(*values)
        found = found._replace(
            size=tuple(found.size), dropped=[Dropped(*item) for item in found.dropped]
        )
        plans[found.path, num_bytes, modified_ns] = found
    return plans
