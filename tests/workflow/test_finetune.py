"""What a training is given of a prepared dataset, by the code that every run uses."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from data_synthetic import captioned, moving_square, run, tiny_config

from videojam.data import dataset
from videojam.data.loader import load_batch
from videojam.data.mixture import which_dataset
from videojam.data.prepare.prepare import samples_path
from videojam.training import parallel
from videojam.training.config import TrainConfig
from videojam.workflow import datasets
from videojam.workflow.datasets import joint_info, let_go, rows_of, training_data


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Three clips of each of two videos for training, and three of a held-out one."""
    folder = tmp_path_factory.mktemp("finetune")
    for seed, name in enumerate("abc"):
        captioned(folder / "videos" / f"{name}.mp4", moving_square(90, seed=seed), f"square {name}")
    run(tiny_config(folder / "videos", folder / "out", holdout=("c.mp4",), previews=0))
    return folder / "out"


def first_steps(prepared, monkeypatch, process, count, steps=3):
    here = SimpleNamespace(process_index=process, num_processes=count)
    monkeypatch.setattr(parallel, "processes", lambda: here)
    config = TrainConfig(out=Path("nowhere"), global_batch_size=4)
    batches = training_data(prepared, config, num_workers=0).batches(0)
    return [next(batches) for _ in range(steps)]


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_every_batch_in_order(prepared, monkeypatch, count):
    whole = first_steps(prepared, monkeypatch, 0, 1)
    shares = [first_steps(prepared, monkeypatch, process, count) for process in range(count)]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert (
            [n for part in parts for n in part.numbers]
            == batch.numbers
            == [*range(4 * step, 4 * step + 4)]
        )
        assert torch.equal(torch.cat([part.x for part in parts]), batch.x)
        assert torch.equal(torch.cat([part.d for part in parts]), batch.d)


def test_a_number_of_processes_that_does_not_divide_the_batch_is_refused(prepared, monkeypatch):
    with pytest.raises(ValueError, match="global_batch_size is 4, which 3 processes"):
        first_steps(prepared, monkeypatch, 0, 3)


def test_held_out_videos_are_held_out_with_all_their_clips(prepared, monkeypatch):
    monkeypatch.setattr(
        parallel, "processes", lambda: SimpleNamespace(process_index=0, num_processes=1)
    )
    data = training_data(prepared, TrainConfig(out=Path("nowhere")), num_workers=0)
    held_out = [load() for load in data.held_out]
    assert len(held_out) == len(rows_of(prepared, "validation")) >= 2
    trained = [next(data.batches(step)) for step in range(12)]
    for sample in held_out:
        assert not any(torch.equal(sample.x[0], batch.x[0]) for batch in trained)


@pytest.fixture(scope="module")
def another(tmp_path_factory, prepared) -> Path:
    """A second dataset, of other clips."""
    folder = tmp_path_factory.mktemp("another")
    captioned(folder / "videos" / "z.mp4", moving_square(90, seed=7), "square z")
    run(tiny_config(folder / "videos", folder / "out", previews=0))
    return folder / "out"


def test_two_datasets_give_each_step_one_of_them_and_resume_exactly(prepared, another, tmp_path):
    config = TrainConfig(out=tmp_path, global_batch_size=2, data_weights=(1.0, 2.0), seed=3)
    read = training_data([prepared, another], config, num_workers=0)
    straight = list(zip(range(9), read.batches(0), strict=False))
    assert [batch.numbers for _, batch in straight] == [[2 * s, 2 * s + 1] for s in range(9)]
    alone = [
        training_data(folder, TrainConfig(out=tmp_path, global_batch_size=2, seed=3), 0).batches(0)
        for folder in (prepared, another)
    ]
    for step, batch in straight:  # every dataset's own order, where it left off
        expected = next(alone[which_dataset(step, config.data_weights, 3)])
        assert torch.equal(batch.x, expected.x) and torch.equal(batch.d, expected.d)
    for step, batch in straight[4:]:
        assert torch.equal(next(read.batches(step)).x, batch.x)
    turned = training_data([another, prepared], config, num_workers=0)
    for read_as in (read, turned):  # held-out samples are numbered through, for their noises
        batches = [load() for load in read_as.held_out]
        assert [batch.numbers for batch in batches] == [[k] for k in range(len(batches))]
        of_prepared = [
            load_batch(samples_path(prepared), [row]).x for row in rows_of(prepared, "validation")
        ]
        assert len(of_prepared) == len(batches) > 0
        assert all(torch.equal(a.x, b) for a, b in zip(batches, of_prepared, strict=True))


def test_a_finished_run_lets_go_of_its_rows_and_goes_on_with_the_same_ones_alone(
    prepared, tmp_path
):
    """Compaction changes nothing; other rows are refused, and held by nobody then."""
    folder = tmp_path / "data"
    shutil.copytree(prepared, folder)
    config, path = TrainConfig(out=tmp_path / "run"), samples_path(folder)

    others = {*dataset.open_dataset(path).tags.list()}  # of other tests' runs

    def held():
        return len({*dataset.open_dataset(path).tags.list()} - others)

    first = next(training_data([folder], config, 0).batches(3))
    assert held() == 1
    config.out.mkdir()
    let_go([folder], config.out)
    assert held() == 0
    dataset.compact(path)
    again = next(training_data([folder], config, 0).batches(3))
    assert torch.equal(again.x, first.x) and held() == 1
    let_go([folder], config.out)
    rows = dataset.read(dataset.reader(path), [0])
    dataset.append(path, [row._replace(key="new.mp4#0000") for row in rows])
    with pytest.raises(ValueError, match=r"is finished, and the samples in .*--start-from"):
        training_data([folder], config, 0)
    assert held() == 0
    assert len(training_data([folder], TrainConfig(out=tmp_path / "other"), 0).held_out) > 0


def test_numbers_of_held_out_samples_stay_while_rows_are_added(prepared, another, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(another, folder)
    config = TrainConfig(out=tmp_path, data_weights=(1.0, 1.0))
    before = [load().numbers for load in training_data([folder, prepared], config, 0).held_out]
    path = samples_path(folder)
    (row,) = dataset.read(dataset.reader(path), [0])
    dataset.append(path, [row._replace(key="new.mp4#0000")])
    after = [load().numbers for load in training_data([folder, prepared], config, 0).held_out]
    assert before and before == after


def test_datasets_that_do_not_go_together_are_refused(prepared, another, tmp_path, monkeypatch):
    config = TrainConfig(out=tmp_path, data_weights=(1.0,))
    with pytest.raises(ValueError, match="1 weights for 2 datasets"):
        training_data([prepared, another], config)
    with pytest.raises(ValueError, match="there is one dataset; leave it out"):
        training_data(prepared, config)
    read = datasets.read_settings
    monkeypatch.setattr(
        datasets, "read_settings",
        lambda folder: read(folder) | ({"sigma": 0.5} if folder == another else {}),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"prepared with sigma .* with 0\.5; a model needs one"):
        joint_info([prepared, another])
