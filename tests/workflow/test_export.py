"""A run, finished or stopped, becomes a model to pass on."""

import json

import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import load_file
from tiny_run import base_pipeline, tiny_train

from videojam.cli.main import main
from videojam.joint.checkpoint import load_pipeline, read_info
from videojam.training.checkpoints import checkpoints

INPUTS = {
    "hidden_states": torch.randn(1, 32, 2, 4, 4, generator=torch.Generator().manual_seed(0)),
    "timestep": torch.tensor([500]),
    "encoder_hidden_states": torch.ones(1, 7, 16),
}


def types_of(folder):
    files = sorted(folder.glob("*.safetensors"))
    return {name: value.dtype for file in files for name, value in load_file(file).items()}


def output(model):
    with torch.no_grad():
        return load_pipeline(model)[0].transformer(**INPUTS).sample


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A run with LoRA and averaged weights, and its base, which has a license."""
    root = tmp_path_factory.mktemp("export")
    base_pipeline().save_pretrained(root / "base")
    (root / "base" / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    tiny_train(
        root / "run", steps=4, checkpoint_every=2, mode="lora", lora_alpha=8.0, learning_rate=1e-2,
        base=root / "base", ema_decay=0.5, export="both",
    )  # fmt: skip
    return root


def run(root, out, *options):
    main(["export", "--source", str(root), "--out", str(out), *options])


def test_the_newest_checkpoint_is_what_training_exported(root, tmp_path):
    run(root / "run", tmp_path / "adapter", "--form", "adapter")
    run(root / "run", tmp_path / "folder")
    run(root / "run" / "adapter", tmp_path / "from-adapter")
    expected = output(root / "run" / "adapter")
    assert torch.equal(output(tmp_path / "adapter"), expected)
    for name in ("folder", "from-adapter"):
        torch.testing.assert_close(output(tmp_path / name), expected, rtol=1e-5, atol=1e-5)
    info = read_info(tmp_path / "adapter")
    assert (info.text_dropout, info.base_fingerprint) == (
        0.3, read_info(root / "run" / "adapter").base_fingerprint,
    )  # fmt: skip
    card = (tmp_path / "adapter" / "README.md").read_text()
    for words in ("license: apache-2.0", "5 frames of 32 x 32, 8 per second", "| step | 4 |",
                  "Lora alpha | 8", "loss/motion", "| Base | base |"):  # fmt: skip
        assert words in card
    assert str(root) not in card


def test_a_chosen_checkpoint_with_or_without_averaging(root, tmp_path):
    run(
        root / "run",
        tmp_path / "raw",
        "--form",
        "adapter",
        "--checkpoint",
        "2",
        "--weights",
        "last",
    )
    run(root / "run", tmp_path / "ema", "--form", "adapter", "--checkpoint", "2")
    saved = checkpoints(root / "run" / "checkpoints")[0]
    for name, file in (("raw", "weights"), ("ema", "ema")):
        found = load_file(tmp_path / name / "projections.safetensors")["transformer.proj_out.bias"]
        (source,) = (saved / file).iterdir()
        assert torch.equal(found, load_file(source)["proj_out.bias"])


def test_type_and_shards(root, tmp_path):
    run(root / "run", tmp_path / "half", "--dtype", "bfloat16", "--shard-size", "20KB")
    files = list((tmp_path / "half" / "transformer").glob("*.safetensors"))
    assert len(files) > 2
    assert {value.dtype for file in files for value in load_file(file).values()} == {torch.bfloat16}


def test_full_training_of_a_bfloat16_base_stays_so(tmp_path):
    base_pipeline().to(torch.bfloat16).save_pretrained(tmp_path / "plain")
    stock = WanPipeline.from_pretrained(tmp_path / "plain", dtype=torch.bfloat16)
    stock.save_pretrained(tmp_path / "base")  # its class keeps norms in float32, as published
    from videojam.joint.checkpoint import load_base

    exported = tiny_train(
        tmp_path / "run", steps=1, base=tmp_path / "base", pipe=load_base(tmp_path / "base")
    )
    run(tmp_path / "run", tmp_path / "again")
    for folder in (exported, tmp_path / "again"):
        for part in ("transformer", "vae", "text_encoder"):
            stored, before = (
                {
                    n: v.dtype
                    for f in (one / part).glob("*.safetensors")
                    for n, v in load_file(f).items()
                }
                for one in (folder, tmp_path / "base")
            )
            assert stored == before, (folder.name, part)
    first, second = (
        load_pipeline(folder)[0].transformer.state_dict()
        for folder in (exported, tmp_path / "again")
    )
    assert all(torch.equal(second[name], value) for name, value in first.items())


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("run", ["--checkpoint", "3"], "has no checkpoint of step 3: 2, 4"),
        ("run/model", ["--form", "adapter"], "is a whole model, which gives no adapter"),
        ("run/model", ["--weights", "last"], "is no run; checkpoint and weights are for runs"),
        ("nowhere", [], "not a folder on this machine"),
        ("base", [], "no videojam.json"),
        ("run", ["--push-to-hub", "me"], "push_to_hub is 'me', expected owner/name"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    root, tmp_path, capsys, source, options, message
):
    with pytest.raises(SystemExit):
        run(root / source, tmp_path / "out", *options)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(root, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit):
        run(root / "run", tmp_path)
    assert "is not empty" in capsys.readouterr().err


def test_training_goes_on_from_an_adapter(root, tmp_path):
    """Its LoRA is fused, a new one is trained; the new adapter's base is the old adapter."""
    from videojam.joint.checkpoint import load_base

    before = output(root / "run" / "adapter")
    exported = tiny_train(
        tmp_path / "more", steps=1, mode="lora", base=root / "run" / "adapter",
        pipe=load_base(root / "run" / "adapter"), learning_rate=1e-2,
    )  # fmt: skip
    after = output(exported)
    assert 1e-4 < (after - before).abs().max() < 1
    assert json.loads((exported / "videojam.json").read_text())["base"].endswith("run/adapter")
