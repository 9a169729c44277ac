"""The packed model: close to what was packed, unpacked once, also by two processes at a time."""

import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from videojam import VideoJAM
from videojam.cli.main import main
from videojam.embedded import shipped as module
from videojam.embedded.packing import load_packed, save_packed
from videojam.embedded.shipped import NAMES, embedded, pack
from videojam.evaluation.experiments import comparison
from videojam.evaluation.experiments.lab_models import (
    encode_captions,
    encode_flow,
    encode_frames,
    held_out_lab,
    load_model,
)
from videojam.evaluation.experiments.permuted_loss.frame_order import appearance_losses
from videojam.evaluation.metrics.flow_agreement import psnr
from videojam.joint.latents import decode_video, join, split
from videojam.lab.clips import Lab, lab_clips
from videojam.media.video import to_uint8
from videojam.sampling.samples import fingerprint
from videojam.workflow.lab_folder import write_lab_folder

PARTS = {
    "transformer": "transformer/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
}


@pytest.fixture(scope="module")
def packed(lab_models, tmp_path_factory):
    """A weights folder of the package with the tiny models in it."""
    folder = tmp_path_factory.mktemp("package") / "weights"
    size = pack(lab_models, folder)
    assert size == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return folder


@pytest.fixture
def cache(packed, tmp_path, monkeypatch):
    """These are the embedded models, and nothing has been unpacked."""
    monkeypatch.setattr(module, "_PACKED", packed)
    monkeypatch.setenv("VIDEOJAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("name", NAMES)
def test_unpacked_weights_are_within_rounding_of_the_originals(cache, lab_models, name):
    folder = embedded(name)
    assert cache in folder.parents
    for path in PARTS.values():
        before, after = load_file(lab_models / name / path), load_file(folder / path)
        for key, weight in before.items():
            difference = float((after[key] - weight).norm())
            assert difference <= 0.015 * float(weight.norm()), key
    mine = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    theirs = lab_models / name
    assert mine == {path.relative_to(theirs) for path in theirs.rglob("*") if path.is_file()}


def test_packing_makes_a_quarter_of_it(packed, lab_models):
    for name, path in PARTS.items():
        small = packed / f"{'videojam' if name == 'transformer' else name}.safetensors"
        share = small.stat().st_size / (lab_models / "videojam" / path).stat().st_size
        # Convolutions of a fresh autoencoder are too uneven for int8, so half of it.
        assert share < (0.6 if name == "vae" else 0.35)


def test_nothing_says_where_the_models_lay(packed, lab_models):
    for path in packed.rglob("*.json"):
        assert str(lab_models) not in path.read_text(), path


def test_uneven_matrices_are_kept_in_float16(tmp_path):
    even, uneven = torch.randn(8, 64), torch.full((8, 64), 0.003)
    uneven[:, 0] = 1.0
    save_packed({"even": even, "uneven": uneven, "ids": torch.arange(3)}, tmp_path / "a")
    packed = load_file(tmp_path / "a")
    assert (packed["even"].dtype, packed["uneven"].dtype) == (torch.int8, torch.float16)
    back = load_packed(tmp_path / "a")
    assert back.keys() == {"even", "uneven", "ids"}
    assert torch.allclose(back["uneven"], uneven, rtol=1e-3)
    assert torch.equal(back["ids"], torch.arange(3))


def test_folders_load_and_the_same_call_unpacks_nothing(cache):
    from diffusers import WanPipeline

    for name in ("base", "control"):
        assert WanPipeline.from_pretrained(embedded(name)).transformer.config.in_channels == 16
    clip = VideoJAM.default()("a red ball bounces", num_inference_steps=2)
    assert clip.video.shape == (9, 32, 32, 3)
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    assert [embedded(name).name for name in NAMES] == list(NAMES)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_another_package_unpacks_into_another_folder(cache, packed, tmp_path, monkeypatch):
    first = embedded()
    shutil.copytree(packed, tmp_path / "other")
    info = tmp_path / "other" / "videojam" / "videojam.json"
    info.write_text(info.read_text().replace('"fps": 16.0', '"fps": 12.0'))
    monkeypatch.setattr(module, "_PACKED", tmp_path / "other")
    assert embedded() != first
    assert json.loads((embedded() / "videojam.json").read_text())["fps"] == 12.0


def test_two_processes_may_unpack_at_once(cache, packed):
    script = (
        "import sys, pathlib\nfrom videojam.embedded import shipped as module\n"
        "module._PACKED = pathlib.Path(sys.argv[1])\nprint('ready', flush=True)\n"
        "sys.stdin.readline()\nprint(module.embedded())\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(packed)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    ends = [process.communicate("go\n", timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    (folder,) = {out.strip() for out, _ in ends}
    assert [path.name for path in cache.glob("*/*")] == ["videojam"], "no half-unpacked folder left"
    assert folder == str(next(cache.glob("*/*")))


def test_no_weights_and_wrong_names_are_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PACKED", tmp_path)
    with pytest.raises(ValueError, match=r"no embedded model; .* --model"):
        embedded()
    with pytest.raises(ValueError, match="no embedded model 'big'; there are base, control"):
        inspect.unwrap(embedded)("big")  # users do not run under the type checker of the tests


def test_commands_without_a_model_use_it_and_say_so(cache, tmp_path, capsys):
    out = tmp_path / "samples"
    main(["generate", "--prompt", "a red ball", "--num-inference-steps", "2", "--out", str(out),
          "--dtype", "float32", "--device", "cpu"])  # fmt: skip
    assert "using the embedded videojam model" in capsys.readouterr().out
    sidecar = json.loads(next(out.glob("*.json")).read_text())
    assert sidecar["model"] is None
    assert sidecar["sampling"]["height"] == 32, "the size that the model was trained at"

    from videojam.cli import generate

    again = generate.from_sidecar(next(out.glob("*.json")), tmp_path / "again")
    generate.main(again)
    for path in out.glob("*.mp4"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()

    clips = write_lab_folder(Lab(frames=9, height=32, width=32), tmp_path / "clips", 2)
    main(["prepare", "--videos", str(clips), "--captions", str(clips / "captions.jsonl"), "--out",
          str(tmp_path / "data"), "--sizes", "32", "32", "--num-frames", "9", "--num-workers", "0",
          "--previews", "0"])  # fmt: skip
    assert "using the embedded base model" in capsys.readouterr().out
    main(["train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--steps",
          "1", "--precision", "fp32", "--lora-rank", "2"])  # fmt: skip
    jam = VideoJAM.from_pretrained(tmp_path / "run" / "adapter")
    assert torch.isfinite(jam("a red ball", num_inference_steps=1).latents).all()


# --- the models that the package ships -----------------------------------------------------------


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDEOJAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield {name: load_model(name, embedded(name), "cpu") for name in NAMES}


def test_the_package_ships_no_more_than_30_megabytes():
    folder = Path(module.__file__).parent / "weights"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 30e6


def test_shipped_models_have_learnt_what_they_were_trained_for(shipped):
    """On clips that they were not trained on; a model that predicts zeros has losses above 1."""
    lab = held_out_lab(embedded("videojam"), seed=1000)
    scenes, drawn = lab_clips(lab, range(4))
    jam = shipped["videojam"]
    x, d = encode_frames(jam, drawn.frames), encode_flow(jam, drawn.flow)
    seen = to_uint8(decode_video(jam.pipe.vae, x))
    assert min(map(psnr, seen, drawn.frames)) > 20
    text = encode_captions(jam, [scene.caption for scene in scenes], lab)
    noise_x, noise_d = torch.randn(2, *x.shape, generator=torch.Generator().manual_seed(0))
    sigma = torch.full((len(x),), 0.6)
    losses = {}
    for name, model in shipped.items():
        level = model.denoiser.level(sigma)
        motion = level.seen(d, noise_d) if name == "videojam" else None
        with torch.inference_mode():
            predict = model.denoiser.of(model.pipe.transformer)
            found = appearance_losses(predict, x, noise_x, level, text, motion)
            losses[name] = float(found.mean())
            if motion is not None:
                both = split(predict(join(level.seen(x, noise_x), motion), level, text))
                losses["motion"] = float((both.d - level.target(d, noise_d)).square().mean())
    assert max(losses.values()) < 0.7, losses
    assert losses["motion"] < 0.5, losses


def test_an_experiment_without_models_takes_the_shipped_ones(shipped, tmp_path):
    figures = comparison.run(
        comparison.Config(out=tmp_path, quick=True, prompts=2, num_inference_steps=2, seed=1000)
    )
    made_by = json.loads((tmp_path / "settings.json").read_text())["models"]
    assert made_by == {name: fingerprint(embedded(name)) for name in NAMES}
    truth = figures["means"]["true clips"]["all"]["coherence"]["mean"]
    assert figures["means"]["base"]["all"]["coherence"]["mean"] < truth
