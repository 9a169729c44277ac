"""The prepared dataset on disk: one Lance row per sample. The only module that knows Lance.

A Lance append is one atomic commit: a killed writer leaves at most files that no version names,
which readers never see and compact() removes.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lance
import numpy as np
import pyarrow as pa
import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor

from videojam.joint.text import Text

_ROWS_PER_FRAGMENT = 1024  # a few GB of latents; full fragments are not rewritten again
_CODEC = "zstd"
_COMPACTION_BATCH = 16  # rows in memory; Lance's default of 8192 would be tens of GB


class Sample(NamedTuple):
    """One clip, ready for training. Latents and text are float16 or float32, as configured."""

    key: str  # "<path>#<clip index>", unique
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
    text: Text  # what the prompt becomes for the transformer


_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("source_bytes", pa.int64()),
        ("clip_index", pa.int32()),
        ("start_s", pa.float64()),
        ("caption", pa.string()),
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
        ("text", pa.large_binary()),
        ("latent_shape", pa.list_(pa.int32())),
        ("latent_dtype", pa.string()),
        ("text_bytes", pa.int64()),  # before compression
    ]
)


def append(path: Path, samples: Sequence[Sample]) -> None:
    """Add rows in this order as one atomic commit; the first one creates the dataset."""
    rows = []
    for sample in samples:
        row = sample._asdict() | {"x": _to_bytes(sample.x), "d": _to_bytes(sample.d)}
        row |= {"latent_shape": list(sample.x.shape), "latent_dtype": _name(sample.x)}
        # Most of a text is padding, which compresses to nothing.
        text = safetensors.torch.save({k: v.contiguous() for k, v in sample.text.items()})
        row |= {"text": pa.compress(text, _CODEC, asbytes=True), "text_bytes": len(text)}
        rows.append(row)
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    lance.write_dataset(table, str(path), mode="append" if exists(path) else "create")


def exists(path: Path) -> bool:
    """True once a first commit was made."""
    versions = path / "_versions"
    return versions.is_dir() and any(versions.glob("*.manifest"))


def open_dataset(path: Path) -> lance.LanceDataset:
    """The newest version. Raises ValueError where nothing was prepared."""
    if not exists(path):
        raise ValueError(f"no prepared dataset at {path}; run `videojam prepare` first")
    return lance.dataset(str(path))


def columns(path: Path, names: Sequence[str]) -> list[dict]:
    """These small columns of all rows, in row order; no rows where nothing was prepared."""
    if not exists(path):
        return []
    return open_dataset(path).to_table(columns=list(names)).to_pylist()


def read(dataset: lance.LanceDataset, rows: Sequence[int] | np.ndarray) -> list[Sample]:
    """The samples in these rows, in the order asked for; a row may be asked for twice."""
    samples = []
    for row in dataset.take([int(row) for row in rows]).to_pylist():
        latent_shape, latent_dtype = row.pop("latent_shape"), row.pop("latent_dtype")
        size = row.pop("text_bytes")
        row["x"] = _from_bytes(row["x"], latent_shape, latent_dtype)
        row["d"] = _from_bytes(row["d"], latent_shape, latent_dtype)
        row["text"] = safetensors.torch.load(pa.decompress(row["text"], size, _CODEC, asbytes=True))
        samples.append(Sample(**row))
    return samples


def compact(path: Path) -> None:
    """Merge small fragments, keeping row order, and delete what no version names any more.

    Safe to kill at any moment. Must not run beside another writer (prepare holds a lock).
    """
    if not exists(path):
        return
    dataset = open_dataset(path)
    dataset.optimize.compact_files(
        target_rows_per_fragment=_ROWS_PER_FRAGMENT, batch_size=_COMPACTION_BATCH
    )
    open_dataset(path).cleanup_old_versions(
        older_than=datetime.timedelta(0), delete_unverified=True
    )


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _to_bytes(tensor: Tensor) -> bytes:
    return np.ascontiguousarray(tensor.cpu().numpy()).tobytes()


def _from_bytes(data: bytes, shape: Sequence[int], dtype: str) -> Tensor:
    array = np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape)
    return torch.from_numpy(array.copy())
