"""Which rows the dataset will have, in order, and which of them are prepared already."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from videojam.data import dataset
from videojam.data.prepare.plan import choose_validation
from videojam.data.prepare.stages import ClipTask, VideoPlan
from videojam.data.source.decode import Reading


class Planned(NamedTuple):
    """One row to be: a clip of a video."""

    key: str
    video: VideoPlan
    clip_index: int
    caption: str
    split: str

    @property
    def start_s(self) -> float:
        return self.video.starts_s[self.clip_index]


def plan_rows(
    videos: Sequence[VideoPlan],
    captions: Mapping[str, str],
    prepared: Mapping[str, dict],
    *,
    holdout: Sequence[str],
    holdout_videos: int,
    seed: int,
) -> list[Planned]:
    """All rows in order: videos by path, clips by time.

    prepared: rows of the dataset by key, with source, source_bytes, start_s, caption and split.
    Raises ValueError if one of them was made from another file, clip or caption than the plan says,
    or if no video gives a clip.
    """
    paths = [video.path for video in videos if video.pts]
    if not paths:
        raise ValueError(
            "no video gives a clip; the reasons are in report.json (sizes, fps, num_frames and "
            "captions decide)"
        )
    validation = choose_validation(paths, holdout, holdout_videos, seed)
    # A video that is half prepared keeps its split when new videos change the choice.
    prepared_split = {row["source"]: row["split"] for row in prepared.values()}
    rows = []
    for video in videos:
        split = "validation" if video.path in validation else "train"
        split = prepared_split.get(video.path, split)
        for index in range(len(video.pts)):
            key = f"{video.path}#{index:04d}"
            rows.append(Planned(key, video, index, captions[video.path], split))
    _refuse_changes(rows, prepared)
    return rows


def _refuse_changes(rows: Sequence[Planned], prepared: Mapping[str, dict]) -> None:
    changed = []
    for row in rows:
        old = prepared.get(row.key)
        if old is None:
            continue
        now = {
            "caption": row.caption,
            "source_bytes": row.video.source_bytes,
            "start_s": row.start_s,
        }
        differ = [name for name, value in now.items() if old[name] != value]
        if differ:
            changed.append(f"{row.key} ({', '.join(differ)})")
    if changed:
        raise ValueError(
            f"{len(changed)} prepared samples have changed in the folder since: "
            f"{'; '.join(changed[:5])}; prepare into a new output folder"
        )


def prepared_rows(path: Path) -> dict[str, dict]:
    """The rows of the dataset by key, without tensors."""
    names = ("key", "source", "source_bytes", "start_s", "caption", "split")
    return {row["key"]: row for row in dataset.columns(path, names)}


def task(row: Planned, folder: Path, reading: Reading) -> ClipTask:
    """The work for a worker process."""
    video = row.video
    return ClipTask(
        row.key,
        folder / video.path,
        video.pts[row.clip_index],
        video.size,
        video.pixel_aspect,
        reading,
    )
