"""A stop that is asked for: the step is finished and saved first."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Within, the first SIGTERM or Ctrl-C sets a flag, which the yielded function reads."""
    asked: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        if asked:  # again: at once, whatever is going on; checkpoints are whole or not there
            raise KeyboardInterrupt
        asked.append(number)

    before = [signal.signal(s, ask) for s in signals]
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
