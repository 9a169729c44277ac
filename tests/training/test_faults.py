"""What goes wrong in a run stops it with one sentence, and spoils nothing that was there."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_run import saved, tiny_config, tiny_train

from videojam.records.lock import holding
from videojam.training import checkpoints as module
from videojam.training import loop
from videojam.training.checkpoints import checkpoints

SCRIPT = Path(__file__).parents[1] / "helpers" / "tiny_run.py"


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    out = tmp_path_factory.mktemp("straight")
    tiny_train(out, validate_every=0)
    return out


def finite(out):
    return all(torch.isfinite(value).all() for value in saved(out).values())


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def broken_gradients(monkeypatch, step):
    """The loss stays finite; a gradient of this step is NaN."""
    make, calls = loop.trainable_model, [0]

    def trainable(*args):
        model = make(*args)

        def poison(gradient):
            calls[0] += 1
            return gradient * float("nan") if calls[0] == step else gradient

        model.proj_out.weight.register_hook(poison)
        return model

    monkeypatch.setattr(loop, "trainable_model", trainable)


def test_a_gradient_that_is_nan_stops_before_the_optimiser(tmp_path, monkeypatch):
    broken_gradients(monkeypatch, step=7)
    with pytest.raises(FloatingPointError, match=r"gradient nan at step 7.*step-00000004"):
        tiny_train(tmp_path, validate_every=0)
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-00000004"]
    assert finite(tmp_path)
    # The advice of the message is accepted: a lower rate goes on from there.
    exported = tiny_train(tmp_path, validate_every=0, learning_rate=1e-4)
    assert finite(tmp_path) and (exported / "videojam.json").is_file()
    before = (tmp_path / "config.json").read_text()
    assert '"before"' in before and '"learning_rate": 0.001' in before


def test_at_the_last_step_nothing_broken_is_exported(tmp_path, monkeypatch):
    broken_gradients(monkeypatch, step=4)
    with pytest.raises(FloatingPointError, match="Last good checkpoint: none yet"):
        tiny_train(tmp_path, steps=4, checkpoint_every=4, validate_every=0)
    assert not (tmp_path / "model").exists() and not checkpoints(tmp_path / "checkpoints")


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    parameters = {"a": torch.nn.Parameter(torch.tensor([1.0, torch.inf]))}
    optimiser = torch.optim.AdamW(parameters.values())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0)
    with pytest.raises(FloatingPointError, match=r"1 of 1 trained tensors .* at step 5 \(a is one"):
        module.save_checkpoint(tmp_path, 5, parameters, optimiser, schedule, None, keep=1)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("what", ["weights", "optimiser", "state.json"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, straight, capsys, what):
    tiny_train(tmp_path, steps=8, validate_every=0)
    newest = checkpoints(tmp_path / "checkpoints")[-1] / what
    file = newest if newest.is_file() else next(newest.iterdir())
    os.truncate(file, file.stat().st_size // 2)
    tiny_train(tmp_path, validate_every=0)
    output = capsys.readouterr().out.replace("\n", " ")
    assert "step-00000008" in output and "falling back" in output
    assert "resuming at step 4" in output
    assert same(saved(tmp_path), saved(straight))


def test_an_optimiser_that_is_not_whole_is_not_resumed(tmp_path, straight, capsys):
    tiny_train(tmp_path, steps=8, validate_every=0)
    file = next((checkpoints(tmp_path / "checkpoints")[-1] / "optimiser").iterdir())
    tensors = load_file(file)
    save_file(dict([*tensors.items()][:3]), file)
    tiny_train(tmp_path, validate_every=0)
    assert "3 tensors, expected" in capsys.readouterr().out.replace("\n", " ")
    assert same(saved(tmp_path), saved(straight))


def test_without_any_checkpoint_that_can_be_read_nothing_is_begun_again(tmp_path):
    tiny_train(tmp_path, steps=4, validate_every=0)
    (path,) = checkpoints(tmp_path / "checkpoints")
    (path / "state.json").write_text("{")
    with pytest.raises(ValueError, match=r"none of the checkpoints .*step-00000004 can be read"):
        tiny_train(tmp_path, validate_every=0)
    assert path.is_dir()


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    with holding(tmp_path, "training run"), pytest.raises(ValueError, match="another training run"):
        tiny_train(tmp_path, steps=1)
    assert not (tmp_path / "config.json").exists()
    tiny_train(tmp_path, steps=1)


def test_settings_protect_a_folder_from_its_first_checkpoint_on(tmp_path, monkeypatch):
    def fails(*_):
        raise ValueError("no such data")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "trainable_model", fails)
        with pytest.raises(ValueError, match="no such data"):
            tiny_train(tmp_path, weight_decay=0.5)
    tiny_train(tmp_path, steps=4, weight_decay=0.1, validate_every=0)
    with pytest.raises(ValueError, match=r"weight_decay: 0\.1 there, 0\.2 now"):
        tiny_train(tmp_path, steps=4, weight_decay=0.2)


def test_fewer_steps_than_are_done_are_refused(tmp_path):
    tiny_train(tmp_path, steps=4, validate_every=0)
    with pytest.raises(ValueError, match="has done 4 steps, more than the 2 asked for"):
        tiny_train(tmp_path, steps=2, validate_every=0)


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(tmp_path, straight):
    tiny_train(tmp_path, steps=4, validate_every=0)
    largest = max(f.stat().st_size for f in (tmp_path / "checkpoints").rglob("*.safetensors"))

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, largest // 2))

    process = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), "validate_every=0"],
        capture_output=True, text=True, preexec_fn=limit, timeout=120,
    )  # fmt: skip
    assert process.returncode != 0
    assert "OSError" in process.stderr.splitlines()[-1], process.stderr
    assert "cannot be written" in process.stderr.splitlines()[-1]
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-00000004"]
    tiny_train(tmp_path, validate_every=0)
    assert same(saved(tmp_path), saved(straight))


def test_files_can_be_read_by_the_group(straight):
    for file in (straight / "checkpoints").rglob("*.*"):
        assert file.is_dir() or file.stat().st_mode & 0o044 == 0o044 & ~os.umask(os.umask(0))


def test_a_stop_asked_for_while_sampling_loses_nothing(tmp_path):
    """The checkpoint is written before the samples; the second signal ends even those."""
    started = []

    def slow(model, folder, step):
        started.append(step)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        tiny_train(tmp_path, sample_every=4, sample=slow, validate_every=0)
    assert started == [4]
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-00000004"]


def test_a_launcher_that_shards_by_itself_is_refused(tmp_path, monkeypatch):
    from accelerate import Accelerator, DistributedType

    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType.DEEPSPEED)
    from videojam.training.parallel import accelerator

    with pytest.raises(ValueError, match="DEEPSPEED, which videojam does not use"):
        accelerator(tiny_config(tmp_path))
