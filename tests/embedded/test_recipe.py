"""The recipe of the embedded model: every stage once, in order, also after a kill."""

import io
import json
import shutil
import signal
import time
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tiny_lab import TINY

from videojam import VideoJAM
from videojam.cli import lab_model
from videojam.cli.lab_model import LabModelArgs
from videojam.data.dataset import columns
from videojam.data.prepare.prepare import samples_path
from videojam.embedded import recipe
from videojam.embedded.lab_file import lab_of, write_lab
from videojam.embedded.recipe import make_lab_model
from videojam.evaluation.experiments.lab_models import held_out_lab
from videojam.lab.clips import Lab

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


def test_another_seed_shares_the_data_and_has_other_weights(lab_models, tmp_path):
    out = tmp_path / "models"
    shutil.copytree(lab_models, out)
    first = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    model = make_lab_model(replace(TINY, seed=3), out, console=Console(quiet=True))
    assert model == out / "seed-3" / "videojam"
    assert all(path.stat().st_mtime_ns == time for path, time in first.items())
    other, own = load_file(model.parent / "start" / WEIGHTS), load_file(out / "start" / WEIGHTS)
    assert other.keys() == own.keys()
    assert sum(not torch.equal(other[key], own[key]) for key in own) > len(own) / 2
    for part in ("vae/diffusion_pytorch_model", "text_encoder/model"):
        mine, start = (load_file(f / f"{part}.safetensors") for f in (model, out / "start"))
        assert all(torch.equal(mine[key], start[key]) for key in start)
    for name in ("base", "control", "videojam"):
        config = json.loads((out / "seed-3" / "runs" / name / "config.json").read_text())
        assert config["train"]["seed"] == 3
        assert config["data"]["base"] == str(
            out / "seed-3" / ("start" if name == "base" else "base")
        )


def test_the_autoencoder_of_another_model_is_trained_on(lab_models, tmp_path, monkeypatch):
    """What the autoencoder is before its first step."""
    seen = {}

    def look(vae, *arguments, **keywords):
        seen.update({key: value.clone() for key, value in vae.state_dict().items()})
        seen["mean"] = vae.config.latents_mean
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "fit_autoencoder", look)
    monkeypatch.setattr(recipe, "embedded", lambda: lab_models / "videojam")
    with pytest.raises(KeyboardInterrupt):
        make_lab_model(replace(TINY, autoencoder_from="embedded"), tmp_path / "a")
    weights = load_file(lab_models / "videojam" / "vae" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(seen[key], weight) for key, weight in weights.items())
    config = json.loads((lab_models / "videojam" / "vae" / "config.json").read_text())
    assert seen["mean"] == config["latents_mean"]
    wider = replace(TINY, model=replace(TINY.model, vae_width=32))
    with pytest.raises(ValueError, match="other sizes than this recipe's"):
        make_lab_model(
            replace(wider, autoencoder_from=str(lab_models / "videojam")), tmp_path / "b"
        )


def test_the_model_knows_the_clips_that_it_was_trained_on(lab_models, tmp_path):
    lab = lab_of(lab_models / "videojam", 2000)
    assert lab == replace(TINY.lab, seed=2000)
    other = Lab(types=("hoop",), backdrop=0.5, frames=9, height=32, width=32)
    shutil.copy(lab_models / "videojam" / "videojam.json", tmp_path)
    assert lab_of(tmp_path, 5) == Lab(frames=9, height=32, width=32, seed=5)  # an older model
    write_lab(tmp_path, other)
    assert lab_of(tmp_path, 5) == replace(other, seed=5)
    assert held_out_lab(tmp_path, 1000) == replace(other, seed=1000)


def test_a_time_limit_stops_any_stage_and_the_same_command_goes_on(tmp_path, monkeypatch, capsys):
    """Trainings end at a step of theirs; here, one stage after the other is too slow."""
    before = signal.getsignal(signal.SIGTERM)
    args = LabModelArgs(out=tmp_path / "a", minutes=0.01, recipe=TINY)
    slow = {"fit_text_encoder": 4, "fit_autoencoder": 4, "lab_pixels": -1, "prepare_lab": -1}
    for name, place in slow.items():

        def until_stopped(*arguments, place=place, **keywords):
            while True:
                time.sleep(0.01)
                between = keywords.get("between") or arguments[place]
                between(*[0, 0.0] if place > 0 else [])

        with monkeypatch.context() as patch:
            patch.setattr(recipe, name, until_stopped)
            if name == "prepare_lab":
                patch.setattr(recipe, "_write_start", lambda *a: (tmp_path / "a/start").mkdir())
            with pytest.raises(SystemExit) as stopped:
                lab_model.main(args)
        assert stopped.value.code == 143
        assert "the same command goes on" in capsys.readouterr().out
        assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(ValueError, match="minutes is 0"):
        lab_model.main(replace(args, minutes=0.0))


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
