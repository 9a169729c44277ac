"""The prepared dataset on disk: Lance tables. The only module that knows Lance.

samples.lance has one row per clip, with its latents. texts.lance beside it has one row per caption,
with what it becomes for the model, so that a caption is corrected without touching latents, clips
of one video share theirs, and a clip may have several. Rows hold checksums of their tensors.

A Lance append is one atomic commit: a killed writer leaves at most files that no version names,
which readers never see. A version that a training holds keeps its rows, whatever is added,
corrected or removed since.
"""

# pyarrow makes its compute functions when it is imported.
# pyright: reportAttributeAccessIssue=false

import datetime
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lance
import lance.fragment
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor

from videojam.joint.text import Text

_ROWS_PER_FRAGMENT = 1024  # full fragments are not rewritten again
_FRAGMENT_BYTES = 256 * 2**20  # nor those as large as this
_CODEC = "zstd"
_COMPACTION_BATCH = 16  # rows in memory; Lance's default of 8192 would be tens of GB
_KEPT = datetime.timedelta(days=1)  # of versions that nobody holds: who opened one may still read


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


class CaptionText(NamedTuple):
    """One caption of a video or clip; place counts the captions of one text_key from 0."""

    text_key: str
    place: int
    caption: str
    text: Text


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
_TEXT_SCHEMA = pa.schema(
    [
        ("text_key", pa.string()),
        ("place", pa.int32()),
        ("caption", pa.string()),
        ("text", pa.large_binary()),
        ("text_bytes", pa.int64()),  # before compression
        ("checksum", pa.int64()),  # CRC-32 of the compressed text
    ]
)


def texts_path(path: Path) -> Path:
    """Where the captions of the samples in `path` are."""
    return path.with_name("texts.lance")


def append(path: Path, samples: Sequence[Sample]) -> None:
    """Add rows in this order as one atomic commit; the first one creates the dataset.

    Samples that bring a text have it added first, so a row never lacks its caption.
    """
    own = [CaptionText(s.text_key or s.key, 0, s.caption, s.text) for s in samples if s.text]
    if own:
        append_texts(path, own)
    _append(path, _samples_table(samples))


def append_texts(path: Path, texts: Sequence[CaptionText]) -> None:
    """Add captions as one atomic commit."""
    _append(texts_path(path), _texts_table(texts))


def replace_texts(path: Path, text_keys: Sequence[str], texts: Sequence[CaptionText]) -> None:
    """Put these captions in the place of all that the keys had, as one atomic commit."""
    dataset = lance.dataset(str(texts_path(path)))
    merge = dataset.merge_insert(["text_key", "place"])
    merge = merge.when_matched_update_all().when_not_matched_insert_all()
    # Captions that have become fewer.
    counts = {key: 0 for key in text_keys}
    for text in texts:
        counts[text.text_key] += 1
    surplus = [f"(text_key = {_quoted(k)} AND place >= {n})" for k, n in counts.items()]
    merge.when_not_matched_by_source_delete(" OR ".join(surplus)).execute(_texts_table(texts))


def remove_sources(path: Path, sources: Sequence[str]) -> None:
    """Take the rows and captions of these videos out; versions that are held keep them."""
    for table, column in ((path, "source"), (texts_path(path), "text_key")):
        for start in range(0, len(sources), 500):
            names = ", ".join(map(_quoted, sources[start : start + 500]))
            lance.dataset(str(table)).delete(f"{column} IN ({names})")


def exists(path: Path) -> bool:
    """True once a first commit was made."""
    versions = path / "_versions"
    return versions.is_dir() and any(versions.glob("*.manifest"))


def open_dataset(path: Path, held: str | None = None) -> lance.LanceDataset:
    """The newest version, or the one held under a name. ValueError where nothing was prepared."""
    if not exists(path):
        raise ValueError(f"no prepared dataset at {path}; run `videojam prepare` first")
    return lance.dataset(str(path), version=held)


def hold(path: Path, name: str) -> str | None:
    """Keep the newest version for a reader under this name, or go on with what it held before.

    Returns the name. The rows that it sees are the same from now on, until release(). None for a
    dataset that cannot be written to, in which nothing changes from here.
    """
    if exists(path) and not os.access(path, os.W_OK):
        return None
    for table in (texts_path(path), path):  # of rows seen, the captions are there
        dataset = open_dataset(table)
        if name not in dataset.tags.list():
            try:
                dataset.tags.create(name, dataset.version)
            except (OSError, ValueError):
                if name not in open_dataset(table).tags.list():  # else another process was first
                    raise
    return name


def release(path: Path, name: str) -> None:
    """Let go of a version that was held."""
    for table in (path, texts_path(path)):
        dataset = open_dataset(table)
        if name in dataset.tags.list():
            dataset.tags.delete(name)


def count(path: Path) -> int:
    """Number of rows; 0 where nothing was prepared."""
    return open_dataset(path).count_rows() if exists(path) else 0


def table(path: Path, names: Sequence[str], held: str | None = None) -> pa.Table:
    """These small columns of all rows, in row order; no rows where nothing was prepared."""
    if not exists(path):
        schema = _TEXT_SCHEMA if path.name == texts_path(path).name else _SCHEMA
        return pa.schema([schema.field(name) for name in names]).empty_table()
    return open_dataset(path, held).to_table(columns=list(names))


def columns(path: Path, names: Sequence[str]) -> list[dict]:
    """The same as Python objects, for few rows."""
    return table(path, names).to_pylist()


def first_clips(path: Path, names: Sequence[str], number: int) -> list[dict]:
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


class Reader(NamedTuple):
    """Both tables of one version, and where the captions of a text_key are."""

    samples: lance.LanceDataset
    texts: lance.LanceDataset
    keys: pa.Array  # text_key of the texts, sorted
    rows: np.ndarray  # their rows


def reader(path: Path, held: str | None = None) -> Reader:
    """Open a dataset for reading samples. Raises ValueError where nothing was prepared."""
    samples, texts = open_dataset(path, held), open_dataset(texts_path(path), held)
    found = texts.to_table(columns=["text_key", "place"])
    order = pc.sort_indices(found, [("text_key", "ascending"), ("place", "ascending")])
    keys = found["text_key"].combine_chunks().take(order)
    return Reader(samples, texts, keys, order.to_numpy())


def caption_rows(opened: Reader, text_key: str) -> np.ndarray:
    """The rows of its captions, by place."""
    first, last = _bisect(opened.keys, text_key, False), _bisect(opened.keys, text_key, True)
    return opened.rows[first:last]


def captions_of(path: Path, text_keys: Sequence[str]) -> list[str]:
    """The first caption of each, for showing a few samples."""
    opened = reader(path)
    rows = [int(caption_rows(opened, key)[0]) for key in text_keys]
    return opened.texts.take(rows, columns=["caption"])["caption"].to_pylist() if rows else []


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
        captions = caption_rows(opened, row["text_key"])
        if not len(captions):
            raise ValueError(f"{row['key']} has no caption in {opened.texts.uri}")
        choice = 0 if choices is None else int(choices[place])
        chosen.append(int(captions[choice % len(captions)]))
    texts = opened.texts.take(chosen).to_pylist()
    samples = []
    for row, text in zip(found, texts, strict=True):
        _check(row.pop("checksum"), row["key"], "latents", row["x"], row["d"])
        _check(text["checksum"], row["key"], "text", text["text"])
        latent_shape, latent_dtype = row.pop("latent_shape"), row.pop("latent_dtype")
        row["x"] = _from_bytes(row["x"], latent_shape, latent_dtype)
        row["d"] = _from_bytes(row["d"], latent_shape, latent_dtype)
        whole = pa.decompress(text["text"], text["text_bytes"], _CODEC, asbytes=True)
        row |= {"caption": text["caption"], "text": safetensors.torch.load(whole)}
        samples.append(Sample(**row))
    return samples


def compact(path: Path, clean: bool = True) -> None:
    """Merge small fragments, keeping row order, and delete what nobody can be reading any more.

    Safe to kill at any moment, and beside readers and a writer that appends. Held versions stay.
    Files that no version names may be another writer's and stay for a week. clean: False while
    shards wait to be joined, which may be longer.
    """
    for name in (path, texts_path(path)):
        if not exists(name):
            continue
        dataset = open_dataset(name)
        dataset.optimize.compact_files(
            target_rows_per_fragment=_target_rows(dataset), batch_size=_COMPACTION_BATCH
        )
        if clean:
            open_dataset(name).cleanup_old_versions(
                older_than=_KEPT, error_if_tagged_old_versions=False
            )


def write_fragments(path: Path, samples: Sequence[Sample]) -> str:
    """Files with these rows that no version names yet, and what commit_fragments needs of them."""
    fragments = lance.fragment.write_fragments(_samples_table(samples), str(path))
    return json.dumps([fragment.to_json() for fragment in fragments])


def write_text_fragments(path: Path, texts: Sequence[CaptionText]) -> str:
    """The same for captions."""
    fragments = lance.fragment.write_fragments(_texts_table(texts), str(texts_path(path)))
    return json.dumps([fragment.to_json() for fragment in fragments])


def commit_fragments(path: Path, written: Sequence[str]) -> None:
    """One commit of all fragments that are not in the dataset yet, in this order."""
    schema = _TEXT_SCHEMA if path.name == texts_path(path).name else _SCHEMA
    there: set[str] = set()
    if exists(path):
        fragments = open_dataset(path).get_fragments()
        there = {file.path for fragment in fragments for file in fragment.data_files()}
    new = [
        lance.FragmentMetadata.from_json(json.dumps(fragment))
        for line in written
        for fragment in json.loads(line)
        if not {file["path"] for file in fragment["files"]} <= there
    ]
    if not new:
        return
    if exists(path):
        version = open_dataset(path).version
        lance.LanceDataset.commit(str(path), lance.LanceOperation.Append(new), read_version=version)
    else:
        lance.LanceDataset.commit(str(path), lance.LanceOperation.Overwrite(schema, new))


def _append(path: Path, rows: pa.Table) -> None:
    lance.write_dataset(rows, str(path), mode="append" if exists(path) else "create")


def _samples_table(samples: Sequence[Sample]) -> pa.Table:
    rows = []
    for sample in samples:
        row = sample._asdict() | {"x": _to_bytes(sample.x), "d": _to_bytes(sample.d)}
        row |= {"latent_shape": list(sample.x.shape), "latent_dtype": _name(sample.x)}
        row |= {"checksum": _checksum(row["x"], row["d"])}
        row |= {"text_key": sample.text_key or sample.key}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _texts_table(texts: Sequence[CaptionText]) -> pa.Table:
    rows = []
    for text in texts:
        # Most of a text is padding, which compresses to nothing.
        whole = safetensors.torch.save({k: v.contiguous() for k, v in text.text.items()})
        packed = pa.compress(whole, _CODEC, asbytes=True)
        row = text._asdict() | {"text": packed, "text_bytes": len(whole)}
        rows.append(row | {"checksum": _checksum(packed)})
    return pa.Table.from_pylist(rows, schema=_TEXT_SCHEMA)


def _target_rows(dataset: lance.LanceDataset) -> int:
    """Rows per fragment: fewer of large ones, so that merging does not write everything twice."""
    sizes = [
        file.file_size_bytes or 0
        for fragment in dataset.get_fragments()
        for file in fragment.data_files()
    ]
    row_bytes = sum(sizes) / max(1, dataset.count_rows())
    return max(1, min(_ROWS_PER_FRAGMENT, int(_FRAGMENT_BYTES / max(1.0, row_bytes))))


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


def _checksum(*parts: bytes) -> int:
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return value


def _check(expected: int, key: str, what: str, *parts: bytes) -> None:
    if _checksum(*parts) != expected:
        raise ValueError(
            f"the {what} of {key} are not what was written (checksum): the file is damaged; "
            "restore it, or prepare into a new output folder"
        )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _to_bytes(tensor: Tensor) -> bytes:
    return np.ascontiguousarray(tensor.cpu().numpy()).tobytes()


def _from_bytes(data: bytes, shape: Sequence[int], dtype: str) -> Tensor:
    array = np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape)
    return torch.from_numpy(array.copy())
