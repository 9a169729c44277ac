"""Preparation on a Ray cluster: decoding and flow as tasks on its CPUs, encoders as actors.

The machine that was asked reads the results in order and writes all rows, as in one process: the
same rows. Work ahead is bounded, so clips do not pile up in the object store. A task whose machine
or process is gone is done again elsewhere, three times; then it costs its own file alone. An
encoder that is gone starts again where there is room.
"""

import functools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.encode import Encoders, Job
from videojam.data.prepare.report import Report
from videojam.data.prepare.runners import Batch, Results, batches, encode_batch
from videojam.data.prepare.stages import load_clip
from videojam.data.prepare.workers import WorkerDied, one_thread
from videojam.data.source.manifest import Dropped
from videojam.joint.text import Text
from videojam.motion.flow import FlowEstimator

_TRIES_AGAIN = 3


class Failed(NamedTuple):
    """An exception of ours in a task: it is raised where it was asked for, as in one process."""

    error: Exception


def _call(function: Callable[[Any], Any], task: Any) -> Any:
    one_thread()
    try:
        return function(task)
    except Exception as error:
        return Failed(error)


class _Encoder:
    """The model's parts on one GPU, or on a CPU of a cluster without."""

    def __init__(self, load: Callable[[], Encoders]) -> None:
        self.load, self.encoders = load, None

    def text(self, captions: list[str]) -> Any:
        try:
            return self._loaded().text(captions)
        except Exception as error:
            return Failed(error)

    def encode(self, jobs: list[Job], config: PrepareConfig, *clips: Any) -> Any:
        report = Report()
        try:
            batch = encode_batch(jobs, list(clips), config, self._loaded(), report)
        except Exception as error:
            return Failed(error)
        return batch, dict(report.seconds), dict(report.frames)

    def _loaded(self) -> Encoders:
        if self.encoders is None:
            self.encoders = self.load()
        return self.encoders


class OnRay:
    """See runners.Runner. load: makes the encoders, on each machine that encodes."""

    def __init__(self, config: PrepareConfig, load: Callable[[], Encoders]) -> None:
        self.config = config
        if not ray.is_initialized():
            # Without an address it would try the last cluster of this machine, gone or not.
            address = os.environ.get("RAY_ADDRESS", "local")
            ray.init(address, log_to_driver=False)
        gpus = int(ray.cluster_resources().get("GPU", 0))
        on: dict[str, Any] = {"num_gpus": 1} if gpus else {"num_cpus": 0}
        encoder = ray.remote(max_restarts=-1, max_task_retries=_TRIES_AGAIN, **on)(_Encoder)
        self.encoders: list[Any] = [encoder.remote(load) for _ in range(max(1, gpus))]
        self.call = ray.remote(num_cpus=1, max_retries=_TRIES_AGAIN)(_call)

    def text(self, captions: list[str]) -> list[Text]:
        """Captions through the text encoder of a machine."""
        return self._value(self.encoders[0].text.remote(captions))

    def close(self) -> None:
        """Give the machines of the encoders back."""
        for encoder in self.encoders:
            ray.kill(encoder)

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Results:
        """See Runner."""
        shared = ray.put(function)
        return self._ordered((([], self.call.remote(shared, task)) for task in tasks), 4)

    def encode(
        self, jobs: Iterator[Job], config: PrepareConfig, estimator: FlowEstimator, report: Report
    ) -> Generator[Batch, None, None]:
        """See Runner."""
        load = ray.put(functools.partial(load_clip, estimator=estimator))

        def started() -> Iterator[tuple[list[Job], Any]]:
            for number, batch in enumerate(batches(jobs, config.batch, lambda job: job.row.size)):
                clips = [self.call.remote(load, job.task) for job in batch]
                encoder = self.encoders[number % len(self.encoders)]
                yield batch, encoder.encode.remote(batch, config, *clips)

        for batch, found in self._ordered(started(), 2, with_item=True):
            if isinstance(found, WorkerDied):
                if len(batch) == 1:
                    yield [], [Dropped(batch[0].row.key, found.reason)]
                else:  # which of them was it?
                    alone = replace(config, batch=1)
                    yield from self.encode(iter(batch), alone, estimator, report)
                continue
            done, seconds, frames = found
            for stage, value in seconds.items():
                report.seconds[stage] += value
            for stage, value in frames.items():
                report.frames[stage] += value
            yield done

    def _ordered(
        self, started: Iterator[tuple[Any, Any]], ahead: int, with_item: bool = False
    ) -> Results:
        """Results in order; as many under way as the cluster has CPUs now, and some more."""
        pending: deque[tuple[Any, Any]] = deque()
        more = True
        try:
            while True:
                room = ahead * max(1, int(ray.cluster_resources().get("CPU", 1)))
                while more and len(pending) < room:
                    following = next(started, None)
                    more = following is not None
                    if following is not None:
                        pending.append(following)
                if not pending:
                    return
                item, reference = pending.popleft()
                value = self._value(reference)
                yield (item, value) if with_item else value
        finally:
            for _, reference in pending:
                ray.cancel(reference)

    def _value(self, reference: Any) -> Any:
        limit_s = self.config.task_timeout_s
        try:
            found = ray.get(reference, timeout=limit_s)
        except GetTimeoutError:
            ray.cancel(reference)
            return WorkerDied(f"took longer than {limit_s:g} s and was given up")
        except RayError as error:
            cause = error.cause if isinstance(error, RayTaskError) else error
            if not isinstance(cause, RayError):  # such as a module that a machine lacks
                raise
            kind = type(cause).__name__
            return WorkerDied(f"its worker process died {_TRIES_AGAIN + 1} times ({kind})")
        if isinstance(found, Failed):
            raise found.error
        return found
