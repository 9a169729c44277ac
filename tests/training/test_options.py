"""Every training option does what it says, and an option that would do nothing is refused."""

import contextlib
import json
import math
from dataclasses import asdict

import pytest
import torch
from tiny_run import base_pipeline, saved, tiny_config, tiny_train

from videojam import widen
from videojam.objective import Objective
from videojam.training import loop
from videojam.training.checkpoints import checkpoints

RATE = 1e-3
LORA = {"mode": "lora", "precision": "bf16"}
APART = {**LORA, "frozen_storage": "float8", "gradient_checkpointing": True}


def metrics(out, key="loss/total"):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if key in line]


def rates(out):
    return [line["learning_rate"] for line in metrics(out)]


def run(out, **changes):
    """Short, and silent but for what is asked."""
    settings = {"steps": 1, "validate_every": 0, "log_every": 1, "checkpoint_every": 100}
    tiny_train(out, **settings | changes)
    return saved(out)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """One step with AdamW at 1e-3, clipped at a norm of 1."""
    return run(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def trained(monkeypatch):
    """The model that is trained, in the hands of a test before its first step."""
    seen = []
    make = loop.trainable_model

    def keep(*args):
        seen.append(make(*args))
        for hook in hooks:
            hook(seen[-1])
        return seen[-1]

    hooks = []
    monkeypatch.setattr(loop, "trainable_model", keep)
    return seen, hooks


@pytest.mark.parametrize(("mode", "expected"), [("full", 5e-6), ("lora", 1e-4)])
def test_the_learning_rate_follows_the_mode(tmp_path, mode, expected):
    config = tiny_config(tmp_path, mode=mode, learning_rate=None)
    assert config.rate == expected
    assert tiny_config(tmp_path, mode=mode, learning_rate=0.25).rate == 0.25


def test_the_first_step_of_adam_is_as_long_as_its_rate(plain, trained):
    start = {name: value for name, value in base_pipeline().transformer.state_dict().items()}
    name = "blocks.0.ffn.net.2.weight"
    step = (plain[name] - start[name]).abs()
    assert step.median() == pytest.approx(RATE, rel=1e-2)


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0, [1, 1, 1, 1]),
        ("constant_with_warmup", 2, [0.5, 1, 1, 1]),
        ("linear", 0, [0.75, 0.5, 0.25, 0]),
        ("cosine", 0, [(1 + math.cos(math.pi * k / 4)) / 2 for k in (1, 2, 3, 4)]),
        ("cosine", 2, [0.5, 1, 0.5, 0]),
    ],
)
def test_schedules_and_warm_up(tmp_path, schedule, warmup, expected):
    run(tmp_path, steps=4, lr_schedule=schedule, warmup_steps=warmup)
    assert rates(tmp_path) == pytest.approx([RATE * factor for factor in expected], abs=1e-9)


def test_weight_decay_shrinks_by_rate_times_decay(tmp_path, plain):
    start = base_pipeline().transformer.state_dict()
    decayed = run(tmp_path, weight_decay=0.5)
    name = "blocks.1.attn1.to_q.weight"
    assert torch.allclose(plain[name] - decayed[name], RATE * 0.5 * start[name], atol=1e-7)


@pytest.mark.parametrize("limit", [0.1, 1e3])
def test_gradients_are_clipped_to_the_norm(tmp_path, limit):
    run(tmp_path, max_grad_norm=limit)
    state = saved(tmp_path, "optimiser")
    first = [value / 0.1 for name, value in state.items() if name.endswith("//exp_avg")]
    norm = math.sqrt(sum(float(value.square().sum()) for value in first))  # 0.1 is 1 - beta1
    found = metrics(tmp_path)[0]["grad_norm"]
    assert norm == pytest.approx(min(limit, found), rel=1e-3)


def test_averages_are_those_of_the_closed_form(tmp_path):
    run(tmp_path, steps=3, ema_decay=0.1, checkpoint_every=1, keep_checkpoints=3)
    name = "proj_out.weight"
    from safetensors.torch import load_file

    weights, averages = (
        [
            {k: v for file in (c / what).iterdir() for k, v in load_file(file).items()}[name]
            for c in checkpoints(tmp_path / "checkpoints")
        ]
        for what in ("weights", "ema")
    )
    average = averages[0]
    for number, weight in enumerate(weights[1:], 2):
        decay = min(0.1, number / (9 + number))  # diffusers' warm-up of the decay
        average = average + (1 - decay) * (weight - average)
        assert torch.allclose(average, averages[number - 1], atol=1e-6)


def test_validation_and_samples_see_the_averages(tmp_path, monkeypatch):
    seen = []

    def look(model, *args):
        seen.append(model.proj_out.weight.detach().clone())
        return {"appearance": 0.0}

    monkeypatch.setattr(loop, "validation_losses", look)
    run(
        tmp_path, steps=2, ema_decay=0.3, validate_every=2, sample_every=2,
        sample=lambda model, *_: seen.append(model.proj_out.weight.detach().clone()),
    )  # fmt: skip
    average = saved(tmp_path, "ema")["proj_out.weight"]
    assert len(seen) == 3  # before the first step, after the last, and the sample
    assert all(torch.equal(found, average) for found in seen[1:])
    assert not torch.equal(average, saved(tmp_path)["proj_out.weight"]), "the swap is undone"


def test_gradient_checkpointing_keeps_fewer_activations(tmp_path, trained):
    _, hooks = trained
    kept = {}
    for on in (False, True):
        count = [0]

        def count_saved(model, count=count):
            forward = model.forward

            def counted(*args, **kwargs):
                def pack(tensor):
                    count[0] += tensor.numel()
                    return tensor

                with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                    return forward(*args, **kwargs)

            model.forward = counted

        hooks[:] = [count_saved]
        run(tmp_path / str(on), gradient_checkpointing=on)
        kept[on] = count[0]
    assert kept[True] < 0.5 * kept[False]


def test_precision_is_the_type_inside_a_block(tmp_path, trained):
    _, hooks = trained
    for precision, expected in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        types = set()

        def note(module, inputs, output, types=types):
            if torch.is_grad_enabled():  # in training, that is
                types.add(output.dtype)

        hooks[:] = [lambda model, note=note: model.blocks[0].attn1.to_q.register_forward_hook(note)]
        run(tmp_path / precision, precision=precision)
        assert types == {expected}


def test_lora_rank_and_alpha(tmp_path, trained):
    seen, _ = trained
    base_pipeline().save_pretrained(tmp_path / "base")
    for alpha, scale in ((None, 1.0), (2.0, 0.5)):
        weights = run(
            tmp_path / str(alpha),
            mode="lora",
            lora_rank=4,
            lora_alpha=alpha,
            base=tmp_path / "base",
        )
        assert weights["blocks.0.attn1.to_q.lora_A.default.weight"].shape[0] == 4
        assert seen[-1].blocks[0].attn1.to_q.scaling["default"] == scale


@pytest.mark.parametrize("size", [None, 1, 3])
def test_micro_batches_are_as_large_as_asked(tmp_path, monkeypatch, size):
    sizes = []
    loss = loop.training_loss
    monkeypatch.setattr(
        loop, "training_loss", lambda *a: (sizes.append(len(a[1].numbers)), loss(*a))[1]
    )
    weights = run(tmp_path / "a", global_batch_size=4, micro_batch_size=size)
    assert sizes[2:] == {None: [4], 1: [1] * 4, 3: [3, 1]}[size]  # two measure the cost
    whole = run(tmp_path / "b", global_batch_size=4)
    moved = max(float((weights[n] - whole[n]).abs().max()) for n in whole)
    assert moved < 2 * RATE  # Adam's first step is the sign of a gradient, and rounding may turn it
    parts, at_once = (metrics(tmp_path / name)[0]["loss/total"] for name in "ab")
    assert parts == pytest.approx(at_once, abs=1e-6)


def test_projections_have_a_rate_of_their_own(tmp_path, plain):
    faster = run(tmp_path, projection_rate=3.0)
    start = widen(base_pipeline().transformer).state_dict()["proj_out.weight"]
    step, longer = (weights["proj_out.weight"] - start for weights in (plain, faster))
    assert torch.allclose(longer, 3 * step, atol=1e-6)
    assert torch.equal(faster["blocks.0.attn1.to_q.weight"], plain["blocks.0.attn1.to_q.weight"])


def test_a_run_starts_from_the_weights_of_another(tmp_path):
    first = run(tmp_path / "a", ema_decay=0.5, steps=2)
    source = checkpoints(tmp_path / "a" / "checkpoints")[-1]
    run(tmp_path / "b", start_from=source, learning_rate=1e-9)
    average, begun = saved(tmp_path / "a", "ema"), saved(tmp_path / "b")
    assert all(torch.allclose(begun[name], average[name], atol=1e-6) for name in first)
    with pytest.raises(ValueError, match="is no checkpoint; give a folder such as"):
        run(tmp_path / "c", start_from=tmp_path)
    with pytest.raises(ValueError, match="weights of another model"):
        run(tmp_path / "d", start_from=source, target="appearance")


def test_what_is_kept_validated_and_logged_how_often(tmp_path):
    tiny_train(
        tmp_path, steps=6, checkpoint_every=1, keep_checkpoints=2, keep_every=3, validate_every=4,
        log_every=3, validation_sigmas=(0.25, 0.5),
    )  # fmt: skip
    names = [int(path.name[-2:]) for path in checkpoints(tmp_path / "checkpoints")]
    assert names == [3, 4, 5, 6]
    assert [line["step"] for line in metrics(tmp_path)] == [3, 6]
    validations = metrics(tmp_path, "validation/motion")
    assert [line["step"] for line in validations] == [0, 4, 6]
    assert {key for key in validations[0] if "motion@" in key} == {
        "validation/motion@0.25", "validation/motion@0.5",
    }  # fmt: skip


def test_blocks_are_compiled_when_asked(tmp_path, trained):
    _, hooks = trained
    calls = []
    hooks[:] = [
        lambda model: setattr(model, "compile_repeated_blocks", lambda **k: calls.append(k))
    ]
    run(tmp_path / "a", compile=True)
    run(tmp_path / "b")
    assert calls == [{"dynamic": False}]


def test_a_tracker_gets_settings_and_losses(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path, trackers=("tensorboard",), tracker_project="jumps", steps=2)
    events = EventAccumulator(str(tmp_path / "jumps")).Reload()
    assert [event.value for event in events.Scalars("loss/total")] == pytest.approx(
        [line["loss/total"] for line in metrics(tmp_path)]
    )
    hparams = [*(tmp_path / "jumps").rglob("hparams.yml")]
    assert hparams and "learning_rate: 0.001" in hparams[0].read_text()


def test_a_tracker_that_is_not_installed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"wandb is not installed; pip install"):
        run(tmp_path, trackers=("wandb",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup_steps": 5}, "warmup_steps would have no effect: lr_schedule is constant"),
        ({"lora_alpha": 2.0}, "lora_alpha would have no effect: mode is full"),
        ({"sample_prompts": ("a",)}, "sample_prompts would have no effect"),
        ({"sample_every": 5, "target": "appearance"}, "paired videos need the joint target"),
        ({"projection_rate": 2.0, "optimiser": "muon"}, "muon has one rate for all"),
        ({"projection_rate": 2.0, "target": "appearance"}, "no new projections"),
        ({"reduce_dtype": "bfloat16"}, "sharding is none"),
        ({"shard_group": 2}, "sharding is not hybrid"),
        ({"run_name": "x"}, "there are no trackers"),
        ({"micro_batch_size": 4}, "larger than the global batch"),
        ({"micro_batch_size": 0}, "expected at least 1"),
        ({"weight_decay": -0.1}, "expected 0 or more"),
        ({"max_grad_norm": 0.0}, "expected a positive number"),
        ({"max_grad_norm": math.nan}, "expected a positive number"),
        ({"learning_rate": 0.0}, "expected between 0 and 1"),
        ({"keep_every": -1}, "expected 0 or more"),
        ({"fused": True, "optimiser": "muon"}, "fused would have no effect: optimiser is muon"),
        ({"frozen_storage": "int8"}, "frozen_storage int8 needs mode lora"),
        ({"offload_blocks": True}, "offload_blocks needs mode lora"),
        ({**LORA, "frozen_storage": "nf4", "offload_blocks": True}, "nf4 cannot be offloaded"),
        ({"mode": "lora", "frozen_storage": "int8"}, "computes in bfloat16"),
        ({**LORA, "frozen_storage": "float8"}, "float8 needs gradient_checkpointing"),
        ({**LORA, "offload_blocks": True}, "offload_blocks needs gradient_checkpointing"),
        ({**LORA, "frozen_storage": "int8", "sharding": "full"}, "not work with sharding full"),
        ({"optimiser": "adamw8bit", "sharding": "full"}, "adamw8bit does not work with sharding"),
        ({"optimiser_on_cpu": True, "optimiser": "muon"}, "needs optimiser adamw, not muon"),
        ({**APART, "compile": True}, "does not work with compile"),
        ({**APART, "export": "folder"}, "has no whole weights to export"),
        ({**APART, "target": "appearance"}, "needs the joint target"),
        ({**APART, "offload_blocks": True, "sample_every": 5}, "cannot sample on the way"),
        ({"context_parallel": 2, "sample_every": 5}, "context_parallel cannot sample on the way"),
        ({"context_parallel": 0}, "expected at least 1"),
        ({"data_weights": (1.0, 0.0)}, "expected positive numbers"),
    ],
)
def test_what_would_do_nothing_or_harm_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(tmp_path, **changes)


def test_a_run_of_before_an_option_goes_on_without_it(tmp_path):
    """Options that were not there then, and are as usual now, change nothing; others do."""
    from videojam.training.log import remember

    def settings(**changes):
        config = tiny_config(tmp_path, **changes)
        return {"train": asdict(config), "data": {"sigma": 0.15}}

    before = settings()
    for name in ("image_dropout", "sigma_range"):
        del before["train"]["objective"][name]
    for name in ("distill_guidance", "guidance", "weight_decay"):
        del before["train"][name]
    for changes, message in (
        ({}, None),
        ({"objective": Objective(text_dropout=0.2)}, r"objective.text_dropout: 0.3 there, 0.2"),
        ({"objective": Objective(image_dropout=0.5)}, r"image_dropout: None there, 0.5 now"),
        ({"weight_decay": 0.5}, r"weight_decay: .* there, 0.5 now"),
    ):
        (tmp_path / "config.json").unlink(missing_ok=True)
        remember(tmp_path, before, False)
        refused = pytest.raises(ValueError, match=message) if message else contextlib.nullcontext()
        with refused:
            remember(tmp_path, settings(**changes), True)
