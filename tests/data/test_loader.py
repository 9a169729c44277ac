"""Batches: a pure function of the step; every sample, every rank, every resume."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from data_synthetic import captioned, moving_square, run, tiny_config
from hypothesis import given, settings
from hypothesis import strategies as st

from videojam.data import dataset
from videojam.data.loader import (
    Bucket,
    batch_indices,
    batches,
    epoch_of,
    epoch_start,
    find_buckets,
    load_batch,
)
from videojam.data.prepare.prepare import samples_path
from videojam.workflow.datasets import rows_of


@st.composite
def bucket_sets(draw: st.DrawFn) -> dict[Bucket, np.ndarray]:
    sizes = draw(st.lists(st.integers(1, 23), min_size=1, max_size=4))
    rows = np.random.default_rng(0).permutation(sum(sizes))
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    return {Bucket(16 * (k + 1), 32, 9): part for k, part in enumerate(parts)}


@given(
    buckets=bucket_sets(),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 5),
    epochs=st.integers(1, 6),
)
def test_every_sample_is_seen_once_per_turn_and_none_is_dropped(
    buckets, batch_size, seed, epochs
) -> None:
    """After e epochs a sample was seen e times, or e - 1 where it is carried to the next batch."""
    seen = np.zeros(sum(map(len, buckets.values())), dtype=int)
    for step in range(epoch_start(epochs, batch_size, buckets)):
        rows = batch_indices(step, batch_size, seed, buckets)
        assert len(rows) == batch_size
        assert any(set(rows) <= set(part) for part in buckets.values())
        np.add.at(seen, rows, 1)
    for part in buckets.values():
        carried = epochs * len(part) % batch_size
        assert seen[part].sum() == epochs * len(part) - carried
        assert seen[part].max() <= epochs
        assert seen[part].min() >= epochs - 1 - carried // len(part)


@given(
    buckets=bucket_sets(),
    per_rank=st.integers(1, 3),
    num_ranks=st.integers(1, 4),
    step=st.integers(0, 200),
    seed=st.integers(0, 5),
)
def test_the_ranks_together_are_the_global_batch(buckets, per_rank, num_ranks, step, seed) -> None:
    size = per_rank * num_ranks
    whole = batch_indices(step, size, seed, buckets)
    parts = [batch_indices(step, size, seed, buckets, rank, num_ranks) for rank in range(num_ranks)]
    assert np.concatenate(parts).tolist() == whole.tolist()


@given(buckets=bucket_sets(), batch_size=st.integers(1, 40), step=st.integers(0, 500))
def test_a_step_lies_in_its_epoch(buckets, batch_size, step) -> None:
    epoch = epoch_of(step, batch_size, buckets)
    start = epoch_start(epoch, batch_size, buckets)
    assert start <= step < epoch_start(epoch + 1, batch_size, buckets)


def test_order_depends_on_seed_and_epoch_only() -> None:
    buckets = {Bucket(16, 16, 9): np.arange(40)}
    epochs = [[batch_indices(step, 4, 0, buckets).tolist() for step in range(20)] for _ in (0, 1)]
    assert epochs[0] == epochs[1]
    assert epochs[0][:10] != epochs[0][10:]
    assert batch_indices(0, 4, 1, buckets).tolist() != epochs[0][0]
    assert np.concatenate(epochs[0][:10]).tolist() != sorted(np.concatenate(epochs[0][:10]))


@pytest.mark.parametrize(("size", "ranks", "rank"), [(3, 2, 0), (0, 1, 0), (4, 2, 2)])
def test_impossible_batches_are_refused(size: int, ranks: int, rank: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        batch_indices(0, size, 0, {Bucket(16, 16, 9): np.arange(8)}, rank, ranks)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shapes: five landscape samples of two videos and two of a portrait one."""
    folder = tmp_path_factory.mktemp("loader")
    captioned(folder / "videos" / "a.mp4", moving_square(90), "wide")
    captioned(folder / "videos" / "b.mp4", moving_square(60, seed=1), "wide and more words")
    captioned(folder / "videos" / "c.mp4", moving_square(60, 96, 64, seed=2), "tall")
    captioned(folder / "videos" / "d.mp4", moving_square(30, seed=3), "held out")
    run(
        tiny_config(
            folder / "videos",
            folder / "out",
            sizes=((32, 48), (48, 32)),
            holdout=("d.mp4",),
            previews=0,
        )
    )
    return samples_path(folder / "out")


def test_buckets_are_shapes_of_one_split(prepared: Path) -> None:
    buckets = find_buckets(prepared)
    assert {bucket: len(rows) for bucket, rows in buckets.items()} == {
        Bucket(32, 48, 9): 5,
        Bucket(48, 32, 9): 2,
    }
    assert list(find_buckets(prepared, "validation")) == [Bucket(32, 48, 9)]
    with pytest.raises(ValueError, match="no samples of split 'test'"):
        find_buckets(prepared, "test")


def test_a_batch_holds_the_rows_asked_for_in_order(prepared: Path) -> None:
    opened = dataset.reader(prepared)
    rows = [4, 0, 4, 3]
    batch = load_batch(prepared, rows)
    for place, sample in enumerate(dataset.read(opened, rows)):
        assert torch.equal(batch.x[place], sample.x.float())
        assert torch.equal(batch.d[place], sample.d.float())
        text = batch.text[place]
        assert len(text["embedding"]) == len(sample.caption.split())
        assert torch.equal(text["embedding"], sample.text["embedding"].float())
        assert torch.equal(text["mask"], sample.text["mask"])
        assert (batch.keys[place], batch.captions[place]) == (sample.key, sample.caption)
    assert batch.x.dtype == batch.text[0]["embedding"].dtype == torch.float32
    assert batch.text[0]["mask"].dtype == torch.int64
    with pytest.raises(ValueError, match="one bucket"):
        load_batch(prepared, [0, 5])
    with pytest.raises(ValueError, match="no prepared dataset"):
        load_batch(prepared / "nowhere", [0])


@settings(max_examples=8, deadline=None)
@given(start=st.integers(0, 12), num_workers=st.integers(0, 3))
def test_starting_at_a_step_is_skipping_to_it(prepared: Path, start: int, num_workers: int) -> None:
    options = {"batch_size": 2, "seed": 3}
    straight = islice(batches(prepared, num_workers=0, **options), start, start + 4)
    resumed = islice(batches(prepared, num_workers=num_workers, start_step=start, **options), 4)
    for a, b in zip(straight, resumed, strict=True):
        assert a.keys == b.keys and torch.equal(a.x, b.x)
        for one, other in zip(a.text, b.text, strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_a_training_reads_does_not_tell_how_the_dataset_came_about(tmp_path: Path) -> None:
    """At once, or in three sessions between which a video is taken out and files are merged."""
    videos = tmp_path / "videos"
    options = {"holdout": ("z.mp4", "b.mp4"), "previews": 0}
    captioned(videos / "b.mp4", moving_square(60, seed=1), "b")
    captioned(videos / "d.mp4", moving_square(40, seed=4), "d")
    captioned(videos / "c.mp4", moving_square(50, seed=2), "c")
    captioned(videos / "z.mp4", moving_square(30, seed=3), "z")
    (videos / "d.txt").rename(tmp_path / "d.txt")
    run(tiny_config(videos, tmp_path / "grown", **options))
    captioned(videos / "a.mp4", moving_square(90), "a")
    captioned(videos / "A.mp4", moving_square(40, seed=5), "capital")
    (tmp_path / "d.txt").rename(videos / "d.txt")
    path = samples_path(tmp_path / "grown")
    dataset.remove_sources(path, ["b.mp4"])
    dataset.compact(path)
    run(tiny_config(videos, tmp_path / "grown", **options))
    run(tiny_config(videos, tmp_path / "at_once", **options))
    lying, read = [], []
    for name in ("grown", "at_once"):
        path = samples_path(tmp_path / name)
        lying.append(dataset.table(path, ("key",))["key"].to_pylist())
        rows = dataset.row_order(path)
        assert [lying[-1][row] for row in rows] == sorted(lying[-1])
        batch = islice(batches(path, batch_size=2, seed=0, num_workers=0), 8)
        held_out = [lying[-1][row] for row in rows_of(tmp_path / name, "validation")]
        read.append(([b.keys for b in batch], held_out))
    assert lying[0] != lying[1] and sorted(lying[0]) == sorted(lying[1])
    assert read[0] == read[1]
