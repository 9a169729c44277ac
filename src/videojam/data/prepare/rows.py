"""Which rows the dataset will have, in order, and which of them are prepared already.

Columns throughout. A prepared row is a clip of the plan if it is of the same video, begins at the
same time and has the same size: so more clips, or another size, can be added to a dataset.
"""

# pyarrow makes its compute functions when it is imported.
# pyright: reportAttributeAccessIssue=false

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64

from videojam.data import dataset
from videojam.data.prepare.plan import choose_validation, clip_pts
from videojam.data.prepare.stages import ClipTask, ControlTask
from videojam.data.source.decode import Reading
from videojam.data.source.manifest import Entry
from videojam.records.object_store import Location

_MATCHED = ("key", "source", "source_bytes", "clip_index", "start_s", "height", "width", "split")


class Planned(NamedTuple):
    """One row to be: a clip of a video."""

    key: str
    path: str
    source_bytes: int
    clip_index: int
    start_s: float
    pts: list[int]
    size: tuple[int, int]
    pixel_aspect: float
    source_fps: float
    split: str


class Rows(NamedTuple):
    """All rows in order: videos by path, clips by time. done: prepared already."""

    plan: pa.Table  # a row per video, see plan.py
    video: Int64[np.ndarray, "n"]  # row of the plan
    clip: Int64[np.ndarray, "n"]  # number of the clip in its video, by time
    done: Bool[np.ndarray, "n"]
    validation: Bool[np.ndarray, "videos"]
    taken: dict[int, set[int]]  # numbers of prepared clips, of videos that still lack some


def prepared_rows(path: Location, held: str | None = None) -> pa.Table:
    """The rows of the dataset, without tensors."""
    return dataset.table(path, _MATCHED, held)


def plan_rows(
    plan: pa.Table, prepared: pa.Table, *, holdout: Sequence[str], holdout_videos: int, seed: int
) -> Rows:
    """All rows of a plan, and which are in the prepared table.

    Raises ValueError if a prepared row was made from another file of the same name.
    """
    counts = pc.list_value_length(plan["starts_s"]).to_numpy().astype(np.int64)
    video = np.repeat(np.arange(len(plan)), counts)
    clip = np.arange(len(video)) - np.repeat(np.cumsum(counts) - counts, counts)
    of = pc.index_in(prepared["source"], value_set=plan["path"].combine_chunks())
    of = of.fill_null(-1).to_numpy().astype(np.int64)  # video of each prepared row
    _refuse_changes(plan, prepared, of)
    same_size = of >= 0
    for name in ("height", "width"):
        same_size &= prepared[name].to_numpy() == plan[name].to_numpy()[of]
    starts_s = plan["starts_s"].combine_chunks().flatten().to_numpy()
    there = _identity(of, prepared["start_s"].to_numpy())[same_size]
    done = np.isin(_identity(video, starts_s), there)
    paths = plan["path"].to_pylist() if holdout or holdout_videos else []
    with_clips = (
        [path for path, number in zip(paths, counts, strict=True) if number] if paths else []
    )
    chosen = choose_validation(with_clips, holdout, holdout_videos, seed)
    validation = pc.is_in(plan["path"], value_set=pa.array(sorted(chosen), pa.string())).to_numpy()
    # A video that is half prepared keeps its split when new videos change the choice.
    validation = validation.copy()
    validation[of[of >= 0]] = (prepared["split"].to_numpy() == "validation")[of >= 0]
    taken: dict[int, set[int]] = defaultdict(set)
    lacking = np.zeros(len(plan), dtype=bool)
    lacking[video[~done]] = True
    some = (of >= 0) & lacking[of]
    for number, index in zip(of[some], prepared["clip_index"].to_numpy()[some], strict=True):
        taken[int(number)].add(int(index))
    return Rows(plan, video, clip, done, validation, taken)


def removed(prepared: pa.Table, entries: Sequence[Entry]) -> list[str]:
    """The prepared videos that are not among the entries any more."""
    paths = pa.array([entry.path for entry in entries], pa.string())
    gone = pc.invert(pc.is_in(prepared["source"], value_set=paths))
    return sorted(pc.unique(prepared["source"].filter(gone)).to_pylist())


def unplanned(rows: Rows, prepared: pa.Table) -> int:
    """How many prepared rows are of clips that these settings would not make."""
    return len(prepared) - int(rows.done.sum())


def planned(rows: Rows, numbers: np.ndarray) -> Iterator[Planned]:
    """These rows, one at a time."""
    names = ("path", "source_bytes", "height", "width", "pixel_aspect", "source_fps", "starts_s")
    columns = {name: rows.plan[name].combine_chunks() for name in (*names, "pts")}
    at, pts = -1, np.zeros((0, 0))
    for number in numbers:
        video, clip = int(rows.video[number]), int(rows.clip[number])
        values = {name: columns[name][video].as_py() for name in names}
        if video != at:
            at, pts = video, clip_pts(columns["pts"][video].as_py(), len(values["starts_s"]))
        index = _number(rows.taken.get(video), clip)
        yield Planned(
            key=f"{values['path']}#{index:04d}",
            path=values["path"],
            source_bytes=values["source_bytes"],
            clip_index=index,
            start_s=values["starts_s"][clip],
            pts=pts[clip].tolist(),
            size=(values["height"], values["width"]),
            pixel_aspect=values["pixel_aspect"],
            source_fps=values["source_fps"],
            split="validation" if rows.validation[video] else "train",
        )


def task(row: Planned, folder: Location, reading: Reading, entry: Entry | None = None) -> ClipTask:
    """The work for a worker process; entry: of the row's video."""
    control = None
    if entry is not None and entry.control:
        mask = folder / entry.control_mask if entry.control_mask else None
        control = ControlTask(folder / entry.control, mask)
    return ClipTask(
        row.key, folder / row.path, row.pts, row.size, row.pixel_aspect, reading, control
    )


def _number(taken: set[int] | None, clip: int) -> int:
    """Its place in time, or the next number that no prepared clip of the video has."""
    if taken is None:
        return clip
    if clip in taken:
        clip = max(taken) + 1
    taken.add(clip)
    return clip


def _identity(video: np.ndarray, start_s: np.ndarray) -> Int64[np.ndarray, "n"]:
    """Video and start in whole microseconds (up to 19 hours) as one number."""
    return (video << 36) + np.round(np.asarray(start_s) * 1e6).astype(np.int64)


def _refuse_changes(plan: pa.Table, prepared: pa.Table, of: np.ndarray) -> None:
    size = plan["source_bytes"].to_numpy()
    differ = np.zeros(len(of), dtype=bool)
    if len(size):
        differ = (of >= 0) & (prepared["source_bytes"].to_numpy() != size[of])
    if differ.any():
        names = prepared["key"].take(np.flatnonzero(differ)[:5]).to_pylist()
        raise ValueError(
            f"{differ.sum()} prepared samples are of files that have changed in the folder since: "
            f"{'; '.join(f'{name} (source_bytes)' for name in names)}; give the new files other "
            "names, or prepare into a new output folder"
        )
