"""Where the work of a preparation is done: here, in worker processes (Local), or on a cluster."""

import functools
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.encode import Encoded, Encoders, Job, encode_clips
from videojam.data.prepare.report import Report, timed
from videojam.data.prepare.stages import ClipData, load_clip
from videojam.data.prepare.workers import WorkerDied, ordered_map
from videojam.data.source.manifest import Dropped
from videojam.motion.flow import FlowEstimator

Item = TypeVar("Item")
Results = Generator[Any, None, None]
Batch = tuple[list[Encoded], list[Dropped]]


@runtime_checkable
class Runner(Protocol):
    """Both give results in order, however many machines there are."""

    def map(
        self, function: Callable[[Any], Any], tasks: Iterable[Any]
    ) -> Generator[Any, None, None]:
        """function(task) for each; WorkerDied in the place of one that was not survived."""
        ...

    def encode(
        self, jobs: Iterator[Job], config: PrepareConfig, estimator: FlowEstimator, report: Report
    ) -> Generator[Batch, None, None]:
        """Load and encode clips; what comes out, and what had to be dropped."""
        ...


class Local:
    """Worker processes load clips, this process encodes them."""

    def __init__(self, config: PrepareConfig, encoders: Encoders) -> None:
        self.config, self.encoders = config, encoders

    def map(
        self, function: Callable[[Any], Any], tasks: Iterable[Any]
    ) -> Generator[Any, None, None]:
        """See Runner."""
        workers = self.config.num_workers
        return ordered_map(
            function, tasks, workers, ahead=4 * workers, timeout_s=self.config.task_timeout_s
        )

    def encode(
        self, jobs: Iterator[Job], config: PrepareConfig, estimator: FlowEstimator, report: Report
    ) -> Generator[Batch, None, None]:
        """See Runner."""
        ours, theirs = itertools.tee(jobs)  # no further apart than work is ahead
        clips = ordered_map(
            functools.partial(load_clip, estimator=estimator),
            (job.task for job in theirs),
            config.num_workers,
            config.prefetch + config.batch - 1,
            config.task_timeout_s,
        )
        loaded = timed(clips, report)
        try:
            for batch in batches(zip(ours, loaded, strict=True), config.batch, _size):
                yield encode_batch(
                    [job for job, _ in batch],
                    [clip for _, clip in batch],
                    config,
                    self.encoders,
                    report,
                )
        finally:
            loaded.close()


def _size(pair: tuple[Job, Any]) -> tuple[int, int]:
    return pair[0].row.size


def batches(
    items: Iterable[Item], number: int, size: Callable[[Item], Any]
) -> Iterator[list[Item]]:
    """Neighbours of one size, at most so many together."""
    waiting: list[Item] = []
    for item in items:
        if waiting and (len(waiting) == number or size(item) != size(waiting[0])):
            yield waiting
            waiting = []
        waiting.append(item)
        if len(waiting) == number:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def encode_batch(
    jobs: list[Job],
    clips: list[ClipData | Dropped | WorkerDied],
    config: PrepareConfig,
    encoders: Encoders,
    report: Report,
) -> Batch:
    """Encode what could be loaded."""
    good, loaded, dropped = [], [], []
    for job, clip in zip(jobs, clips, strict=True):
        if isinstance(clip, ClipData):
            report.count_clip(clip)
            good.append(job)
            loaded.append(clip)
        else:
            dropped.append(Dropped(job.row.key, clip.reason))
    return encode_clips(good, loaded, config, encoders, report), dropped
