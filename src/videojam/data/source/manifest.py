"""Which videos have which caption, and which are dropped for want of one.

Captions come from a text file beside each video (clip.mp4, clip.txt) or from one captions file
(.jsonl, .csv, .parquet with columns path and caption). Content decides what a video is, not its
name: a file that the captions file names is opened whatever its extension. Nothing is decoded here.
"""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

VIDEO_EXTENSIONS = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v")
CAPTION_FORMATS = (".jsonl", ".csv", ".parquet")


class Dropped(NamedTuple):
    """A video, clip or caption that gives no sample, and why."""

    name: str
    reason: str


class Entry(NamedTuple):
    """One video: its path relative to the folder, with forward slashes, and its caption."""

    path: str
    caption: str


class Manifest(NamedTuple):
    """The videos to prepare, sorted by path, and everything that was dropped on the way."""

    entries: list[Entry]
    dropped: list[Dropped]


def read_manifest(folder: Path, captions: Path | None = None, skip: Path | None = None) -> Manifest:
    """Pair videos with captions.

    folder: searched recursively. captions: None means one .txt beside each video.
    skip: a folder not to search (the output may lie inside the input).
    Raises ValueError for a folder or captions file that is missing or malformed, and for two
    captions of one video.
    """
    if not folder.is_dir():
        raise ValueError(f"videos folder {folder} does not exist; pass a folder of video files")
    files = sorted(_walk(folder, skip))
    if captions is None:
        return _with_sidecars(folder, files)
    return _with_captions_file(folder, files, captions)


def _walk(folder: Path, skip: Path | None) -> Iterator[str]:
    """Relative paths of all files; symbolic links are followed, each real folder once."""
    seen = {skip.resolve()} if skip else set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = Path(root).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from ((Path(root) / name).relative_to(folder).as_posix() for name in files)


def _is_video_name(path: str) -> bool:
    return path.lower().endswith(VIDEO_EXTENSIONS)


def _with_sidecars(folder: Path, files: list[str]) -> Manifest:
    entries, dropped = [], []
    videos = [path for path in files if _is_video_name(path)]
    sidecars = {Path(path).with_suffix(".txt").as_posix() for path in videos}
    for path in videos:
        try:
            caption = (folder / path).with_suffix(".txt").read_text("utf-8-sig").strip()
        except FileNotFoundError:
            name = Path(path).with_suffix(".txt").name
            dropped.append(Dropped(path, f"no caption: expected {name} beside it"))
        except UnicodeDecodeError:
            dropped.append(Dropped(path, "caption is not UTF-8 text (a video named .txt?)"))
        else:
            _keep(path, caption, entries, dropped)
    for path in files:
        if path not in sidecars and not _is_video_name(path):
            reason = (
                "caption without a video"
                if path.endswith(".txt")
                else "not a video by its name; a captions file may name it"
            )
            dropped.append(Dropped(path, reason))
    return Manifest(entries, dropped)


def _with_captions_file(folder: Path, files: list[str], captions: Path) -> Manifest:
    entries, dropped = [], []
    seen: set[str] = set()
    for line, (named, caption) in enumerate(_rows(captions), start=1):
        path = os.path.normpath(named).replace(os.sep, "/") if named else ""
        if not path or path.startswith(("../", "/")):
            dropped.append(Dropped(named, f"row {line} of {captions.name}: not a path in {folder}"))
            continue
        if path in seen:
            raise ValueError(
                f"{captions} has several captions for {path!r} (again in row {line}); "
                "expected one row per video, remove the others"
            )
        seen.add(path)
        if not os.path.isfile(folder / path):  # False for impossible names too
            reason = f"named in row {line} of {captions.name} but not in {folder}"
            dropped.append(Dropped(path, reason))
            continue
        _keep(path, caption.strip(), entries, dropped)
    for path in files:
        if path not in seen and _is_video_name(path):
            dropped.append(Dropped(path, f"no caption: no row in {captions.name}"))
    return Manifest(sorted(entries), dropped)


def _keep(path: str, caption: str, entries: list[Entry], dropped: list[Dropped]) -> None:
    if caption:
        entries.append(Entry(path, caption))
    else:
        dropped.append(Dropped(path, "empty caption"))


def _rows(captions: Path) -> Iterator[tuple[str, str]]:
    """(path, caption) of each row. A missing value is an empty string."""
    if not captions.is_file():
        raise ValueError(f"captions file {captions} does not exist")
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(captions.suffix.lower())
    if reader is None:
        raise ValueError(f"captions file {captions} is not one of {', '.join(CAPTION_FORMATS)}")
    try:
        for line, row in enumerate(reader(captions), start=1):
            if not isinstance(row, dict) or not {"path", "caption"} <= row.keys():
                raise ValueError(
                    f"row {line} of {captions} has {_shape_of(row)}, expected path and caption"
                )
            values = tuple("" if row[name] is None else row[name] for name in ("path", "caption"))
            if not all(isinstance(value, str) for value in values):
                raise ValueError(f"row {line} of {captions}: path and caption must be text")
            yield values[0], values[1]
    except UnicodeDecodeError as error:
        raise ValueError(f"captions file {captions} is not UTF-8 text: {error}") from error


def _shape_of(row: object) -> str:
    return f"columns {sorted(map(str, row))}" if isinstance(row, dict) else type(row).__name__


def _jsonl(captions: Path) -> Iterator[object]:
    with captions.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                yield json.loads(text)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {line} of {captions} is not JSON: {error}") from error


def _csv(captions: Path) -> Iterator[object]:
    with captions.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from csv.DictReader(file, strict=True)
        except csv.Error as error:
            raise ValueError(f"captions file {captions} is not CSV: {error}") from error


def _parquet(captions: Path) -> Iterator[object]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(captions)
    except pa.ArrowInvalid as error:
        raise ValueError(f"captions file {captions} is not Parquet: {error}") from error
    yield from table.to_pylist()
