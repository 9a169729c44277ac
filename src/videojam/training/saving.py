"""When checkpoints of a run are written: at once, or while the next steps are made.

In the background, a copy in the machine's memory is written by a thread, as PyTorch's `async_save`
does it; that saves one set of tensors, and a checkpoint is three, which get their name together.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from videojam.training.checkpoints import Snapshot, snapshot, write_checkpoint
from videojam.training.config import TrainConfig


class Saver:
    """Writes a run's checkpoints, one at a time; used by every process alike."""

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        self._folder, self._keep = folder, (config.keep_checkpoints, config.keep_every)
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[Path] | None = None
        self._group: Any = None
        if config.checkpoint_in_background:
            self._thread = ThreadPoolExecutor(1, "checkpoint")
            if dist.is_initialized():  # of its own: the steps' messages must not mix with these
                self._group = dist.new_group(backend="gloo")

    def save(
        self,
        step: int,
        parameters: dict[str, torch.nn.Parameter],
        optimiser: torch.optim.Optimizer,
        schedule: Any,
        ema: Any | None,
    ) -> None:
        """A checkpoint of this moment, after the one before is there.

        Raises FloatingPointError for weights that are not finite, OSError if this checkpoint, or in
        the background the one before, cannot be written.
        """
        self.wait()
        taken = snapshot(step, parameters, optimiser, schedule, ema)
        if self._thread is None:
            write_checkpoint(self._folder, taken, *self._keep)
        else:
            self._writing = self._thread.submit(
                write_checkpoint, self._folder, _copied(taken), *self._keep, self._group
            )

    def wait(self) -> None:
        """Until nothing is being written. Raises OSError if that could not be done."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """End the thread, with what it is writing."""
        if self._thread is not None:
            self._thread.shutdown()


@contextlib.contextmanager
def saver(folder: Path, config: TrainConfig) -> Iterator[Saver]:
    """A Saver; at the end all is written, and if the run failed, its error is the one raised."""
    made = Saver(folder, config)
    try:
        yield made
        made.wait()
    finally:
        made.close()


def _copied(taken: Snapshot) -> Snapshot:
    """In the machine's memory, where further steps do not change it."""
    stager = DefaultStager(StagingOptions(False, False, False, False))
    tensors: Any = stager.stage(taken.tensors)
    stager.close()
    return taken._replace(tensors=tensors)
