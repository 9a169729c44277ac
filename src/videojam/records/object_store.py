"""Files in a bucket, s3://bucket/folder/file, with the few methods of a Path that are used here.

Through pyarrow's own client, which reads the usual environment: AWS_ACCESS_KEY_ID and the like,
AWS_REGION, and AWS_ENDPOINT_URL for a store that is not Amazon's. An object appears whole or not
at all, so nothing is written beside and renamed.
"""

import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Stat(NamedTuple):
    """Of an object, under the names of os.stat_result."""

    st_size: int  # bytes
    st_mtime_ns: int


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """An object, or a folder of objects; s3:// only."""

    url: str  # without a slash at its end

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(f"{self.url}/{name.strip('/')}")

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return os.path.splitext(self.name)[1]

    @property
    def parent(self) -> "ObjectPath":
        return ObjectPath(self.url.rpartition("/")[0])

    def with_name(self, name: str) -> "ObjectPath":
        return self.parent / name

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        return self._info().is_file

    def is_dir(self) -> bool:
        return self._info().type.name == "Directory"

    def stat(self) -> Stat:
        """Raises FileNotFoundError if there is no such object."""
        info = self._info()
        if not info.is_file:
            raise FileNotFoundError(2, "no such object", self.url)
        return Stat(info.size, info.mtime_ns)

    def open(self, mode: str = "rb") -> Any:
        """For reading bytes, anywhere in the object."""
        assert mode == "rb"
        return _client().open_input_file(self._place())

    def read_bytes(self) -> bytes:
        with self.open() as file:
            return file.read()

    def read_text(self, encoding: str) -> str:
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        with _client().open_output_stream(self._place()) as file:
            file.write(content)

    def unlink(self) -> None:
        _client().delete_file(self._place())

    def files(self) -> Iterator[tuple[str, Stat]]:
        """All objects below: their path relative to this, with what is known of them."""
        from pyarrow.fs import FileSelector

        start = self._place() + "/"
        for info in _client().get_file_info(
            FileSelector(start, allow_not_found=True, recursive=True)
        ):
            if info.is_file:
                yield info.path.removeprefix(start), Stat(info.size, info.mtime_ns)

    def _place(self) -> str:
        return self.url.partition("://")[2]

    def _info(self) -> Any:
        return _client().get_file_info(self._place())


Location = Path | ObjectPath
"On this machine or in a bucket"


def location(path: str | Location) -> Location:
    """The path, or the bucket that it names: a Path makes s3:/bucket of s3://bucket.

    Raises ValueError for other addresses.
    """
    if isinstance(path, ObjectPath):
        return path
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", str(path))
    if match is None:
        return Path(path)
    scheme, place = match.groups()
    if scheme != "s3" or not place:
        raise ValueError(
            f"{path} is no path on this machine; of object storage s3://bucket/folder is read here"
        )
    return ObjectPath(f"s3://{place.rstrip('/')}")


def work_folder(path: Location) -> Path:
    """Where what belongs to this machine alone lies: the folder itself, or for one in a bucket a
    folder in the user's cache."""
    if isinstance(path, Path):
        return path
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "videojam" / re.sub(r"[^A-Za-z0-9.-]+", "_", path.url)


def lance_options() -> dict[str, str]:
    """What Lance's client has to be told of the same environment."""
    endpoint = _endpoint()
    options = {"region": os.environ.get("AWS_REGION", "us-east-1")}
    if endpoint:
        options |= {"endpoint": endpoint, "allow_http": str(endpoint.startswith("http:")).lower()}
    return options


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT")


@functools.cache
def _client() -> Any:
    from pyarrow.fs import S3FileSystem

    endpoint = _endpoint()
    scheme, _, host = (endpoint or "").partition("://")
    where = {"scheme": scheme, "endpoint_override": host} if endpoint else {}
    return S3FileSystem(region=os.environ.get("AWS_REGION"), **where)
