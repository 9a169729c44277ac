"""Checkpoints written in the background are those of their step, one at a time, or an error."""

import threading

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import saved, tiny_train

from videojam.training import checkpoints as module
from videojam.training import loop, saving
from videojam.training.checkpoints import checkpoints

SETTINGS = {
    "validate_every": 0, "ema_decay": 0.5, "steps": 8, "keep_checkpoints": 9,
    "checkpoint_in_background": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    out = tmp_path_factory.mktemp("straight")
    tiny_train(out, **SETTINGS | {"checkpoint_in_background": False})
    return out


def same(a, b):
    for what in ("weights", "optimiser", "ema"):
        mine, theirs = saved(a, what), saved(b, what)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_steps_go_on_while_a_checkpoint_is_written_and_the_next_one_waits(
    tmp_path, straight, monkeypatch
):
    write, done = saving.write_checkpoint, loop.Log.step_done
    steps, seen, seventh = [], [], threading.Event()

    def slow(*args):
        if args[1].step == 4:
            assert seventh.wait(60), "step 7 was not made while step 4 was being written"
        seen.append((args[1].step, steps[-1]))
        return write(*args)

    def note(self, step, total):
        done(self, step, total)
        steps.append(step)
        if step == 7:
            seventh.set()

    monkeypatch.setattr(saving, "write_checkpoint", slow)
    monkeypatch.setattr(loop.Log, "step_done", note)
    tiny_train(tmp_path, **SETTINGS)
    (first, at), (second, _) = seen
    assert (first, second) == (4, 8) and at >= 7
    for kept in zip(*(checkpoints(out / "checkpoints") for out in (tmp_path, straight)),
                    strict=True):  # fmt: skip
        mine, theirs = (sorted(path.rglob("*.safetensors")) for path in kept)
        assert len(mine) == len(theirs) == 3
        for file, other in zip(mine, theirs, strict=True):
            found, expected = load_file(file), load_file(other)
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("steps", [8, 12])
def test_what_cannot_be_written_stops_the_run_and_leaves_the_checkpoint_before(
    tmp_path, straight, monkeypatch, steps
):
    """Of the last checkpoint at the end, of another one when the next is to be written."""
    write, calls = module._write, []

    def full(folder, *args):
        calls.append(folder.name)
        if len(calls) == 5:  # of the second checkpoint, the optimiser
            raise OSError(f"{folder} cannot be written: no space left on device")
        write(folder, *args)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", full)
        with pytest.raises(OSError, match=r"optimiser cannot be written: no space left"):
            tiny_train(tmp_path, **SETTINGS | {"steps": steps})
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-00000004"]
    tiny_train(tmp_path, **SETTINGS)
    same(tmp_path, straight)


def test_a_run_that_stops_has_written_what_it_names(tmp_path, monkeypatch):
    """The last good checkpoint in the message is there, though it was still being written."""
    write = saving.write_checkpoint
    failed = threading.Event()

    def slow(*args):
        failed.wait(2)
        return write(*args)

    monkeypatch.setattr(saving, "write_checkpoint", slow)
    with pytest.raises(FloatingPointError, match=r"Last good checkpoint: .*step-00000004"):
        tiny_train(tmp_path, poison_step=5, **SETTINGS)
