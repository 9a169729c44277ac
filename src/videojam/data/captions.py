"""The captions of a prepared dataset, and what each becomes for the model: texts.lance.

One row per caption, beside samples.lance (dataset.py): so a caption is corrected without touching
latents, clips of one video share theirs, and a clip may have several. Rows hold checksums.
"""

# pyarrow makes its compute functions when it is imported.
# pyright: reportAttributeAccessIssue=false

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import safetensors.torch
from jaxtyping import Int64

from videojam.data.lance_table import (
    LanceDataset,
    append_rows,
    open_dataset,
    quoted,
    replace_rows,
    write_files,
)
from videojam.joint.text import Text
from videojam.records.object_store import Location

_CODEC = "zstd"


class CaptionText(NamedTuple):
    """One caption of a video or clip; place counts the captions of one text_key from 0."""

    text_key: str
    place: int
    caption: str
    text: Text


TEXT_SCHEMA = pa.schema(
    [
        ("text_key", pa.string()),
        ("place", pa.int32()),
        ("caption", pa.string()),
        ("text", pa.large_binary()),
        ("text_bytes", pa.int64()),  # before compression
        ("checksum", pa.int64()),  # CRC-32 of the compressed text
    ]
)


def texts_path(path: Location) -> Location:
    """Where the captions of the samples in `path` are."""
    return path.with_name("texts.lance")


def append_texts(path: Location, texts: Sequence[CaptionText]) -> None:
    """Add captions as one atomic commit."""
    append_rows(texts_path(path), _texts_table(texts))


def replace_texts(path: Location, text_keys: Sequence[str], texts: Sequence[CaptionText]) -> None:
    """Put these captions in the place of all that the keys had, as one atomic commit."""
    counts = {key: 0 for key in text_keys}
    for text in texts:
        counts[text.text_key] += 1
    # Captions that have become fewer.
    surplus = [f"(text_key = {quoted(k)} AND place >= {n})" for k, n in counts.items()]
    rows = _texts_table(texts)
    replace_rows(texts_path(path), rows, ("text_key", "place"), " OR ".join(surplus))


def write_text_fragments(path: Location, texts: Sequence[CaptionText]) -> str:
    """Files with these captions that no version names yet, for dataset.commit_fragments."""
    return write_files(texts_path(path), _texts_table(texts))


class Texts(NamedTuple):
    """The table of one version, and where the captions of a text_key are."""

    table: LanceDataset
    keys: pa.Array  # text_key of the rows, sorted
    rows: Int64[np.ndarray, "n"]


def open_texts(path: Location, held: str | None = None) -> Texts:
    """The captions of the samples in `path`, for reading."""
    texts = open_dataset(texts_path(path), held)
    found = texts.to_table(columns=["text_key", "place"])
    order = pc.sort_indices(found, [("text_key", "ascending"), ("place", "ascending")])
    keys = found["text_key"].combine_chunks().take(order)
    return Texts(texts, keys, order.to_numpy())


def caption_rows(texts: Texts, text_key: str) -> np.ndarray:
    """The rows of its captions, by place."""
    first, last = _bisect(texts.keys, text_key, False), _bisect(texts.keys, text_key, True)
    return texts.rows[first:last]


def packed(text: Text) -> tuple[bytes, int]:
    """Compressed for a row, and the bytes that it had before: most of a text is padding."""
    whole = safetensors.torch.save({k: v.contiguous() for k, v in text.items()})
    return pa.compress(whole, _CODEC, asbytes=True), len(whole)


def unpacked(data: bytes, length: int) -> Text:
    """What was packed, from `length` bytes."""
    return safetensors.torch.load(pa.decompress(data, length, _CODEC, asbytes=True))


def checksum(*parts: bytes) -> int:
    """CRC-32 of the parts in a row."""
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return value


def check(expected: int, key: str, what: str, *parts: bytes) -> None:
    """Raises ValueError that names the row whose bytes are not those that were written."""
    if checksum(*parts) != expected:
        raise ValueError(
            f"the {what} of {key} are not what was written (checksum): the file is damaged; "
            "restore it, or prepare into a new output folder"
        )


def _texts_table(texts: Sequence[CaptionText]) -> pa.Table:
    rows = []
    for text in texts:
        data, length = packed(text.text)
        row = text._asdict() | {"text": data, "text_bytes": length}
        rows.append(row | {"checksum": checksum(data)})
    return pa.Table.from_pylist(rows, schema=TEXT_SCHEMA)


def _bisect(keys: pa.Array, key: str, right: bool) -> int:
    """The first place whose key is not below (right: is above) the given one, byte by byte."""
    low, high, wanted = 0, len(keys), key.encode()
    while low < high:
        middle = (low + high) // 2
        at = keys[middle].as_py().encode()
        if at < wanted or (right and at == wanted):
            low = middle + 1
        else:
            high = middle
    return low
