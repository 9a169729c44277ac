"""One process at a time writes to a folder: an operating system's lock, let go with its process."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def holding(folder: Path, work: str, name: str = "lock") -> Iterator[None]:
    """Hold the folder, which is made, or with another name a part of it.

    A holder that is killed lets go. work: what holds it, for the message. Raises ValueError if
    another process does.
    """
    with held(folder, name) as mine:
        if not mine:
            raise ValueError(
                f"another {work} is writing to {folder}; wait for it or use another folder"
            )
        yield


@contextmanager
def held(folder: Path, name: str = "lock", *, wait: bool = False) -> Iterator[bool]:
    """Within, whether this process alone works in the folder; for processes that share work.

    wait: until the other one lets go, so that it is always True.
    """
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
