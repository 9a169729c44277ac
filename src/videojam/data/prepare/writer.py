"""Committing samples: several at a time, in order, each at most once."""

import time
from pathlib import Path

from videojam.data import dataset
from videojam.data.prepare.report import Report

_COMMITS_BETWEEN_COMPACTIONS = 256  # a commit rewrites a list of all fragments: keep it short


class Writer:
    """Samples wait here until they are committed together.

    commit_samples, commit_s: commit when so many wait, or so long after the last commit.
    """

    def __init__(self, path: Path, commit_samples: int, commit_s: float, report: Report) -> None:
        self.path, self.report = path, report
        self.commit_samples, self.commit_s = commit_samples, commit_s
        self.waiting: list[dataset.Sample] = []
        self.commits = 0
        self.last = time.perf_counter()

    def add(self, sample: dataset.Sample) -> None:
        """Take one more; it may be committed later."""
        self.waiting.append(sample)
        late = time.perf_counter() - self.last >= self.commit_s
        if late or len(self.waiting) >= self.commit_samples:
            self.commit()

    def commit(self) -> None:
        """Commit what waits."""
        # Forgotten first: if Ctrl-C ends this commit halfway nobody can say whether it happened,
        # and a second try could write the rows twice. The next run finds out.
        samples, self.waiting = self.waiting, []
        if samples:
            with self.report.time("write"):
                dataset.append(self.path, samples)
            self.report.prepared += len(samples)
            self.commits += 1
            if self.commits % _COMMITS_BETWEEN_COMPACTIONS == 0:
                with self.report.time("compact"):
                    dataset.compact(self.path)
        self.last = time.perf_counter()
