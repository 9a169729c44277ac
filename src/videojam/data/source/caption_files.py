"""Rows of a captions file: .jsonl, .csv or .parquet, with the column names that tools use."""

import csv
import functools
import io
import json
from collections.abc import Iterator
from typing import NamedTuple

from videojam.records.object_store import Location, ObjectPath
from videojam.records.text_files import composed, lines, read_text

FORMATS = (".jsonl", ".csv", ".parquet")
PATH_COLUMNS = ("path", "video_path", "file_name", "video", "file")
CAPTION_COLUMNS = ("caption", "text", "prompt")


class Row(NamedTuple):
    """One row; number counts from 1. A missing value is an empty string."""

    number: int
    path: str
    captions: list[str]
    further: tuple[str, ...] = ()


def read_rows(captions: Location, further: tuple[str, ...] = ()) -> Iterator[Row]:
    """The rows in order; further: names of columns of text to read as well, where there are some.

    Raises ValueError that names file and row for what is not as expected.
    """
    for number, row in enumerate(_rows(captions, further), start=1):
        where = f"row {number} of {captions}"
        if not isinstance(row, dict):
            raise ValueError(f"{where} has {type(row).__name__}, expected path and caption")
        row = {str(name).strip(): value for name, value in row.items()}
        path = _value(row, PATH_COLUMNS, where)
        given = _value(row, CAPTION_COLUMNS, where)
        texts = given if isinstance(given, list) else [given]
        texts = ["" if text is None else text for text in texts]
        path = "" if path is None else path
        if not isinstance(path, str) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{where}: path and caption must be text (or a list of captions)")
        more = tuple(_text(row, name, where) for name in further)
        yield Row(number, path, [composed(str(text)).strip() for text in texts], more)


def has_column(captions: Location, name: str) -> bool:
    """Whether a row has something under this name."""
    return any(isinstance(row, dict) and row.get(name) for row in _rows(captions, (name,)))


def _rows(captions: Location, further: tuple[str, ...]) -> Iterator[object]:
    if not captions.is_file():
        raise ValueError(f"captions file {captions} does not exist")
    parquet = functools.partial(_parquet, further=further)
    reader = {".jsonl": _jsonl, ".csv": _csv, ".parquet": parquet}.get(captions.suffix.lower())
    if reader is None:
        raise ValueError(f"captions file {captions} is not one of {', '.join(FORMATS)}")
    return iter(reader(captions))


def _text(row: dict, name: str, where: str) -> str:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{where}: {name} is {type(value).__name__}, expected text or nothing")
    return (value or "").strip()


def _value(row: dict, names: tuple[str, ...], where: str) -> object:
    """The value of the first name, or of the only other one that is there."""
    found = [name for name in names if name in row]
    if not found:
        raise ValueError(
            f"{where} has columns {sorted(row)}, expected path and caption (or "
            f"{', '.join(PATH_COLUMNS[1:])}; {', '.join(CAPTION_COLUMNS[1:])})"
        )
    if len(found) > 1 and found[0] != names[0]:
        raise ValueError(f"{where} has {' and '.join(found)}; name the one to use {names[0]!r}")
    return row[found[0]]


def _jsonl(captions: Location) -> Iterator[object]:
    for number, text in lines(captions):
        try:
            yield json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"line {number} of {captions} is not JSON: {error}") from error


def _csv(captions: Location) -> Iterator[object]:
    reader = csv.DictReader(io.StringIO(read_text(captions), newline=""), strict=True)
    try:
        for number, row in enumerate(reader, start=1):
            columns = len(reader.fieldnames or ())
            if None in row:  # where the reader puts what is too much
                raise ValueError(
                    f"row {number} of {captions} has {columns + len(row[None])} fields, the header "
                    f'{columns}; put a caption with commas in quotes: "a ball, rolling"'
                )
            yield row
    except csv.Error as error:
        raise ValueError(f"captions file {captions} is not CSV: {error}") from error


def _parquet(captions: Location, further: tuple[str, ...] = ()) -> Iterator[object]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(captions.open() if isinstance(captions, ObjectPath) else captions)
        known = {*PATH_COLUMNS, *CAPTION_COLUMNS, *further}
        names = [name for name in file.schema_arrow.names if name in known]
        if not names:
            names = file.schema_arrow.names
        for batch in file.iter_batches(columns=names):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"captions file {captions} is not Parquet: {error}") from error
