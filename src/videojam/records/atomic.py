"""Writing files as a whole or not at all: beside, then renamed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videojam.records.object_store import Location, ObjectPath


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` if nothing was raised.

    Makes the folder. A writer that is killed leaves `path` as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    yield part
    part.replace(path)


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
