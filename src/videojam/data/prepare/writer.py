"""Committing samples: several at a time, in order, each at most once."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import pyarrow as pa

from videojam.data import dataset
from videojam.data.captions import CaptionText, append_texts, replace_texts, texts_path
from videojam.data.prepare.report import Report
from videojam.data.prepare.rows import prepared_rows
from videojam.records.object_store import Location

_COMMITS_BETWEEN_COMPACTIONS = 256  # a commit rewrites a list of all fragments: keep it short
_WAITING_AT_MOST = 8  # commits whose samples may wait in memory for a compaction


@runtime_checkable
class Output(Protocol):
    """Where rows go: into the dataset (Direct), or into fragments for a later commit (shards)."""

    commit_samples: int

    def is_ready(self) -> bool: ...
    def prepared(self) -> pa.Table: ...
    def texts(self) -> pa.Table: ...
    def add_samples(self, samples: Sequence[dataset.Sample]) -> None: ...
    def add_texts(self, texts: Sequence[CaptionText]) -> list[CaptionText]: ...
    def replace_texts(self, keys: Sequence[str], texts: Sequence[CaptionText]) -> None: ...
    def close(self) -> None: ...


class Direct:
    """Every batch is one commit. Small fragments are merged beside the encoder, in a thread.

    No samples are committed meanwhile: Lance orders fragments by their numbers, and those merged
    would get later ones than those added during the merge, so rows would depend on the clock.
    """

    def __init__(self, path: Location, commit_samples: int, report: Report) -> None:
        self.path, self.commit_samples, self.report = path, commit_samples, report
        self.commits = 0
        self.thread = ThreadPoolExecutor(1)
        self.compaction: Future[None] | None = None

    def is_ready(self) -> bool:
        """Whether a commit would not have to wait."""
        return self.compaction is None or self.compaction.done()

    def prepared(self) -> pa.Table:
        """The rows that are there."""
        return prepared_rows(self.path)

    def texts(self) -> pa.Table:
        """The captions that are there."""
        return dataset.table(texts_path(self.path), ("text_key", "place", "caption"))

    def add_samples(self, samples: Sequence[dataset.Sample]) -> None:
        """One commit, after a compaction in progress."""
        self._wait()
        dataset.append(self.path, samples)
        self.commits += 1
        if self.commits % _COMMITS_BETWEEN_COMPACTIONS == 0:
            self.compaction = self.thread.submit(dataset.compact, self.path, clean=False)

    def add_texts(self, texts: Sequence[CaptionText]) -> list[CaptionText]:
        """One commit; returns what still waits: nothing."""
        if texts:
            append_texts(self.path, texts)
        return []

    def replace_texts(self, keys: Sequence[str], texts: Sequence[CaptionText]) -> None:
        """Corrected captions in the place of the old ones."""
        replace_texts(self.path, keys, texts)

    def close(self) -> None:
        """Wait for a compaction in progress."""
        self._wait()
        self.thread.shutdown()

    def _wait(self) -> None:
        if self.compaction is not None:
            running, self.compaction = self.compaction, None
            with self.report.time("compact"):
                running.result()


class Writer:
    """Samples wait here until they are committed together.

    commit_s: commit so long after the last commit, if output.commit_samples do not come sooner.
    """

    def __init__(self, output: Output, commit_s: float, report: Report) -> None:
        self.output, self.commit_s, self.report = output, commit_s, report
        self.waiting: list[dataset.Sample] = []
        self.last = time.perf_counter()

    def add(self, sample: dataset.Sample) -> None:
        """Take one more; it may be committed later."""
        self.waiting.append(sample)
        ready = self.output.is_ready()
        late = ready and time.perf_counter() - self.last >= self.commit_s
        enough = self.output.commit_samples * (1 if ready else _WAITING_AT_MOST)
        if late or len(self.waiting) >= enough:
            self.commit()

    def commit(self) -> None:
        """Commit what waits."""
        # Forgotten first: if Ctrl-C ends this commit halfway nobody can say whether it happened,
        # and a second try could write the rows twice. The next run finds out.
        samples, self.waiting = self.waiting, []
        if samples:
            with self.report.time("write"):
                self.output.add_samples(samples)
            self.report.prepared += len(samples)
        self.last = time.perf_counter()
