"""What makes a large model fit a small card does so, and changes nothing else."""

import dataclasses
import json

import pytest
import torch
from tiny_run import base_pipeline, saved, tiny_config, tiny_train

from videojam import widen
from videojam.joint.checkpoint import load_pipeline
from videojam.joint.find_family import family_of
from videojam.training import frozen, loop
from videojam.training.cost import training_flops
from videojam.training.model import trainable_model
from videojam.training.optimisers import AdamWOnCPU

SETTINGS = {"mode": "lora", "precision": "bf16", "steps": 2, "validate_every": 0, "log_every": 1}
FLOAT8 = {"frozen_storage": "float8", "gradient_checkpointing": True}


def pipeline(change=lambda weight: weight):
    """A bfloat16 base; change: of the matrices in its blocks."""
    pipe = base_pipeline()
    pipe.transformer.to(torch.bfloat16)
    for matrix in matrices(pipe.transformer):
        matrix.data = change(matrix.data)
    return pipe


def matrices(model):
    return [m.weight for m in model.blocks.modules() if isinstance(m, torch.nn.Linear)]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def trained(monkeypatch):
    """The model that is trained."""
    seen, make = [], loop.trainable_model
    monkeypatch.setattr(loop, "trainable_model", lambda *a: seen.append(make(*a)) or seen[-1])
    return seen


def run(out, base, pipe=None, **changes):
    exported = tiny_train(out, pipe=pipe or pipeline(), base=base, **SETTINGS | changes)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return exported, [line["loss/total"] for line in lines]


def frozen_bytes(model):
    """Of the frozen matrices: LoRA's base layers."""
    layers = [m.base_layer.weight for m in model.modules() if hasattr(m, "base_layer")]
    return sum(weight.nbytes for weight in layers)


@pytest.mark.parametrize(
    ("storage", "share", "off"),
    [("float8", 1 / 2, 0.002), ("int8", 1 / 2, 0.002), ("nf4", 1 / 4, 0.01)],
)
def test_a_frozen_base_is_smaller_and_its_adapter_fits_the_base(
    tmp_path, base, trained, storage, share, off
):
    _, plain = run(tmp_path / "plain", base)
    exported, losses = run(
        tmp_path / storage, base, frozen_storage=storage, gradient_checkpointing=True
    )
    whole, small = map(frozen_bytes, trained)
    assert small == pytest.approx(share * whole, rel=1e-6)
    assert losses != plain and losses == pytest.approx(plain, rel=off)
    assert all(p.dtype == torch.float32 for p in trained[-1].parameters() if p.requires_grad)
    # The adapter says that it belongs to the base as it was loaded, not as it was rounded.
    loaded, info = load_pipeline(exported)
    assert info.base_fingerprint
    name = "blocks.0.attn1.to_q.weight"
    start = pipeline().transformer.state_dict()[name]
    moved = loaded.transformer.state_dict()[name].float() - start.float()
    assert 0 < moved.norm() < 0.1 * start.float().norm()


def test_a_base_kept_apart_is_compared_through_its_first_block(tmp_path, base, monkeypatch):
    """On the CPU, where all blocks of a large model take minutes; a wrong order is found there."""
    calls, block = [], type(base_pipeline().transformer.blocks[0])
    forward = block.forward
    monkeypatch.setattr(block, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))

    def enough(model, *_):
        assert len(model.blocks) == 2
        raise ValueError("enough")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="enough"):
        patch.setattr(loop, "trainable_model", enough)
        run(tmp_path, base, **FLOAT8)
    assert len(calls) == 2, "the base once and the widened model once"
    wrong = dataclasses.replace(family_of(base_pipeline().transformer), out_order="slow")
    monkeypatch.setattr(loop, "family_of", lambda transformer: wrong)
    with pytest.raises(RuntimeError, match="differs from its base"):
        run(tmp_path, base, **FLOAT8)


def test_float8_is_training_on_weights_that_were_rounded(tmp_path, base):
    _, rounded = run(
        tmp_path / "rounded", base, gradient_checkpointing=True,
        pipe=pipeline(lambda weight: weight.to(torch.float8_e4m3fn).to(torch.bfloat16)),
    )  # fmt: skip
    _, losses = run(tmp_path / "float8", base, **FLOAT8)
    assert losses == rounded
    a, b = saved(tmp_path / "rounded"), saved(tmp_path / "float8")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_weights_kept_apart_are_there_when_their_block_works_and_only_then():
    """As offloading does it; a wider type stands for the other place, and loses nothing."""
    found = {}
    for apart in (False, True):
        model = joint_lora(gradient_checkpointing=True)
        seen = []
        if apart:
            frozen.keep_apart(model, torch.device("cpu"), torch.float64, offload=True)
            assert {w.dtype for w in base_layers(model)} == {torch.float64}
            model.blocks[1].attn1.register_forward_pre_hook(
                lambda *_, model=model, seen=seen: seen.append(
                    [block.attn1.to_q.base_layer.weight.dtype for block in model.blocks]
                )
            )
        loss(model).backward()
        found[apart] = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        if apart:
            assert seen == [[torch.float64, torch.float32]] * 2  # in both passes
            assert {w.dtype for w in base_layers(model)} == {torch.float64}
    assert found[True].keys() == found[False].keys()
    assert all(torch.equal(found[True][n], found[False][n]) for n in found[True])


def joint_lora(**changes):
    model = widen(base_pipeline().transformer)
    config = tiny_config("nowhere", mode="lora", **changes)
    model = trainable_model(model, config, family_of(model), 16)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.01)
    return model


def base_layers(model):
    return [m.base_layer.weight for m in model.modules() if hasattr(m, "base_layer")]


def loss(model):
    g = torch.Generator().manual_seed(0)
    z, text = torch.randn(1, 32, 2, 4, 4, generator=g), torch.randn(1, 8, 16, generator=g)
    return model(z, torch.tensor([500]), text, return_dict=False)[0].square().mean()


@pytest.mark.parametrize("storage", ["int8", "nf4"])
def test_products_of_quantised_layers_count_as_any(storage):
    counted = []
    for quantised in (False, True):
        model = widen(pipeline().transformer)
        if quantised:
            frozen.quantise(model, storage, torch.device("cpu"))
        model = trainable_model(model, tiny_config("nowhere", mode="lora"), family_of(model), 16)

        def forward(model=model):
            with torch.autocast("cpu", torch.bfloat16):
                loss(model)

        counted.append(training_flops(forward, model))
    assert counted[1] == pytest.approx(counted[0], rel=1e-3)


def test_moments_in_eight_bits_are_smaller_and_resume_exactly(tmp_path):
    settings = {"optimiser": "adamw8bit", "steps": 4, "checkpoint_every": 2, "validate_every": 0}
    tiny_train(tmp_path / "straight", **settings)
    tiny_train(tmp_path / "again", **settings | {"steps": 2})
    start = widen(base_pipeline().transformer).state_dict()
    name = "blocks.1.ffn.net.0.proj.weight"
    moments = saved(tmp_path / "again", "optimiser")
    assert moments[f"{name}//state1"].dtype == torch.uint8
    assert moments[f"{name}//state1"].numel() == start[name].numel()
    tiny_train(tmp_path / "again", **settings)
    for what in ("weights", "optimiser"):
        a, b = saved(tmp_path / "straight", what), saved(tmp_path / "again", what)
        assert a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)
    tiny_train(tmp_path / "one", **settings | {"steps": 1})
    step = (saved(tmp_path / "one")[name] - start[name]).abs()
    assert step.median() == pytest.approx(
        1e-3, rel=0.02
    )  # Adam's first step is as long as its rate


def test_an_optimiser_on_the_cpu_is_adamw_and_resumes_exactly(tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "check_storage", lambda *_: None)  # which wants a device
    settings = {
        "steps": 4, "checkpoint_every": 2, "validate_every": 0, "projection_rate": 2.0,
        "weight_decay": 0.1, "lr_schedule": "cosine",
    }  # fmt: skip
    tiny_train(tmp_path / "device", **settings)
    made = []
    make = loop.make_optimiser
    monkeypatch.setattr(loop, "make_optimiser", lambda *a: made.append(make(*a)) or made[-1])
    tiny_train(tmp_path / "cpu", **settings, optimiser_on_cpu=True)
    shutil_copy(tmp_path / "cpu", tmp_path / "again")
    tiny_train(tmp_path / "again", **settings, optimiser_on_cpu=True)
    assert all(isinstance(one, AdamWOnCPU) for one in made) and len(made) == 2
    for out in ("cpu", "again"):
        for what in ("weights", "optimiser"):
            a, b = saved(tmp_path / "device", what), saved(tmp_path / out, what)
            assert a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def shutil_copy(run, to):
    """The run as it was at its first checkpoint."""
    import shutil

    shutil.copytree(run, to)
    shutil.rmtree(to / "checkpoints" / "step-00000004")


def test_fused_updates_are_the_same_but_for_rounding(tmp_path, monkeypatch):
    made = []
    make = loop.make_optimiser
    monkeypatch.setattr(loop, "make_optimiser", lambda *a: made.append(make(*a)) or made[-1])
    weights = []
    for on in (False, True):
        tiny_train(tmp_path / str(on), steps=2, validate_every=0, fused=on)
        weights.append(saved(tmp_path / str(on)))
    assert [bool(one.param_groups[0]["fused"]) for one in made] == [False, True]
    assert all(torch.allclose(weights[0][n], weights[1][n], atol=1e-5) for n in weights[0])


@pytest.mark.parametrize(
    "settings",
    [
        {"optimiser_on_cpu": True},
        {**SETTINGS, "offload_blocks": True, "gradient_checkpointing": True},
    ],
)
def test_what_needs_a_device_is_refused_on_a_cpu(tmp_path, settings):
    with pytest.raises(ValueError, match="this run is on a CPU: everything is there already"):
        tiny_train(tmp_path, **settings)


def test_a_library_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"adamw8bit needs bitsandbytes; pip install"):
        tiny_train(tmp_path, optimiser="adamw8bit")
