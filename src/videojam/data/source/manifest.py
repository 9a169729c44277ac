"""Which videos have which caption, and which are dropped for want of one.

Captions come from a text file beside each video (clip.mp4, clip.txt) or from one captions file.
Content decides what a video is, not its name: a file that the captions file names is opened
whatever its extension. Nothing is decoded here.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from videojam.data.source.caption_files import read_rows
from videojam.records.object_store import Location, ObjectPath
from videojam.records.text_files import composed, read_text

VIDEO_EXTENSIONS = (
    *(".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v"),
    *(".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".mxf"),
)
_BESIDE = ("control", "control_mask")  # columns that name files, as the path does


class Dropped(NamedTuple):
    """A video, clip or caption that gives no sample, and why."""

    name: str
    reason: str


class Entry(NamedTuple):
    """One video: its path relative to the folder, with forward slashes, and its captions."""

    path: str
    caption: str
    more_captions: tuple[str, ...] = ()
    control: str = ""
    "A clip in step with it that models are to follow, and its mask; paths, too."
    control_mask: str = ""

    @property
    def captions(self) -> tuple[str, ...]:
        """All of them; training takes one at a time."""
        return self.caption, *self.more_captions


class Manifest(NamedTuple):
    """The videos to prepare, sorted by path, and everything that was dropped on the way."""

    entries: list[Entry]
    dropped: list[Dropped]


def read_manifest(
    folder: Location,
    captions: Location | None = None,
    skip: Location | None = None,
    controls: bool = False,
) -> Manifest:
    """Pair videos with captions.

    folder: searched recursively. captions: None means one .txt beside each video.
    skip: a folder not to search (the output may lie inside the input). controls: read the columns
    control and control_mask of the captions file, too.
    Raises ValueError for a folder or captions file that is missing or malformed, and for two rows
    of one video. What is wrong with one file is that file's reason.
    """
    if not folder.is_dir():
        raise ValueError(f"videos folder {folder} does not exist; pass a folder of video files")
    dropped: list[Dropped] = []
    files = sorted(_walk(folder, skip, dropped))
    if captions is None:
        return _with_sidecars(folder, files, dropped)
    return _with_captions_file(folder, files, captions, dropped, controls)


def _walk(folder: Location, skip: Location | None, dropped: list[Dropped]) -> Iterator[str]:
    """Relative paths of all files; symbolic links are followed, each real folder once."""
    if isinstance(folder, ObjectPath):
        below = f"{skip}/"
        yield from (name for name, _ in folder.files() if not f"{folder / name}".startswith(below))
        return

    def unreadable(error: OSError) -> None:
        name = _printable(os.path.relpath(error.filename or folder, folder))
        dropped.append(Dropped(name, f"folder cannot be read: {error.strerror or error}"))

    seen = {skip.resolve()} if isinstance(skip, Path) else set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=unreadable):
        real = Path(root).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in files:
            path = (Path(root) / name).relative_to(folder).as_posix()
            if _printable(path) == path:
                yield path
            else:
                dropped.append(Dropped(_printable(path), "its name is not UTF-8; rename it"))


def _printable(path: str) -> str:
    """Bytes that are no UTF-8 in a file name come from the system as lone surrogates."""
    return path.encode("utf-8", "backslashreplace").decode()


def _is_video_name(path: str) -> bool:
    return path.lower().endswith(VIDEO_EXTENSIONS)


def _with_sidecars(folder: Location, files: list[str], dropped: list[Dropped]) -> Manifest:
    entries: list[Entry] = []
    videos = [path for path in files if _is_video_name(path)]
    texts = {_caption_name(path): path for path in files if path.lower().endswith(".txt")}
    used: set[str] = set()
    for path in videos:
        sidecar = texts.get(_caption_name(path))
        if sidecar is None:
            expected = Path(path).with_suffix(".txt").name
            dropped.append(Dropped(path, f"no caption: expected {expected} beside it"))
            continue
        used.add(sidecar)
        try:
            caption = read_text(folder / sidecar).strip()
        except ValueError as error:
            reason = str(error).removeprefix(f"{folder / sidecar} ")
            dropped.append(Dropped(path, f"caption {Path(sidecar).name} {reason}"))
        else:
            _keep(path, [caption], entries, dropped)
    for path in files:
        if path not in used and not _is_video_name(path):
            reason = (
                "caption without a video"
                if path.lower().endswith(".txt")
                else "not a video by its name; a captions file may name it"
            )
            dropped.append(Dropped(path, reason))
    return Manifest(entries, dropped)


def _caption_name(path: str) -> str:
    """Equal for a video and its caption, in either form of accents."""
    return composed(os.path.splitext(path)[0])


def _with_captions_file(
    folder: Location,
    files: list[str],
    captions: Location,
    dropped: list[Dropped],
    controls: bool,
) -> Manifest:
    entries: list[Entry] = []
    seen: dict[str, int] = {}
    there = {composed(path): path for path in files}
    beside: set[str] = set()  # controls and masks, which need no captions
    for row in read_rows(captions, _BESIDE if controls else ()):
        where = f"row {row.number} of {captions.name}"
        path = _find(folder, row.path, captions, there)
        if path is None:
            outside = row.path == "" or (
                isinstance(folder, Path) and _inside(folder, folder / row.path) is None
            )
            reason = (
                f"{where}: not a path in {folder}"
                if outside
                else f"named in {where} but not in {folder}"
            )
            dropped.append(Dropped(_printable(row.path), reason))
            continue
        if path in seen:
            raise ValueError(
                f"{captions} has several captions for {path!r} (again in row {row.number}); "
                "expected one row per video: remove the others, or give a list of captions"
            )
        seen[path] = row.number
        found = [_find(folder, one, captions, there) for one in row.further]
        beside.update(filter(None, found))
        given = dict(zip(_BESIDE, row.further, strict=False))
        missing = [f"{k} {v!r}" for (k, v), one in zip(given.items(), found, strict=True)
                   if v and one is None]  # fmt: skip
        if missing:
            dropped.append(Dropped(path, f"its {missing[0]}, in {where}, is not in {folder}"))
        elif given.get("control_mask") and not given["control"]:
            dropped.append(Dropped(path, f"a control_mask without a control in {where}"))
        else:
            _keep(path, row.captions, entries, dropped, [one or "" for one in found])
    for path in files:
        if path not in seen and path not in beside and _is_video_name(path):
            dropped.append(Dropped(path, f"no caption: no row in {captions.name}"))
    return Manifest(sorted(entries), dropped)


def _find(folder: Location, named: str, captions: Location, there: dict[str, str]) -> str | None:
    """The file that a row means: in the folder, absolute, or from where the user or the captions
    file is; with the separators of Windows; with space around it; in either form of accents."""
    if not named or "\0" in named:
        return None
    bases = [base for base in (folder, Path(), captions.parent) if isinstance(base, Path)]
    written = (named, named.strip())
    for name in dict.fromkeys((*written, *(name.replace("\\", "/") for name in written))):
        if isinstance(folder, ObjectPath):
            inside = composed(name.removeprefix(f"{folder}/"))
            if inside in there:
                return there[inside]
            continue
        for base in bases:
            inside = _inside(folder, base / name)
            if inside is None:
                continue
            if composed(inside) in there:
                return there[composed(inside)]
            if isinstance(folder, Path) and os.path.isfile(folder / inside):
                return inside
    return None


def _inside(folder: Path, path: Path) -> str | None:
    """The path relative to the folder, or None if it is not in it; links are not resolved."""
    for one, other in ((path, folder), (Path(os.path.abspath(path)), folder.resolve())):
        relative = os.path.relpath(os.path.abspath(one), os.path.abspath(other))
        if relative not in (".", "..") and not relative.startswith(f"..{os.sep}"):
            return relative.replace(os.sep, "/")
    return None


def _keep(
    path: str,
    captions: list[str],
    entries: list[Entry],
    dropped: list[Dropped],
    beside: Sequence[str] = (),
) -> None:
    captions = list(dict.fromkeys(text for text in captions if text))
    if captions:
        entries.append(Entry(path, captions[0], tuple(captions[1:]), *beside))
    else:
        dropped.append(Dropped(path, "empty caption"))
