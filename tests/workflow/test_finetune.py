"""What a training is given of a prepared dataset, by the code that every run uses."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from data_synthetic import captioned, moving_square, run, tiny_config

from videojam.training.config import TrainConfig
from videojam.workflow import finetune
from videojam.workflow.finetune import rows_of, training_data


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
    monkeypatch.setattr(finetune, "processes", lambda: here)
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
        finetune, "processes", lambda: SimpleNamespace(process_index=0, num_processes=1)
    )
    data = training_data(prepared, TrainConfig(out=Path("nowhere")), num_workers=0)
    held_out = [load() for load in data.held_out]
    assert len(held_out) == len(rows_of(prepared, "validation")) >= 2
    trained = [next(data.batches(step)) for step in range(12)]
    for sample in held_out:
        assert not any(torch.equal(sample.x[0], batch.x[0]) for batch in trained)
