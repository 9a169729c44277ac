"""The prepared dataset: what a row holds, written and read. lance_table.py has the table itself.

samples.lance has one row per clip, with its latents. texts.lance beside it has one row per caption
(captions.py). Rows hold checksums of their tensors.
"""

# pyarrow makes its compute functions when it is imported.
# pyright: reportAttributeAccessIssue=false

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from videojam.data.captions import (
    TEXT_SCHEMA,
    CaptionText,
    Texts,
    append_texts,
    caption_rows,
    check,
    checksum,
    open_texts,
    packed,
    texts_path,
    unpacked,
)
from videojam.data.lance_table import (
    LanceDataset,
    append_rows,
    commit_files,
    compact_table,
    count,
    delete_rows,
    exists,
    hold_version,
    is_read_only,
    open_dataset,
    quoted,
    release_version,
    write_files,
)
from videojam.joint.text import Text
from videojam.records.object_store import Location


class Sample(NamedTuple):
    """One clip, ready for training. Latents and text are float16 or float32, as configured."""

    key: str  # "<path>#<number>", unique
    source: str  # path of the video, relative to the folder
    source_bytes: int
    clip_index: int
    start_s: float
    caption: str
    split: str  # "train" or "validation"
    height: int  # pixels
    width: int  # pixels
    frames: int
    fps: float
    source_fps: float
    flow_mean_px: float  # mean magnitude over all pixels and frames
    flow_saturated: float  # share of pixels whose colour saturates
    x: Float[Tensor, "c t h w"]  # appearance latents
    d: Float[Tensor, "c t h w"]  # motion latents
    text: Text  # what the prompt becomes for the transformer; empty: in the texts already
    text_key: str = ""  # whose captions it has: its video's, or by default its own (its key)
    image: Text | None = None  # what the transformer is given of its image, if the model takes one;
    # or of its control clip, empty for a sample without one


_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("source_bytes", pa.int64()),
        ("clip_index", pa.int32()),
        ("start_s", pa.float64()),
        ("split", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("frames", pa.int32()),
        ("fps", pa.float64()),
        ("source_fps", pa.float64()),
        ("flow_mean_px", pa.float64()),
        ("flow_saturated", pa.float64()),
        ("x", pa.large_binary()),
        ("d", pa.large_binary()),
        ("latent_shape", pa.list_(pa.int32())),
        ("latent_dtype", pa.string()),
        ("checksum", pa.int64()),  # CRC-32 of x and d
        ("text_key", pa.string()),
    ]
)
# Of datasets for models that start from an image; others have the columns above alone.
_IMAGE_COLUMNS = (
    ("image", pa.large_binary()),
    ("image_bytes", pa.int64()),  # before compression
    ("image_checksum", pa.int64()),  # CRC-32 of the compressed image
)
_IMAGE_SCHEMA = pa.schema([*_SCHEMA, *(pa.field(*column) for column in _IMAGE_COLUMNS)])


def append(path: Location, samples: Sequence[Sample]) -> None:
    """Add rows in this order as one atomic commit; the first one creates the dataset.

    Samples that bring a text have it added first, so a row never lacks its caption.
    """
    own = [CaptionText(s.text_key or s.key, 0, s.caption, s.text) for s in samples if s.text]
    if own:
        append_texts(path, own)
    append_rows(path, _samples_table(samples))


def remove_sources(path: Location, sources: Sequence[str]) -> None:
    """Take the rows and captions of these videos out; versions that are held keep them."""
    for table, column in ((path, "source"), (texts_path(path), "text_key")):
        for start in range(0, len(sources), 500):
            names = ", ".join(map(quoted, sources[start : start + 500]))
            delete_rows(table, f"{column} IN ({names})")


def hold(path: Location, name: str) -> str | None:
    """Keep the newest version for a reader under this name, or go on with what it held before.

    Returns the name. The rows that it sees are the same from now on, until release(). None for a
    dataset that cannot be written to, in which nothing changes from here.
    """
    if is_read_only(path):
        return None
    for table in (texts_path(path), path):  # of rows seen, the captions are there
        hold_version(table, name)
    return name


def release(path: Location, name: str) -> None:
    """Let go of a version that was held."""
    for table in (path, texts_path(path)):
        release_version(table, name)


def table(path: Location, names: Sequence[str], held: str | None = None) -> pa.Table:
    """These small columns of all rows, in row order; no rows where nothing was prepared."""
    if not exists(path):
        return pa.schema([_schema(path).field(name) for name in names]).empty_table()
    return open_dataset(path, held).to_table(columns=list(names))


def row_order(path: Location, held: str | None = None) -> Int64[np.ndarray, "n"]:
    """The row numbers by video, then by time: an order that does not tell how rows came in.

    Rows lie as they were committed, one preparation after another, and merging fragments may move
    them; what a training reads at a step shall depend on neither.
    """
    found = table(path, ("source", "start_s", "clip_index"), held)
    sources = found["source"].combine_chunks().dictionary_encode()
    alphabet = pc.sort_indices(sources.dictionary).to_numpy()
    rank = np.empty(len(alphabet), dtype=np.int64)
    rank[alphabet] = np.arange(len(alphabet))
    videos = rank[sources.indices.to_numpy()]
    return np.lexsort((found["clip_index"].to_numpy(), found["start_s"].to_numpy(), videos))


def columns(path: Location, names: Sequence[str]) -> list[dict]:
    """The same as Python objects, for few rows."""
    return table(path, names).to_pylist()


def first_clips(path: Location, names: Sequence[str], number: int) -> list[dict]:
    """So many rows: the first clip of every video, then the second ones."""
    rows: list[dict] = []
    total = count(path)
    for index in range(total):
        scanner = open_dataset(path).scanner(
            columns=list(names), filter=f"clip_index = {index}", limit=number - len(rows)
        )
        rows += scanner.to_table().to_pylist()
        if len(rows) >= min(number, total):
            break
    return rows


def rows_of(path: Location, keys: Sequence[str], names: Sequence[str]) -> list[dict]:
    """These small columns, "key" among them, of a few samples in the order asked for.

    A key that has no row is passed over.
    """
    wanted = f"key IN ({', '.join(map(quoted, keys))})"
    rows = open_dataset(path).to_table(columns=list(names), filter=wanted).to_pylist()
    found = {row["key"]: row for row in rows}
    return [found[key] for key in keys if key in found]


def _schema(path: Location) -> pa.Schema:
    return TEXT_SCHEMA if path.name == texts_path(path).name else _SCHEMA


class Reader(NamedTuple):
    """Both tables of one version."""

    samples: LanceDataset
    texts: Texts


def reader(path: Location, held: str | None = None) -> Reader:
    """Open a dataset for reading samples. Raises ValueError where nothing was prepared."""
    return Reader(open_dataset(path, held), open_texts(path, held))


def captions_of(path: Location, text_keys: Sequence[str]) -> list[str]:
    """The first caption of each, for showing a few samples."""
    texts = open_texts(path)
    rows = [int(caption_rows(texts, key)[0]) for key in text_keys]
    return texts.table.take(rows, columns=["caption"])["caption"].to_pylist() if rows else []


def read(
    opened: Reader,
    rows: Sequence[int] | np.ndarray,
    choices: Sequence[int] | np.ndarray | None = None,
) -> list[Sample]:
    """The samples in these rows, in the order asked for; a row may be asked for twice.

    choices: a whole number for each; it takes caption number (choice mod captions). Default the
    first. Raises ValueError that names a row whose bytes are not those that were written.
    """
    found = opened.samples.take([int(row) for row in rows]).to_pylist()
    chosen = []
    for place, row in enumerate(found):
        captions = caption_rows(opened.texts, row["text_key"])
        if not len(captions):
            raise ValueError(f"{row['key']} has no caption in {opened.texts.table.uri}")
        choice = 0 if choices is None else int(choices[place])
        chosen.append(int(captions[choice % len(captions)]))
    texts = opened.texts.table.take(chosen).to_pylist()
    samples = []
    for row, text in zip(found, texts, strict=True):
        check(row.pop("checksum"), row["key"], "latents", row["x"], row["d"])
        check(text["checksum"], row["key"], "text", text["text"])
        latent_shape, latent_dtype = row.pop("latent_shape"), row.pop("latent_dtype")
        row["x"] = _from_bytes(row["x"], latent_shape, latent_dtype)
        row["d"] = _from_bytes(row["d"], latent_shape, latent_dtype)
        row["caption"] = text["caption"]
        row["text"] = unpacked(text["text"], text["text_bytes"])
        row["image"] = _image_of(row)
        samples.append(Sample(**row))
    return samples


def compact(path: Location, clean: bool = True) -> None:
    """Merge small fragments of both tables; see compact_table."""
    for name in (path, texts_path(path)):
        if exists(name):
            compact_table(name, clean)


def write_fragments(path: Location, samples: Sequence[Sample]) -> str:
    """Files with these rows that no version names yet, for commit_fragments."""
    return write_files(path, _samples_table(samples))


def commit_fragments(path: Location, written: Sequence[str]) -> None:
    """One commit of all these fragments, in this order."""
    schema = _schema(path)
    if schema is _SCHEMA and any(_num_fields(line) > _num_fields() for line in written):
        schema = _IMAGE_SCHEMA
    commit_files(path, schema, written)


def _num_fields(fragments: str | None = None) -> int:
    """Fields of written fragments, or of samples without images; a list is two."""
    if fragments is None:
        return len(_SCHEMA) + sum(pa.types.is_list(field.type) for field in _SCHEMA)
    return max(len(file["fields"]) for each in json.loads(fragments) for file in each["files"])


def has_images(path: Location, held: str | None = None) -> bool:
    """Whether the samples hold what a model is given of an image."""
    return exists(path) and "image" in open_dataset(path, held).schema.names


def _image_of(row: dict) -> Text | None:
    """Takes the columns of the image out of a row."""
    data, length, expected = (row.pop(name, None) for name, _ in _IMAGE_COLUMNS)
    if data is None or length is None or expected is None:
        return None
    check(expected, row["key"], "image", data)
    return unpacked(data, length)


def _packed_image(image: Text) -> dict:
    data, length = packed(image)
    return {"image": data, "image_bytes": length, "image_checksum": checksum(data)}


def _samples_table(samples: Sequence[Sample]) -> pa.Table:
    rows = []
    with_images = any(sample.image is not None for sample in samples)
    for sample in samples:
        row = sample._asdict() | {"x": _to_bytes(sample.x), "d": _to_bytes(sample.d)}
        row |= {"latent_shape": list(sample.x.shape), "latent_dtype": _name(sample.x)}
        row |= {"checksum": checksum(row["x"], row["d"])}
        row |= {"text_key": sample.text_key or sample.key}
        row |= {"image": None} if sample.image is None else _packed_image(sample.image)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=_IMAGE_SCHEMA if with_images else _SCHEMA)


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _to_bytes(tensor: Tensor) -> bytes:
    return np.ascontiguousarray(tensor.cpu().numpy()).tobytes()


def _from_bytes(data: bytes, shape: Sequence[int], dtype: str) -> Tensor:
    array = np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape)
    return torch.from_numpy(array.copy())
