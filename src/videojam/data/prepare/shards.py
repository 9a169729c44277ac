"""Parts of one preparation on machines that share nothing but the output, a folder or a bucket.

Shard i of n takes the i-th stretch of the sorted videos. It writes Lance fragments that no version
names, and for each a note in shards/i-of-n/, whole or not at all, so it resumes like any
preparation. When all are finished, join() commits the fragments in order: the rows of one machine,
in the same order.
"""

# pyarrow makes its compute functions when it is imported.
# pyright: reportAttributeAccessIssue=false

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from videojam.data import dataset
from videojam.data.captions import CaptionText, texts_path, write_text_fragments
from videojam.data.prepare.parts import Shard
from videojam.data.prepare.rows import prepared_rows
from videojam.records.atomic import write_text
from videojam.records.object_store import Location, ObjectPath

Kept = TypeVar("Kept")

_ROW = ("key", "source", "source_bytes", "clip_index", "start_s", "height", "width", "split")
_TEXT = ("text_key", "place", "caption")
_READ_AT_ONCE = 32  # notes, which from a bucket are a request each


class ShardOutput:
    """Rows as fragments and notes that name them; see writer.Output."""

    def __init__(self, samples: Location, shard: Shard, commit_samples: int) -> None:
        self.samples, self.commit_samples = samples, commit_samples
        self.notes = _folder(samples) / shard.name
        there = [int(name.partition(".")[0]) for name in _files(self.notes)]
        self.numbers = itertools.count(max(there, default=-1) + 1)

    def is_ready(self) -> bool:
        """Always: nothing is merged before the shards are joined."""
        return True

    def prepared(self) -> pa.Table:
        """Rows of the dataset and of all shards."""
        return self._with_notes(prepared_rows(self.samples), "rows")

    def texts(self) -> pa.Table:
        """Captions of the dataset and of all shards."""
        return self._with_notes(dataset.table(texts_path(self.samples), _TEXT), "texts")

    def add_samples(self, samples: Sequence[dataset.Sample]) -> None:
        """Write one fragment, then the note that makes it count."""
        rows = [{name: getattr(sample, name) for name in _ROW} for sample in samples]
        self._write({"rows": rows, "files": dataset.write_fragments(self.samples, samples)})

    def add_texts(self, texts: Sequence[CaptionText]) -> list[CaptionText]:
        """The same for captions."""
        if texts:
            rows = [{name: getattr(text, name) for name in _TEXT} for text in texts]
            files = write_text_fragments(self.samples, texts)
            self._write({"texts": rows, "files": files})
        return []

    def replace_texts(self, keys: Sequence[str], texts: Sequence[CaptionText]) -> None:
        """Refused: only the dataset itself can replace rows."""
        raise ValueError(
            f"captions of prepared videos have changed ({', '.join(keys[:5])}); join the shards, "
            "then prepare once without --shard, which encodes these captions alone"
        )

    def finish(self) -> None:
        """Say that nothing of this part is missing."""
        self._write({"finished": True})

    def close(self) -> None:
        """Nothing to wait for."""

    def _write(self, note: dict[str, Any]) -> None:
        write_text(self.notes / f"{next(self.numbers):08d}.json", json.dumps(note))

    def _with_notes(self, there: pa.Table, kind: str) -> pa.Table:
        folder = _folder(self.samples)
        names = [name for names in _shards(folder).values() for name in names]

        def rows(note: dict[str, Any]) -> pa.Table:
            return pa.Table.from_pylist(note.get(kind, []), there.schema)

        return pa.concat_tables([there, *_read(folder, names, rows)])


def refuse_shards(samples: Location) -> None:
    """ValueError if shards have written rows that are not joined yet."""
    waiting = _shards(_folder(samples))
    if waiting:
        raise ValueError(
            f"{_folder(samples)} holds shards that wait to be joined "
            f"({', '.join(sorted(waiting))}); finish them and run --join, or delete that folder"
        )


def shards_there(samples: Location) -> bool:
    """True if shards have written rows that are not joined yet."""
    return bool(_shards(_folder(samples)))


class _Note(NamedTuple):
    """What joining needs of a note: what it is of, its first row, how many, and its fragment."""

    kind: str  # "rows", "texts" or "finished"
    first: str = ""
    rows: int = 0
    files: str = ""


def join(samples: Location) -> int:
    """Commit what the shards wrote; returns the number of rows.

    Stopped at any moment and run again it commits every fragment once. Raises ValueError while a
    shard is not finished, naming it.
    """
    folder = _folder(samples)
    files = _shards(folder)
    if not files:
        raise ValueError(f"no shards at {folder}; prepare with --shard 1/n to n/n first")
    totals = {int(name.partition("-of-")[2]) for name in files}
    if len(totals) != 1:
        raise ValueError(f"{folder} holds shards of several numbers of parts: {sorted(totals)}")
    (total,) = totals
    notes: dict[str, _Note] = {}
    unfinished = []
    for number in range(1, total + 1):
        names = files.get(f"{number}-of-{total}", [])
        found = dict(zip(names, _read(folder, names, _short), strict=True))
        if not any(note.kind == "finished" for note in found.values()):
            unfinished.append(f"{number}/{total}")
        notes |= found
    if unfinished:
        raise ValueError(f"shards {', '.join(unfinished)} are not finished; run them to their end")
    _commit(texts_path(samples), "texts", "text_key", [*notes.values()])
    _commit(samples, "rows", "key", [*notes.values()])
    # What says that shards are finished goes last, so that a stopped join can be run again.
    for name in sorted(notes, key=lambda name: notes[name].kind == "finished"):
        (folder / name).unlink()
    return sum(note.rows for note in notes.values() if note.kind == "rows")


def _commit(path: Location, kind: str, key: str, notes: Sequence[_Note]) -> None:
    """The fragments of this kind whose rows are not there from a join that was stopped."""
    written = [note for note in notes if note.kind == kind]
    firsts = pa.array([note.first for note in written], pa.string())
    there = pc.is_in(firsts, value_set=dataset.table(path, (key,))[key])
    new = [note for note, known in zip(written, there.to_pylist(), strict=True) if not known]
    dataset.commit_fragments(path, [note.files for note in new])


def _short(note: dict[str, Any]) -> _Note:
    if "rows" in note:
        return _Note("rows", note["rows"][0]["key"], len(note["rows"]), note["files"])
    if "texts" in note:
        return _Note("texts", note["texts"][0]["text_key"], len(note["texts"]), note["files"])
    return _Note("finished")


def _folder(samples: Location) -> Location:
    return samples.parent / "shards"


def _shards(folder: Location) -> dict[str, list[str]]:
    """The notes of each shard by its name, in order."""
    found: dict[str, list[str]] = {}
    for name in _files(folder):
        shard, _, note = name.partition("/")
        if note:
            found.setdefault(shard, []).append(name)
    return found


def _files(folder: Location) -> list[str]:
    """Relative paths of the notes below, in order."""
    if isinstance(folder, ObjectPath):
        names: Iterator[str] = (name for name, _ in folder.files())
    else:
        names = (path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    return sorted(name for name in names if name.endswith(".json"))


def _read(folder: Location, names: Sequence[str], keep: Callable[[dict], Kept]) -> list[Kept]:
    """What is kept of each note."""

    def read(name: str) -> Kept:
        return keep(json.loads((folder / name).read_text("utf-8")))

    with ThreadPoolExecutor(_READ_AT_ONCE) as threads:
        return list(threads.map(read, names))
