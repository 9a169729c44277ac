"""Parts of one preparation on machines that share nothing but the output folder.

Shard i of n takes the i-th stretch of the sorted videos. It writes Lance fragments that no version
names, and a line for each in shards/i-of-n.jsonl, so it resumes like any preparation. When all are
finished, join() commits the fragments in order: the rows of one machine, in the same order.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from videojam.data import dataset
from videojam.data.prepare.parts import Shard
from videojam.data.prepare.rows import prepared_rows
from videojam.records.object_store import Location

_ROW = ("key", "source", "source_bytes", "clip_index", "start_s", "height", "width", "split")
_TEXT = ("text_key", "place", "caption")


class ShardOutput:
    """Rows as fragments and lines that name them; see writer.Output."""

    def __init__(self, samples: Path, shard: Shard, commit_samples: int) -> None:
        self.samples, self.commit_samples = samples, commit_samples
        self.lines = samples.parent / "shards" / f"{shard.name}.jsonl"

    def is_ready(self) -> bool:
        """Always: nothing is merged before the shards are joined."""
        return True

    def prepared(self) -> pa.Table:
        """Rows of the dataset and of all shards."""
        tables = [prepared_rows(self.samples)]
        tables += [_table(line["rows"], tables[0].schema) for line in self._all("rows")]
        return pa.concat_tables(tables)

    def texts(self) -> pa.Table:
        """Captions of the dataset and of all shards."""
        tables = [dataset.table(dataset.texts_path(self.samples), _TEXT)]
        tables += [_table(line["texts"], tables[0].schema) for line in self._all("texts")]
        return pa.concat_tables(tables)

    def add_samples(self, samples: Sequence[dataset.Sample]) -> None:
        """Write one fragment, then the line that makes it count."""
        rows = [{name: getattr(sample, name) for name in _ROW} for sample in samples]
        self._write({"rows": rows, "files": dataset.write_fragments(self.samples, samples)})

    def add_texts(self, texts: Sequence[dataset.CaptionText]) -> list[dataset.CaptionText]:
        """The same for captions."""
        if texts:
            rows = [{name: getattr(text, name) for name in _TEXT} for text in texts]
            files = dataset.write_text_fragments(self.samples, texts)
            self._write({"texts": rows, "files": files})
        return []

    def replace_texts(self, keys: Sequence[str], texts: Sequence[dataset.CaptionText]) -> None:
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

    def _write(self, line: dict) -> None:
        self.lines.parent.mkdir(parents=True, exist_ok=True)
        with self.lines.open("ab+") as file:
            if file.tell() and file.seek(-1, 2) >= 0 and file.read(1) != b"\n":
                file.write(b"\n")  # ends the half line of a killed run
            file.write(json.dumps(line).encode() + b"\n")

    def _all(self, kind: str) -> list[dict]:
        files = sorted(self.lines.parent.glob("*-of-*.jsonl"))
        return [line for file in files for line in _lines(file) if kind in line]


def shards_there(samples: Location) -> bool:
    """True if shards have written rows that are not joined yet."""
    if not isinstance(samples, Path):
        return False
    return any(any(_lines(file)) for file in (samples.parent / "shards").glob("*-of-*.jsonl"))


def join(samples: Path) -> int:
    """Commit what the shards wrote; returns the number of rows.

    Stopped at any moment and run again it commits every fragment once. Raises ValueError while a
    shard is not finished, naming it.
    """
    folder = samples.parent / "shards"
    files = sorted(folder.glob("*-of-*.jsonl"), key=_number)
    if not files:
        raise ValueError(f"no shards at {folder}; prepare with --shard 1/n to n/n first")
    total = {int(file.stem.partition("-of-")[2]) for file in files}
    if len(total) != 1:
        raise ValueError(f"{folder} holds shards of several numbers of parts: {sorted(total)}")
    lines = {_number(file): _lines(file) for file in files}
    unfinished = [
        f"{number}/{total_}"
        for total_ in total
        for number in range(1, total_ + 1)
        if not any("finished" in line for line in lines.get(number, []))
    ]
    if unfinished:
        raise ValueError(f"shards {', '.join(unfinished)} are not finished; run them to their end")
    every = [line for number in sorted(lines) for line in lines[number]]
    dataset.commit_fragments(
        dataset.texts_path(samples), [line["files"] for line in every if "texts" in line]
    )
    dataset.commit_fragments(samples, [line["files"] for line in every if "rows" in line])
    for file in files:  # before anything is merged: the lines name files that merging replaces
        file.replace(file.with_suffix(".joined"))
    return sum(len(line["rows"]) for line in every if "rows" in line)


def _number(file: Path) -> int:
    return int(file.stem.partition("-of-")[0])


def _lines(file: Path) -> list[dict]:
    """Whole lines; half a line, of a killed shard, names nothing."""
    found = []
    for line in file.read_text("utf-8").split("\n"):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def _table(rows: list[dict], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)
