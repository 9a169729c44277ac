"""Clips that were made elsewhere: which file is of which prompt.

A folder of video files from any system (Sora, Kling, another code base) is matched by a mapping
file, by file names that say the prompt, or by numbers. Nothing is guessed silently: what matches no
prompt, what matches twice and which prompts have no clip is reported.
"""

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from videojam.data.source.manifest import VIDEO_EXTENSIONS
from videojam.evaluation.clips.prompts import Prompt
from videojam.sampling.samples import sample_name

_ENDING = re.compile(r"^(.*?)[-_ ]+(?:s|seed)?[-_ ]?(\d+)$", re.IGNORECASE)  # "a dog runs-1"
_NUMBER = re.compile(r"^(?:\D*?)(\d+)(?:[-_ ](?:s|seed)?(\d+))?$", re.IGNORECASE)  # "clip_0007-1"
_CUT_NAME = 20  # letters that a shortened file name must keep of its prompt

Key = tuple[int, int]
"(number of a prompt, number of its clip)"


class Matched(NamedTuple):
    """The clips of a folder by prompt, and what was found on the way, to be said in the report."""

    clips: dict[Key, Path]
    how: str
    "'mapping', 'names' or 'numbers'."
    missing: list[Key]
    "Clips that were asked for and are not there."
    doubled: dict[Key, list[Path]]
    "Further files for a clip that has one already; the first by name is taken."
    unmatched: list[Path]
    "Files of no prompt that was asked for."


def match_clips(
    folder: Path, prompts: Sequence[Prompt], repeats: int = 1, mapping: Path | None = None
) -> Matched:
    """One clip per prompt and repeat, from the files of a folder (with its subfolders).

    mapping: .csv or .jsonl with `file` and one of `prompt` and `index` (the prompt's place in its
    file, from 0), and `seed` (which clip of the prompt, from 0) where there are several.
    Names: the prompt itself, as far as a file name can hold it, with "-1" at its end for a second
    clip, or the names that `videojam generate` gives. Numbers: 0000.mp4, clip_12.mp4, 12_1.mp4,
    counted from 1 if the last prompt's number needs that, from 0 otherwise.
    Raises ValueError for a folder without clips, a mapping that names missing files or unknown
    prompts, or files of which none matches.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_EXTENSIONS)
    files = [p for p in files if not p.stem.endswith((".motion", ".side", ".base"))]
    if not files:
        raise ValueError(f"{folder} has no video files ({', '.join(VIDEO_EXTENSIONS)})")
    if mapping is not None:
        found, how = _by_mapping(folder, mapping, prompts), "mapping"
    else:
        found, how = _by_names(files, prompts), "names"
        if not found:
            found, how = _by_numbers(files, prompts), "numbers"
    if not found:
        raise ValueError(
            f"none of the {len(files)} files of {folder} names a prompt or its number (such as "
            f"{files[0].name}); give mapping=FILE.csv with columns file and prompt"
        )
    wanted = [(prompt.number, repeat) for prompt in prompts for repeat in range(repeats)]
    clips: dict[Key, Path] = {}
    doubled: dict[Key, list[Path]] = {}
    taken = set()
    for path, key in found:
        if key not in wanted:
            continue
        taken.add(path)
        if key in clips:
            doubled.setdefault(key, []).append(path)
        else:
            clips[key] = path
    return Matched(
        clips=clips,
        how=how,
        missing=[key for key in wanted if key not in clips],
        doubled=doubled,
        unmatched=[path for path in files if path not in taken],
    )


def _by_names(files: Sequence[Path], prompts: Sequence[Prompt]) -> list[tuple[Path, Key]]:
    plain = {_letters(prompt.text): prompt.number for prompt in prompts}
    ours = {sample_name(prompt.text, 0)[: -len("-s0")]: prompt.number for prompt in prompts}
    found = []
    for path in files:
        ending = _ENDING.match(path.stem)
        heads = [(path.stem, 0)]
        if ending:
            heads.append((ending[1], int(ending[2])))
        for head, repeat in heads:
            number = ours.get(head, _of_name(_letters(head), plain))
            if number is not None:
                found.append((path, (number, repeat)))
                break
    return found


def _of_name(letters: str, prompts: dict[str, int]) -> int | None:
    """The prompt of these letters, or the only one that begins with them."""
    if letters in prompts:
        return prompts[letters]
    begins = [number for text, number in prompts.items() if text.startswith(letters)]
    return begins[0] if len(letters) >= _CUT_NAME and len(begins) == 1 else None


def _by_numbers(files: Sequence[Path], prompts: Sequence[Prompt]) -> list[tuple[Path, Key]]:
    numbers = [(path, _NUMBER.match(path.stem)) for path in files]
    read = [(path, int(m[1]), int(m[2] or 0)) for path, m in numbers if m]
    if not read:
        return []
    last = max(prompt.number for prompt in prompts)
    from_one = all(number for _, number, _ in read) and any(
        number == last + 1 for _, number, _ in read
    )
    known = {prompt.number for prompt in prompts}
    keys = [(path, (number - from_one, repeat)) for path, number, repeat in read]
    return [(path, key) for path, key in keys if key[0] in known]


def _by_mapping(folder: Path, mapping: Path, prompts: Sequence[Prompt]) -> list[tuple[Path, Key]]:
    by_text = {prompt.text: prompt.number for prompt in prompts}
    known = {prompt.number for prompt in prompts}
    found = []
    for line, row in _rows(mapping):
        where = f"{mapping}:{line}"
        path = folder / str(row.get("file", ""))
        if not row.get("file") or not path.is_file():
            raise ValueError(f"{where} names {row.get('file')!r}, which is not in {folder}")
        try:
            repeat = int(row.get("seed") or 0)
            number = int(row["index"]) if row.get("index") not in (None, "") else None
        except ValueError as error:
            raise ValueError(f"{where} has an index or seed that is no number: {row}") from error
        if number is None:
            number = by_text.get(str(row.get("prompt", "")).strip())
        if number is None:
            raise ValueError(
                f"{where} is of {row.get('prompt')!r}, which is no prompt of the set; give its "
                "text as it is there, or its index"
            )
        if number in known:
            found.append((path, (number, repeat)))
    return found


def _rows(mapping: Path) -> list[tuple[int, dict[str, Any]]]:
    if not mapping.is_file():
        raise ValueError(f"mapping {mapping} does not exist")
    if mapping.suffix.lower() == ".csv":
        with mapping.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            return [(reader.line_num, row) for row in reader]
    if mapping.suffix.lower() == ".jsonl":
        lines = enumerate(mapping.read_text("utf-8-sig").splitlines(), 1)
        try:
            return [(number, dict(json.loads(line))) for number, line in lines if line.strip()]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{mapping} is not JSON lines of objects: {error}") from error
    raise ValueError(f"{mapping} ends in {mapping.suffix!r}, expected .csv or .jsonl")


def _letters(text: str) -> str:
    """What a file name keeps of a prompt whatever replaces its spaces and signs."""
    return re.sub(r"[\W_]+", "", text.casefold())
