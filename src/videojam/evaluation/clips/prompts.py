"""Sets of prompts: who is asked for what, with tags to look at parts of the results.

    read_prompt_set("videojam-128")                 # ours, docs/prompts.md
    read_prompt_set("MovieGenVideoBenchWithTag.csv")  # as it is published; the .txt beside it too
    read_prompt_set("VBench_full_info.json")        # in the vbench package

A .txt file has a prompt a line, a .csv a column `prompt` and a tag in every other column, a .jsonl
objects with `prompt` and tags. Several values of a tag are separated by commas. The columns image,
last_image, control and control_mask are no tags: they name files, as seen from the folder of the
set, that the clip of this prompt begins and ends with and that it follows.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

OWN = "videojam-128"
_OWN_FILE = Path(__file__).parents[1] / "prompts" / "videojam_128.csv"
FORMATS = (".txt", ".csv", ".jsonl", ".json")
FILES = ("image", "last_image", "control", "control_mask")


class Prompt(NamedTuple):
    """One prompt of a set."""

    number: int
    "Its place in the file, from 0; repeated prompts are counted and left out."
    text: str
    tags: dict[str, tuple[str, ...]]
    files: dict[str, Path]
    "What its clip is made from besides the text: any of FILES."


class PromptSet(NamedTuple):
    """The prompts of a file, each once."""

    name: str
    prompts: list[Prompt]
    repeated: list[int]
    "Places of prompts that had come before."

    def tags(self) -> dict[str, list[str]]:
        """Every tag with its values, in the order in which they come."""
        found: dict[str, dict[str, None]] = {}
        for prompt in self.prompts:
            for name, values in prompt.tags.items():
                found.setdefault(name, {}).update(dict.fromkeys(values))
        return {name: [*values] for name, values in found.items()}


def read_prompt_set(source: str | Path, first: int | None = None) -> PromptSet:
    """A set by name ("videojam-128") or from a file.

    first: take that many prompts, spread evenly over the set so that all its parts are there.
    Raises ValueError for a missing file, another format, a row without a prompt or with a file that
    is not there (named by its line), one text with two images, or no prompts.
    """
    path = _OWN_FILE if str(source) == OWN else Path(source)
    if not path.is_file():
        raise ValueError(
            f"{source} is neither a file nor {OWN!r}; give a file of prompts ({', '.join(FORMATS)})"
        )
    readers = {".txt": _txt, ".csv": _csv, ".jsonl": _jsonl, ".json": _vbench}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path} ends in {path.suffix!r}, expected one of {', '.join(FORMATS)}")
    try:
        rows = [*reader(path)]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    found: dict[str, Prompt] = {}
    repeated = []
    for number, (text, tags, files) in enumerate(rows):
        if text not in found:
            found[text] = Prompt(number, text, tags, files)
            continue
        repeated.append(number)
        if found[text].files != files:
            raise ValueError(
                f"{path} has {text!r} twice, with other images or controls, and clips are told "
                "apart by their text; give each words of its own"
            )
    if not found:
        raise ValueError(f"{path} has no prompts; write one a line")
    prompts = _spread([*found.values()], first)
    return PromptSet(OWN if path == _OWN_FILE else path.stem, prompts, repeated)


def _spread(prompts: list[Prompt], first: int | None) -> list[Prompt]:
    if first is None or first >= len(prompts):
        return prompts
    if first < 1:
        raise ValueError(f"{first} prompts asked for, expected at least 1")
    return [prompts[k * len(prompts) // first] for k in range(first)]


_Row = tuple[str, dict[str, tuple[str, ...]], dict[str, Path]]


def _txt(path: Path) -> Iterator[_Row]:
    for line in path.read_text("utf-8-sig").splitlines():
        if line.strip():
            yield line.strip(), {}, {}


def _csv(path: Path) -> Iterator[_Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for row in reader:
                yield _row(path, reader.line_num, row)
        except csv.Error as error:
            raise ValueError(f"{path}:{reader.line_num} is not CSV: {error}") from error


def _jsonl(path: Path) -> Iterator[_Row]:
    for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
        if line.strip():
            try:
                content = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}:{number} is not JSON: {error}") from error
            yield _row(path, number, content)


def _vbench(path: Path) -> Iterator[_Row]:
    """VBench's own list: objects with prompt_en and the dimensions that it is for."""
    try:
        content = json.loads(path.read_text("utf-8-sig"))
        rows = [(row["prompt_en"], row["dimension"]) for row in content]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is not VBench's list ({error!r}); expected objects with prompt_en and "
            "dimension, or give a .jsonl file of prompts"
        ) from error
    # A prompt may stand there more than once, for one dimension each.
    dimensions: dict[str, dict[str, None]] = {}
    for prompt, names in rows:
        dimensions.setdefault(prompt.strip(), {}).update(dict.fromkeys(names))
    for prompt, names in dimensions.items():
        yield prompt, {"dimension": tuple(names)}, {}


def _row(path: Path, line: int, row: Any) -> _Row:
    text = row.get("prompt") if isinstance(row, dict) else None
    if not isinstance(text, str) or not text.strip():
        has = sorted(map(str, row)) if isinstance(row, dict) else type(row).__name__
        raise ValueError(f"{path}:{line} has no prompt, only {has}; expected a column `prompt`")
    if None in row or None in row.values():
        raise ValueError(f"{path}:{line} has not as many values as there are columns")
    files = _files(path, line, row)
    named = ((str(name), _values(v)) for name, v in row.items() if name not in ("prompt", *FILES))
    return text.strip(), {name: values for name, values in named if values}, files


def _files(path: Path, line: int, row: dict[str, Any]) -> dict[str, Path]:
    files = {name: path.parent / str(row[name]).strip() for name in FILES if row.get(name)}
    for name, file in files.items():
        if not file.is_file():
            raise ValueError(f"{path}:{line} names the {name} {file}, which is no file")
    for name, needed in (("last_image", "image"), ("control_mask", "control")):
        if name in files and needed not in files:
            raise ValueError(f"{path}:{line} has a {name} and no {needed}; give both")
    return files


def _values(value: Any) -> tuple[str, ...]:
    parts: Iterable[Any] = value if isinstance(value, list) else str(value).split(",")
    return tuple(str(part).strip() for part in parts if str(part).strip())
