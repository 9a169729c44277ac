"""The recipe of the embedded model: every stage once, in order, also after a kill."""

import io
import json

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tiny_lab import TINY

from videojam import VideoJAM
from videojam.data.dataset import columns
from videojam.data.prepare.prepare import samples_path
from videojam.embedded import recipe
from videojam.embedded.recipe import make_lab_model

STAGES = ["autoencoder and text encoder", "dataset", "base", "control", "videojam"]
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


def run(out):
    """Stage -> whether it had been done before."""
    console = Console(record=True, width=200, file=io.StringIO())
    make_lab_model(TINY, out, console=console)
    lines = [line.partition(": ") for line in console.export_text().splitlines()]
    return {stage: rest == "done before" for stage, _, rest in lines if stage in STAGES}


def weights(folder):
    return load_file(folder / WEIGHTS)


def test_every_stage_is_done_and_the_same_call_does_nothing(lab_models):
    before = {path: path.stat().st_mtime_ns for path in lab_models.rglob("*")}
    assert run(lab_models) == dict.fromkeys(STAGES, True)
    assert {path: path.stat().st_mtime_ns for path in lab_models.rglob("*")} == before
    rows = columns(samples_path(lab_models / "data"), ("split",))
    assert [row["split"] for row in rows] == ["train"] * 40 + ["validation"] * 4
    assert not list(lab_models.glob("*.part"))


def test_stages_that_were_killed_are_done_again_to_the_same_end(lab_models, tmp_path, monkeypatch):
    """Every stage once, after its work and before its result is there."""
    out, killed = tmp_path / "models", []

    def killed_once(name, stage):
        def run_stage(*arguments, **keywords):
            result = stage(*arguments, **keywords)
            mark = f"{name} {result}" if name == "finetune" else name
            if mark not in killed:
                killed.append(mark)
                raise KeyboardInterrupt
            return result

        return run_stage

    for name in ("fit_autoencoder", "prepare_lab", "finetune"):
        monkeypatch.setattr(recipe, name, killed_once(name, getattr(recipe, name)))
    for stage in range(len(STAGES)):
        with pytest.raises(KeyboardInterrupt):
            run(out)
        assert len(killed) == stage + 1
        assert not (out / "start").exists() or stage > 0
        assert not any((out / name).exists() for name in STAGES[max(stage, 2) :])
    done = run(out)
    assert done == dict.fromkeys(STAGES[:4], True) | {"videojam": False}
    for name in ("base", "control", "videojam"):
        first, again = weights(lab_models / name), weights(out / name)
        assert first.keys() == again.keys()
        assert all(torch.equal(first[key], again[key]) for key in first)


def test_control_and_videojam_start_from_the_same_base_and_differ_in_the_target(lab_models):
    configs, losses = {}, {}
    for name in ("control", "videojam"):
        run_folder = lab_models / "runs" / name
        config = json.loads((run_folder / "config.json").read_text())
        configs[name] = config["train"] | {"out": None, "base": config["data"]["base"]}
        first = json.loads((run_folder / "metrics.jsonl").read_text().splitlines()[0])
        losses[name] = first["validation/appearance"]
    assert configs["control"].pop("target") == "appearance"
    assert configs["videojam"].pop("target") == "joint"
    assert configs["control"] == configs["videojam"]
    assert configs["control"]["base"] == str(lab_models / "base")
    assert losses["control"] == pytest.approx(losses["videojam"], rel=1e-5)
    base, control = (weights(lab_models / name) for name in ("base", "control"))
    assert any(not torch.equal(base[key], control[key]) for key in base)


@pytest.mark.parametrize(("name", "channels"), [("base", 16), ("control", 16), ("videojam", 32)])
def test_folders_are_stock_folders_with_the_same_other_parts(lab_models, name, channels):
    from diffusers import WanPipeline

    pipe = WanPipeline.from_pretrained(lab_models / name)
    assert pipe.transformer.config.in_channels == channels
    for part in ("vae/diffusion_pytorch_model", "text_encoder/model"):
        mine, start = (
            load_file(lab_models / folder / f"{part}.safetensors") for folder in (name, "start")
        )
        assert all(torch.equal(mine[key], start[key]) for key in start)


def test_the_model_samples_at_the_size_of_its_clips(lab_models):
    jam = VideoJAM.from_pretrained(lab_models / "videojam")
    clip = jam("a red ball bounces", num_inference_steps=2)
    assert clip.video.shape == clip.motion.shape == (9, 32, 32, 3)
    assert jam.info.estimator == "exact"
