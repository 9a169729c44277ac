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
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another {work} is writing to {folder}; wait for it or use another folder"
            ) from error
        yield
