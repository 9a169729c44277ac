"""videojam lab-model: the embedded models, made from nothing."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from videojam.embedded.recipe import Recipe, make_lab_model
from videojam.training.loop import Stopped
from videojam.training.stop import stop_requests


@dataclass(frozen=True, kw_only=True, slots=True)
class LabModelArgs:
    """Simulate clips; train an autoencoder, a base, a control and VideoJAM on them.

    The same command again goes on where it was stopped.
    """

    out: Path = Path("runs/lab-model")
    "Folder of all stages; the models are its folders base, control and videojam."
    minutes: float | None = None
    "Stop after so long, saved; the exit status is 143, and the same command goes on."
    device: str = "cpu"
    "Where the autoencoder runs; training finds its own device."
    recipe: Annotated[Recipe, tyro.conf.arg(name="")] = Recipe()


def main(args: LabModelArgs) -> None:
    """Make them; exits with 143 after a stop that was asked for, or when the time is up."""
    if args.minutes is not None and not args.minutes > 0:
        raise ValueError(f"minutes is {args.minutes}, expected a positive number")
    try:
        with _stopping(args.minutes) as stop:
            model = make_lab_model(args.recipe, args.out, args.device, stop=stop)
    except Stopped as stopped:
        print(stopped)
        sys.exit(143)
    print(f"wrote {model}; compare with `videojam demo --models {args.out}`")


@contextmanager
def _stopping(minutes: float | None) -> Iterator[Callable[[], bool]]:
    """Whether a signal, or the end of the time, asked for a stop; trainings ask for themselves."""
    timer = threading.Timer(60 * (minutes or 0), os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    if minutes is not None:
        timer.start()
    try:
        with stop_requests() as stop:
            yield stop
    finally:
        timer.cancel()
