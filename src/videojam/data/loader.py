"""Training batches from the prepared dataset: a pure function of (seed, step), so resuming at a
step needs no state.

All samples of a batch have one shape (height, width, frames): a bucket. Each bucket is an endless
stream of its rows, one permutation after another, keyed by (seed, bucket, turn); a batch is the
next stretch of the stream of its bucket. So nothing is dropped: rows left over when a permutation
does not fill its last batch are carried into the next batch, which goes on with the next
permutation. Every n consecutive places of a stream of n rows hold each row once; a bucket smaller
than a batch repeats rows within it.

Epoch e has floor((e + 1) n / b) - floor(e n / b) batches of a bucket of n rows and batch size b,
which over time is exactly the bucket's share, in an order keyed by (seed, epoch).

The rows of a bucket are taken by video and time, not as they lie in the table: datasets with the
same samples are read in the same order, prepared at once, in several sessions, in shards or by Ray.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from videojam.data import dataset
from videojam.joint.text import Text, text_as
from videojam.records.object_store import Location
from videojam.rng import generator


class Bucket(NamedTuple):
    """The shape that all samples of a batch share."""

    height: int
    width: int
    frames: int


Buckets = Mapping[Bucket, np.ndarray]  # the dataset rows of each, int64


class Batch(NamedTuple):
    """Samples of one bucket, float32."""

    x: Float[Tensor, "b c t h w"]  # appearance latents
    d: Float[Tensor, "b c t h w"]  # motion latents
    text: list[Text]  # one per sample
    captions: list[str]
    keys: list[str]
    images: list[Text] | None = None  # of models that start from one, or follow a control clip


def find_buckets(path: Location, split: str = "train", held: str | None = None) -> Buckets:
    """The rows of each shape, by video and time (dataset.row_order), of a held version or the
    newest. Raises ValueError if the split has none."""
    found = dataset.table(path, ("split", "height", "width", "frames"), held)
    splits = found["split"].combine_chunks().dictionary_encode()
    names = splits.dictionary.to_pylist()
    if split not in names:
        raise ValueError(f"{path} has no samples of split {split!r}; it has {sorted(names)}")
    rows = dataset.row_order(path, held)
    rows = rows[splits.indices.to_numpy()[rows] == names.index(split)]
    height, width, frames = (found[name].to_numpy()[rows] for name in Bucket._fields)
    shapes = (height.astype(np.int64) << 42) + (width.astype(np.int64) << 21) + frames
    found_shapes, which = np.unique(shapes, return_inverse=True)
    return {
        Bucket(shape >> 42, (shape >> 21) % (1 << 21), shape % (1 << 21)): rows[which == k]
        for k, shape in enumerate(found_shapes.tolist())
    }


def epoch_start(epoch: int, batch_size: int, buckets: Buckets) -> int:
    """The first step of an epoch: sum over buckets of floor(epoch * n / batch_size)."""
    return sum(epoch * len(rows) // batch_size for rows in buckets.values())


def epoch_of(step: int, batch_size: int, buckets: Buckets) -> int:
    """The epoch that a step is in: the last one that starts at or before it and is not empty."""
    low, high = 0, 1
    while epoch_start(high, batch_size, buckets) <= step:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if epoch_start(middle, batch_size, buckets) <= step:
            low = middle
        else:
            high = middle
    return low


def batch_indices(
    step: int,
    batch_size: int,
    seed: int,
    buckets: Buckets,
    rank: int = 0,
    num_ranks: int = 1,
) -> Int64[np.ndarray, "b"]:
    """The dataset rows of global batch `step`, or the slice of it that one rank takes.

    batch_size: of the global batch, a multiple of num_ranks; the slices in rank order are the
    global batch. Raises ValueError for anything else.
    """
    if batch_size < 1 or batch_size % num_ranks:
        raise ValueError(
            f"batch_size is {batch_size}, expected a positive multiple of the {num_ranks} processes"
        )
    if step < 0 or not 0 <= rank < num_ranks:
        raise ValueError(f"step is {step} and rank {rank} of {num_ranks}, expected 0 <= both")
    ordered = sorted(buckets)
    sizes = tuple(len(buckets[bucket]) for bucket in ordered)
    epoch = epoch_of(step, batch_size, buckets)
    place = step - epoch_start(epoch, batch_size, buckets)
    which, number = _epoch_order(epoch, batch_size, seed, sizes)[place]
    bucket, num_rows = ordered[which], sizes[which]
    first = number * batch_size + rank * (batch_size // num_ranks)
    places = np.arange(first, first + batch_size // num_ranks)
    picks = [_permutation(seed, bucket, int(p) // num_rows, num_rows)[p % num_rows] for p in places]
    return buckets[bucket][np.array(picks)]


def caption_choices(
    step: int, batch_size: int, seed: int, rank: int = 0, num_ranks: int = 1
) -> Int64[np.ndarray, "b"]:
    """Which caption of each sample of batch `step`, where it has several (dataset.read)."""
    every = torch.randint(1 << 30, (batch_size,), generator=generator(seed, "caption", step))
    return every.numpy().reshape(num_ranks, -1)[rank]


@lru_cache(maxsize=2)
def _epoch_order(
    epoch: int, batch_size: int, seed: int, sizes: tuple[int, ...]
) -> list[tuple[int, int]]:
    """(bucket, number of the batch in the stream of that bucket) of each step of an epoch."""
    batches = [
        (which, number)
        for which, n in enumerate(sizes)
        for number in range(epoch * n // batch_size, (epoch + 1) * n // batch_size)
    ]
    order = torch.randperm(len(batches), generator=generator(seed, "epoch order", epoch))
    return [batches[i] for i in order.tolist()]


@lru_cache(maxsize=64)
def _permutation(seed: int, bucket: Bucket, turn: int, n: int) -> Int64[np.ndarray, "n"]:
    return torch.randperm(n, generator=generator(seed, "bucket", *bucket, turn)).numpy()


def load_batch(
    path: Location, rows: Sequence[int] | Int64[np.ndarray, "b"], held: str | None = None
) -> Batch:
    """Read rows of one bucket, in this order. Raises ValueError for rows of different shapes."""
    return _collate(dataset.read(dataset.reader(path, held), rows))


def _collate(samples: Sequence[dataset.Sample]) -> Batch:
    shapes = {tuple(sample.x.shape) for sample in samples}
    if len(shapes) != 1:
        raise ValueError(f"a batch has latents of shapes {sorted(shapes)}; take rows of one bucket")
    return Batch(
        x=torch.stack([sample.x.float() for sample in samples]),
        d=torch.stack([sample.d.float() for sample in samples]),
        text=[text_as(sample.text, torch.float32) for sample in samples],
        captions=[sample.caption for sample in samples],
        keys=[sample.key for sample in samples],
        images=_images(samples),
    )


def _images(samples: Sequence[dataset.Sample]) -> list[Text] | None:
    found = [text_as(s.image, torch.float32) for s in samples if s.image is not None]
    return found if len(found) == len(samples) else None


def batches(
    path: Location,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    split: str = "train",
    rank: int = 0,
    num_ranks: int = 1,
    num_workers: int = 2,
    held: str | None = None,
) -> Iterator[Batch]:
    """This rank's part of batch start_step, start_step + 1, ... without end, read ahead in order.

    held: the version held under this name; default the newest.
    num_workers: reading threads, as many batches wait ready; 0 reads when asked. Threads, because
    Lance reads outside the interpreter lock and does not survive a fork.
    """
    buckets = find_buckets(path, split, held)
    opened = dataset.reader(path, held)

    def load(step: int) -> Batch:
        rows = batch_indices(step, batch_size, seed, buckets, rank, num_ranks)
        choices = caption_choices(step, batch_size, seed, rank, num_ranks)
        return _collate(dataset.read(opened, rows, choices))

    step = start_step
    if num_workers == 0:
        while True:
            yield load(step)
            step += 1
    threads = ThreadPoolExecutor(num_workers, thread_name_prefix="videojam-batches")
    ready: deque[Future[Batch]] = deque()
    try:
        while True:
            while len(ready) < 2 * num_workers:
                ready.append(threads.submit(load, step))
                step += 1
            yield ready.popleft().result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
