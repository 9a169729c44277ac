"""A system under comparison, as files: a name, and a folder with one clip per prompt.

    videojam_out/                     any of these says which clip shows which prompt:
      clips.jsonl                     1. lines of {"file": "a.mp4", "prompt": "a dog jumps"}
      a-dog-jumps-1a2b3c4d-s0.json    2. the sidecars that `videojam generate` writes
      a dog jumps.mp4                 3. the file names themselves, without either

Seeds tell clips of one prompt apart where there are several (key `seed`, 0 where it is not given).
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from videojam.records.atomic import write_text

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".gif")
LIST_FILE = "clips.jsonl"
SYSTEMS_FILE = "systems.json"


class ClipKey(NamedTuple):
    """What systems are matched by."""

    prompt: str
    seed: int


class ClipSet(NamedTuple):
    """One system's clips."""

    name: str
    clips: dict[ClipKey, Path]


def read_clip_set(name: str, folder: Path) -> ClipSet:
    """The clips of a system, found as the module says; in the order of prompts.

    Raises ValueError for a folder without clips, a line or a sidecar that says nothing, a clip
    that is not there, or two clips of one prompt and seed.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give the folder with the clips of {name!r}")
    clips: dict[ClipKey, Path] = {}
    for key, path in _found(folder):
        if key in clips:
            raise ValueError(
                f"{folder} has two clips of {key.prompt!r}, seed {key.seed}: {clips[key].name} and "
                f"{path.name}; remove one, or give a {LIST_FILE} with seeds"
            )
        clips[key] = path
    if not clips:
        raise ValueError(f"{folder} has no clips ({', '.join(VIDEO_SUFFIXES)}) of {name!r}")
    return ClipSet(name, dict(sorted(clips.items())))


def write_clip_list(folder: Path, clips: dict[ClipKey, Path]) -> Path:
    """clips.jsonl of a folder, for clips that lie in it."""
    rows = (
        {"file": path.relative_to(folder).as_posix(), "prompt": key.prompt, "seed": key.seed}
        for key, path in clips.items()
    )
    write_text(folder / LIST_FILE, "".join(json.dumps(row) + "\n" for row in rows))
    return folder / LIST_FILE


def write_systems(folder: Path, systems: Mapping[str, dict[ClipKey, Path]]) -> None:
    """Lists of several systems' clips, each in a folder of its own within this one."""
    for clips in systems.values():
        write_clip_list(next(iter(clips.values())).parent, clips)
    places = {name: next(iter(clips.values())).parent for name, clips in systems.items()}
    content = {name: place.relative_to(folder).as_posix() for name, place in places.items()}
    write_text(folder / SYSTEMS_FILE, json.dumps(content, indent=2) + "\n")


def systems_of(folder: Path) -> dict[str, Path]:
    """System -> the folder with its clips, as write_systems left them.

    Raises ValueError for a folder without such a list.
    """
    listed = folder / SYSTEMS_FILE
    if not listed.is_file():
        raise ValueError(
            f"{folder} has no {SYSTEMS_FILE}; give the --out of a finished `videojam evaluate "
            "compare`"
        )
    return {name: folder / place for name, place in json.loads(listed.read_text("utf-8")).items()}


def shared_keys(sets: list[ClipSet]) -> list[ClipKey]:
    """Prompts and seeds of which every system has a clip, in order. ValueError for none."""
    keys = sorted(set.intersection(*(set(each.clips) for each in sets)))
    if not keys:
        counts = ", ".join(f"{each.name} {len(each.clips)}" for each in sets)
        raise ValueError(f"no prompt of which every system has a clip; there are: {counts}")
    return keys


def _found(folder: Path) -> Iterator[tuple[ClipKey, Path]]:
    listed = folder / LIST_FILE
    if listed.is_file():
        for number, line in enumerate(listed.read_text("utf-8").splitlines(), 1):
            if line.strip():
                yield _entry(folder, f"{listed}:{number}", line, None)
        return
    videos = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if sidecars := [path for path in videos if path.with_suffix(".json").is_file()]:
        for path in sidecars:  # NAME.motion.mp4 and the like have none
            sidecar = path.with_suffix(".json")
            yield _entry(folder, str(sidecar), sidecar.read_text("utf-8"), path.name)
        return
    for path in videos:
        yield ClipKey(path.stem, 0), path


def _entry(folder: Path, where: str, text: str, file: str | None) -> tuple[ClipKey, Path]:
    try:
        row: Any = json.loads(text)
    except ValueError:
        row = None
    row = row if isinstance(row, dict) else {}
    file, prompt, seed = file or row.get("file"), row.get("prompt"), row.get("seed", 0)
    if not (isinstance(file, str) and isinstance(prompt, str) and prompt.strip()) or (
        type(seed) is not int
    ):
        raise ValueError(
            f"{where} is {text[:80]!r}, expected an object like "
            '{"file": "a.mp4", "prompt": "a dog jumps", "seed": 0}'
        )
    path = folder / file
    if not path.is_file():
        raise ValueError(f"{where} names {file!r}, which is not in {folder}")
    return ClipKey(prompt.strip(), seed), path
