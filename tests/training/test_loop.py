"""The loop: resuming is exact, stopping is safe, what should be trained is, and errors say so."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from tiny_run import base_pipeline, saved, tiny_train

from videojam.joint.checkpoint import load_pipeline
from videojam.training import loop
from videojam.training.checkpoints import checkpoints
from videojam.training.loop import Stopped

SCRIPT = Path(__file__).parents[1] / "helpers" / "tiny_run.py"


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """An undisturbed run, with everything that has state switched on."""
    out = tmp_path_factory.mktemp("straight")
    tiny_train(out, **STATEFUL)
    return out


STATEFUL = {"ema_decay": 0.9, "lr_schedule": "cosine", "warmup_steps": 3,
            "global_batch_size": 4, "micro_batch_size": 2, "weight_decay": 0.01}  # fmt: skip


def test_a_resumed_run_equals_the_straight_one_bit_for_bit(tmp_path, straight, monkeypatch):
    """Broken off between checkpoints, as an exception would."""
    calls = 0
    loss = loop.training_loss

    def break_off(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 15:  # in step 7; the last checkpoint is at 4
            raise KeyboardInterrupt
        return loss(*args, **kwargs)

    monkeypatch.setattr(loop, "training_loss", break_off)
    with pytest.raises(KeyboardInterrupt):
        tiny_train(tmp_path, **STATEFUL)
    monkeypatch.setattr(loop, "training_loss", loss)
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-00000004"]
    tiny_train(tmp_path, **STATEFUL)
    assert same(saved(tmp_path), saved(straight))
    for what in ("ema", "optimiser"):
        assert same(saved(tmp_path, what), saved(straight, what))
    timings = ("steps_per_s", "tokens_per_s", "model_flop_utilisation", "peak_memory_gib")
    kept = [
        [{k: v for k, v in line.items() if k not in timings} for line in metrics(out)]
        for out in (tmp_path, straight)
    ]
    assert kept[0] == kept[1]


def _start(out, *options):
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(out), *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("ready"):
            return process
    raise AssertionError("the run did not start")


OPTIONS = [f"{key}={value!r}" for key, value in STATEFUL.items()]


def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path, straight):
    moments = random.Random(0)
    for _ in range(2):
        process = _start(tmp_path, *OPTIONS, "checkpoint_every=1")
        time.sleep(moments.uniform(0.5, 3))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    tiny_train(tmp_path, **STATEFUL | {"checkpoint_every": 1})
    assert same(saved(tmp_path), saved(straight))


def test_sigterm_saves_and_says_how_to_go_on(tmp_path, monkeypatch):
    process = _start(tmp_path, "steps=100000", "checkpoint_every=100000", "validate_every=0")
    while not (tmp_path / "metrics.jsonl").exists():
        time.sleep(0.05)
        assert process.poll() is None
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    saved = checkpoints(tmp_path / "checkpoints")
    assert len(saved) == 1
    assert "Stopped: stopped after step" in output
    assert "same command resumes" in output
    step = json.loads((saved[0] / "state.json").read_text())["step"]
    with pytest.raises(Stopped):
        _stop_in_a_step(
            monkeypatch, tmp_path, steps=100000, checkpoint_every=100000, validate_every=0
        )
    assert (
        json.loads((checkpoints(tmp_path / "checkpoints")[-1] / "state.json").read_text())["step"]
        > step
    )


def _stop_in_a_step(monkeypatch, out, **changes):
    """Not by a clock: before the loop has begun, the signal would end pytest."""
    done, asked = loop.Log.step_done, []

    def ask(self, *args):
        if not asked:  # a second one would end the run at once
            asked.append(1)
            os.kill(os.getpid(), signal.SIGTERM)
        done(self, *args)

    monkeypatch.setattr(loop.Log, "step_done", ask)
    tiny_train(out, **changes)


def test_nan_stops_with_the_last_good_checkpoint_named_and_kept(tmp_path):
    with pytest.raises(FloatingPointError, match=r"nan at step 7.*step-00000004"):
        tiny_train(tmp_path, poison_step=7)
    assert all(torch.isfinite(value).all() for value in saved(tmp_path).values())
    tiny_train(tmp_path)
    clean = tmp_path / "clean"
    tiny_train(clean)
    assert same(saved(tmp_path), saved(clean))


def test_accumulation_divides_a_batch_without_changing_it(tmp_path):
    tiny_train(tmp_path / "whole", global_batch_size=4, steps=3)
    tiny_train(tmp_path / "parts", global_batch_size=4, micro_batch_size=1, steps=3)
    a, b = saved(tmp_path / "whole"), saved(tmp_path / "parts")
    # Adam divides by the root of the squared gradient, which magnifies rounding near zero.
    assert all(torch.allclose(a[name], b[name], atol=2e-4) for name in a)
    losses = [metrics(tmp_path / name)[1]["loss/total"] for name in ("whole", "parts")]
    assert abs(losses[0] - losses[1]) < 1e-5


def test_seed_matters_and_so_does_the_target(tmp_path):
    tiny_train(tmp_path / "a", steps=2)
    tiny_train(tmp_path / "b", steps=2, seed=1)
    assert not same(saved(tmp_path / "a"), saved(tmp_path / "b"))
    tiny_train(tmp_path / "plain", steps=2, target="appearance")
    assert saved(tmp_path / "plain")["proj_out.weight"].shape[0] == 64
    assert all("loss/motion" not in line for line in metrics(tmp_path / "plain"))


def test_full_mode_trains_everything_and_lora_its_parts(tmp_path):
    before = base_pipeline().transformer.state_dict()
    exported = tiny_train(tmp_path / "full", steps=2)
    after = load_pipeline(exported)[0].transformer.state_dict()
    unchanged = [n for n in before if before[n].shape == after[n].shape
                 and torch.equal(before[n], after[n])]  # fmt: skip
    assert unchanged == []

    base_pipeline().save_pretrained(tmp_path / "base")
    tiny_train(tmp_path / "lora", steps=2, mode="lora", base=tmp_path / "base")
    trained = saved(tmp_path / "lora")
    assert {name for name in trained if "lora" not in name} == {
        "patch_embedding.weight", "patch_embedding.bias", "proj_out.weight", "proj_out.bias",
    }  # fmt: skip
    assert any("ffn.net.2.lora_B" in name for name in trained)
    assert any("attn2.to_k.lora_A" in name for name in trained)


def test_a_control_with_lora_is_a_plain_model_again(tmp_path):
    exported = tiny_train(tmp_path, steps=3, mode="lora", target="appearance", learning_rate=1e-2)
    state = WanTransformer3DModel.from_pretrained(exported, subfolder="transformer").state_dict()
    base = base_pipeline().transformer.state_dict()
    assert state.keys() == base.keys()
    assert torch.equal(state["proj_out.weight"], base["proj_out.weight"])
    name = "blocks.0.attn1.to_q.weight"
    assert not torch.equal(state[name], base[name])
    with pytest.raises(ValueError, match="adapter is for joint models"):
        tiny_train(tmp_path / "b", mode="lora", target="appearance", export="adapter")


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_adapter_and_folder_are_the_same_model(tmp_path, ema_decay):
    """base + LoRA + projections gives what the merged stock folder gives."""
    base_pipeline().save_pretrained(tmp_path / "base")
    tiny_train(
        tmp_path / "run", steps=3, mode="lora", lora_alpha=8.0, learning_rate=1e-2,
        base=tmp_path / "base", export="both", ema_decay=ema_decay,
    )  # fmt: skip
    folder, info = load_pipeline(tmp_path / "run" / "model")
    adapter, same_info = load_pipeline(tmp_path / "run" / "adapter")
    assert info == dataclasses.replace(same_info, base_fingerprint=None)
    assert (info.text_dropout, info.motion_dropout) == (0.3, 0.2)
    g = torch.Generator().manual_seed(0)
    inputs = {
        "hidden_states": torch.randn(1, 32, 2, 4, 4, generator=g),
        "timestep": torch.tensor([500]),
        "encoder_hidden_states": torch.randn(1, 7, 16, generator=g),
    }
    with torch.no_grad():
        a = folder.transformer(**inputs).sample
        b = adapter.transformer(**inputs).sample
        start = base_pipeline().transformer
        base = start(**inputs | {"hidden_states": inputs["hidden_states"][:, :16]}).sample
    assert torch.allclose(a, b, atol=1e-5)
    assert (a[:, :16] - base).abs().max() > 1e-3
    assert a[:, 16:].abs().max() > 1e-3


def test_ema_is_what_is_exported(tmp_path):
    exported = tiny_train(tmp_path, steps=4, ema_decay=0.9)
    state = load_pipeline(exported)[0].transformer.state_dict()
    ema = saved(tmp_path, "ema")
    assert all(torch.equal(state[name], value) for name, value in ema.items())
    assert not torch.equal(state["proj_out.weight"], saved(tmp_path)["proj_out.weight"])


def test_another_configuration_in_the_same_folder_is_refused(tmp_path):
    tiny_train(tmp_path, steps=2)
    with pytest.raises(ValueError, match=r"weight_decay: 0\.0 there, 0\.1 now.*new --out"):
        tiny_train(tmp_path, steps=2, weight_decay=0.1)
    tiny_train(tmp_path, steps=4, log_every=1)  # more steps continue
    assert metrics(tmp_path)[-1]["step"] == 4


def test_wrong_row_order_is_caught_before_training(tmp_path, monkeypatch):
    from videojam.joint.find_family import family_of

    wrong = dataclasses.replace(family_of(base_pipeline().transformer), out_order="slow")
    monkeypatch.setattr(loop, "family_of", lambda transformer: wrong)
    with pytest.raises(RuntimeError, match=r"differs from its base.*adding_a_model"):
        tiny_train(tmp_path)
    assert not checkpoints(tmp_path / "checkpoints")


def test_loss_falls_in_bf16_with_checkpointing(tmp_path):
    tiny_train(
        tmp_path, steps=40, learning_rate=3e-3, precision="bf16", gradient_checkpointing=True,
        validate_every=40, global_batch_size=4,
    )  # fmt: skip
    validation = [line for line in metrics(tmp_path) if "validation/motion" in line]
    first, last = (line["validation/appearance"] for line in validation)
    assert last < 0.9 * first


def test_old_checkpoints_are_removed_only_when_newer_ones_are_there(tmp_path):
    tiny_train(tmp_path, checkpoint_every=2, keep_checkpoints=3)
    names = [path.name for path in checkpoints(tmp_path / "checkpoints")]
    assert names == ["step-00000008", "step-00000010", "step-00000012"]


def test_paired_videos_are_asked_for_in_eval_mode(tmp_path):
    asked = []
    tiny_train(
        tmp_path, steps=4, sample_every=2,
        sample=lambda model, folder, step: asked.append((model.training, folder.name, step)),
    )  # fmt: skip
    assert asked == [(False, "step-00000002", 2), (False, "step-00000004", 4)]
