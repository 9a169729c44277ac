"""Denoising steps as they are made, for a progress bar of one's own in place of the pipeline's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _Steps:
    """What a pipeline takes for its progress bar."""

    def __init__(self, iterable: Any, on_step: Callable[[], None]) -> None:
        self._iterable, self.update = iterable, lambda count=1: on_step()

    def __enter__(self) -> "_Steps":
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        for item in self._iterable:
            yield item
            self.update()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None  # what else a bar can: descriptions, postfixes


@contextmanager
def reporting_steps(pipe: Any, on_step: Callable[[], None] | None) -> Iterator[None]:
    """Within, the pipeline shows no bar and calls `on_step` after each denoising step."""
    if on_step is None:
        yield
        return
    pipe.progress_bar = lambda iterable=None, total=None: _Steps(iterable or (), on_step)
    try:
        yield
    finally:
        del pipe.progress_bar
