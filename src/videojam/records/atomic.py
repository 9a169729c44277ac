"""Writing files as a whole or not at all: beside, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videojam.records.object_store import Location, ObjectPath


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` if nothing was raised.

    Makes the folder. A writer that is killed leaves `path` as it was. A file is readable by whom
    the process's umask lets: safetensors writes it for its owner alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    yield part
    if part.is_file():
        part.chmod(part.stat().st_mode & 0o777 | 0o666 & ~_umask())
    part.replace(path)


def _umask() -> int:
    """Of this process; it can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def write_bytes(path: Location, content: bytes) -> None:
    """The content, on this machine or in a bucket."""
    if isinstance(path, ObjectPath):
        path.write_bytes(content)
        return
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path: Location, text: str) -> None:
    """The text as UTF-8, with the line ends that it has."""
    write_bytes(path, text.encode())
