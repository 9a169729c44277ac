"""Scan all videos in worker processes, once: a rerun reads the scans of the run before.

Scans are kept as one JSON line per video in scans.jsonl; a line holds for as long as the file has
the same size and modification time and the settings that decide clips are the same. Half a line,
from a killed run, is scanned again. In memory a plan is columns, a row per video: ten million clips
as Python objects would be tens of gigabytes.
"""

# pyarrow makes its compute functions when it is imported.
# pyright: reportAttributeAccessIssue=false

import base64
import functools
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from jaxtyping import Int64

from videojam.data.prepare.stages import PlanOptions, VideoPlan, plan_video, unusable
from videojam.data.prepare.workers import WorkerDied
from videojam.data.source.manifest import Dropped, Entry
from videojam.records.object_store import Location, ObjectPath

_BLOCK = 1 << 26  # bytes of lines that are parsed at once
_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("source_bytes", pa.int64()),
        ("modified_ns", pa.int64()),
        ("options", pa.string()),
        ("num_frames", pa.int64()),
        ("duration_s", pa.float64()),
        ("source_fps", pa.float64()),
        ("pixel_aspect", pa.float64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("starts_s", pa.list_(pa.float64())),
        ("pts", pa.string()),
        ("dropped", pa.list_(pa.struct([("name", pa.string()), ("reason", pa.string())]))),
    ]
)


def scan_videos(
    entries: Sequence[Entry],
    folder: Location,
    options: PlanOptions,
    cache: Path,
    scan_all: Callable[
        [Callable[[str], VideoPlan], Iterable[str]], Iterator[VideoPlan | WorkerDied]
    ],
) -> Iterator[VideoPlan | None]:
    """Scan what was not scanned before; one result per entry in order, None where it was.

    scan_all: a map in order, such as a runner's. A scan that its worker did not survive, or of a
    file that could not be read, is not kept: the next run tries again.
    """
    stamps = _stamps(entries, folder)
    known = _known(_read(cache), entries, stamps, options) >= 0
    todo = [entry.path for entry, found in zip(entries, known, strict=True) if not found]
    scan = functools.partial(plan_video, folder=folder, options=options)
    scans = iter(scan_all(scan, todo))
    with cache.open("a", encoding="utf-8") as file:
        for place, entry in enumerate(entries):
            if known[place]:
                yield None
                continue
            found = next(scans)
            if isinstance(found, WorkerDied):
                yield unusable(entry.path, int(stamps[place, 0]), found.reason, passing=True)
                continue
            if stamps[place, 1] and not found.passing:
                line = _line(found, int(stamps[place, 1]), options)
                file.write(json.dumps(line) + "\n")
                file.flush()
            yield found


def read_plan(
    entries: Sequence[Entry], folder: Location, options: PlanOptions, cache: Path
) -> pa.Table:
    """The scans of the entries that have one, in their order; see _SCHEMA for the columns."""
    table = _read(cache)
    rows = _known(table, entries, _stamps(entries, folder), options)
    return table.take(pa.array(rows[rows >= 0])).combine_chunks()


def clip_pts(packed: str, num_clips: int) -> Int64[np.ndarray, "clips frames"]:
    """The timestamps of the frames of each clip of a video."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(packed)), dtype="<i8")
    return np.cumsum(steps).reshape(num_clips, -1)


def pack_pts(pts: Sequence[Sequence[int]]) -> str:
    """Differences, compressed: regular steps become next to nothing."""
    steps = np.diff(np.array(pts, dtype="<i8").reshape(-1), prepend=0)
    return base64.b64encode(zlib.compress(steps.tobytes(), 6)).decode()


def choose_validation(
    paths: Sequence[str], named: Sequence[str], number: int, seed: int
) -> set[str]:
    """The held-out videos: those named, and a number more with the smallest hash of (seed, path).

    Raises ValueError for a name that is not among the paths.
    """
    unknown = sorted(set(named) - set(paths)) if named else []
    if unknown:
        raise ValueError(
            f"holdout names {unknown}, which give no clips; name prepared videos by their path "
            "in the folder"
        )
    if not number:
        return {*named}
    unnamed = [path for path in paths if path not in set(named)]
    unnamed.sort(key=lambda path: hashlib.sha256(f"{seed}:{path}".encode()).digest())
    return {*named, *unnamed[:number]}


def _line(found: VideoPlan, modified_ns: int, options: PlanOptions) -> dict:
    return {
        "path": found.path,
        "source_bytes": found.source_bytes,
        "modified_ns": modified_ns,
        "options": _digest(options),
        "num_frames": found.num_frames,
        "duration_s": float(found.duration_s),
        "source_fps": float(found.source_fps),
        "pixel_aspect": float(found.pixel_aspect),
        "height": found.size[0],
        "width": found.size[1],
        "starts_s": [float(start) for start in found.starts_s],
        "pts": pack_pts(found.pts) if found.pts else "",
        "dropped": [item._asdict() for item in found.dropped],
    }


def _digest(options: PlanOptions) -> str:
    return hashlib.sha256(repr(options).encode()).hexdigest()[:12]


def _stamps(entries: Sequence[Entry], folder: Location) -> Int64[np.ndarray, "n 2"]:
    """Size and modification time of each; (0, 0) where there is no file, which the scan reports."""
    stamps = np.zeros((len(entries), 2), dtype=np.int64)
    if isinstance(folder, ObjectPath):  # one listing, not a request for each
        there = dict(folder.files())
        for place, entry in enumerate(entries):
            stamps[place] = there.get(entry.path, (0, 0))
        return stamps
    for place, entry in enumerate(entries):
        try:
            stat = (folder / entry.path).stat()
        except OSError:
            continue
        stamps[place] = stat.st_size, stat.st_mtime_ns
    return stamps


def _known(
    table: pa.Table, entries: Sequence[Entry], stamps: np.ndarray, options: PlanOptions
) -> Int64[np.ndarray, "n"]:
    """The row of the table that holds the scan of each entry, the last one of several; or -1."""
    rows = np.full(len(entries), -1, dtype=np.int64)
    if not len(table) or not entries:
        return rows
    paths = pa.array([entry.path for entry in entries], pa.string())
    places = pc.index_in(table["path"], value_set=paths).fill_null(-1).to_numpy()
    right = (places >= 0) & (table["options"].to_numpy() == _digest(options))
    for column, name in enumerate(("source_bytes", "modified_ns")):
        right &= table[name].to_numpy() == stamps[places, column]
    found = np.flatnonzero(right)
    rows[places[found]] = found
    return rows


def _read(cache: Path) -> pa.Table:
    if not cache.exists():
        return _SCHEMA.empty_table()
    _drop_half_a_line(cache)
    if not cache.stat().st_size:
        return _SCHEMA.empty_table()
    return pyarrow.json.read_json(
        cache,
        read_options=pyarrow.json.ReadOptions(block_size=_BLOCK),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=_SCHEMA, unexpected_field_behavior="ignore"
        ),
    ).select(_SCHEMA.names)


def _drop_half_a_line(cache: Path) -> None:
    with cache.open("rb+") as file:
        end = file.seek(0, 2)
        at = end
        while at > 0:
            start = max(0, at - 65536)
            file.seek(start)
            newline = file.read(at - start).rfind(b"\n")
            if newline >= 0:
                at = start + newline + 1
                break
            at = start
        if at < end:
            file.truncate(at)


def dropped_of(plan: pa.Table) -> list[Dropped]:
    """Everything that the scans dropped."""
    items = plan["dropped"].combine_chunks().flatten().to_pylist()
    return [Dropped(item["name"], item["reason"]) for item in items]
