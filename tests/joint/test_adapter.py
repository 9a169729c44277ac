"""An adapter's life: saved, loaded elsewhere, mixed with other LoRAs, saved again, passed on."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from small_models import MODELS, wan

from videojam import VideoJAM, inner_guidance, widen
from videojam.joint.adapter import load_projections, transformers
from videojam.joint.checkpoint import (
    JointInfo,
    load_base,
    load_pipeline,
    read_info,
    save_adapter,
    save_folder,
)
from videojam.joint.find_family import family_of
from videojam.joint.info import write_info
from videojam.training.config import TrainConfig
from videojam.training.model import trainable_model

PROMPT = "a red ball rolls"
STEPS = {"num_inference_steps": 2}


def train(base: Path, out: Path, name: str = "adapter") -> None:
    """An adapter of `base`, with random trained parts."""
    pipe = load_base(base)
    config = TrainConfig(out=out, mode="lora", lora_rank=2, lora_alpha=8.0)
    random = torch.Generator().manual_seed(0)
    for part, model in transformers(pipe).items():
        trained = trainable_model(model, config, family_of(model), 16).eval()
        with torch.no_grad():
            for parameter in trained.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn(parameter.shape, generator=random))
        pipe.register_modules(**{part: trained})
    info = JointInfo(fps=8.0, height=32, width=32, num_frames=5, base=str(base))
    save_adapter(pipe, out / name, info)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    wan().save_pretrained(root / "base")
    train(root / "base", root / "run")
    return root


@pytest.fixture
def adapter(root):
    return root / "run" / "adapter"


def latents(model: Path | VideoJAM, **options) -> torch.Tensor:
    jam = model if isinstance(model, VideoJAM) else VideoJAM.from_pretrained(model, **options)
    return jam(PROMPT, seed=1, **STEPS).latents


def style_lora(folder: Path, base: Path, scale: float, head: bool = False) -> Path:
    """A LoRA of the base, as others publish them; head: with rows of the output projection."""
    transformer = WanPipeline.from_pretrained(base).transformer
    targets = ["to_q", "to_v", *(["proj_out", "patch_embedding"] if head else [])]
    transformer.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=targets))
    random = torch.Generator().manual_seed(3)
    state = {
        key: scale * torch.randn(value.shape, generator=random)
        for key, value in get_peft_model_state_dict(transformer).items()
    }
    WanPipeline.save_lora_weights(folder, transformer_lora_layers=state)
    return folder


# --- other LoRAs ---------------------------------------------------------------------------------


def test_no_lora_call_switches_videojam_off(root, adapter, tmp_path):
    jam = VideoJAM.from_pretrained(adapter)
    before = latents(jam)
    jam.pipe.load_lora_weights(style_lora(tmp_path / "zero", root / "base", 0.0), adapter_name="z")
    assert torch.equal(latents(jam), before)
    jam.pipe.load_lora_weights(style_lora(tmp_path / "style", root / "base", 0.5), adapter_name="s")
    assert (latents(jam) - before).abs().max() > 1e-2
    jam.pipe.unload_lora_weights()
    assert torch.equal(latents(jam), before)


def test_a_few_step_lora_with_rows_of_the_head_acts_on_appearance_as_on_the_base(
    root, adapter, tmp_path
):
    """Its rows are spread as widen spreads the base's: the untrained joint model shows it."""
    lora = style_lora(tmp_path, root / "base", 0.3, head=True)
    base = WanPipeline.from_pretrained(root / "base")
    joint = widen(WanPipeline.from_pretrained(root / "base").transformer)
    pipe = WanPipeline(**base.components | {"transformer": joint})
    save_folder(pipe, tmp_path / "joint", replace(read_info(adapter), base_fingerprint=None))
    jam = VideoJAM.from_pretrained(tmp_path / "joint")
    for each in (base, jam.pipe):
        each.load_lora_weights(lora)
    random = torch.Generator().manual_seed(0)
    x, d = torch.randn(2, 1, 16, 2, 4, 4, generator=random)
    rest = {"timestep": torch.tensor([400]), "encoder_hidden_states": torch.ones(1, 3, 32)}
    with torch.no_grad():
        expected = base.transformer(x, **rest).sample
        found = jam.pipe.transformer(torch.cat([x, d], 1), **rest).sample
    torch.testing.assert_close(found[:, :16], expected, rtol=1e-5, atol=1e-5)
    assert not found[:, 16:].any()
    trained = VideoJAM.from_pretrained(adapter)
    before = latents(trained)
    trained.pipe.load_lora_weights(lora, adapter_name="fast")
    assert (latents(trained) - before).abs().max() > 1e-2
    trained.pipe.unload_lora_weights()
    assert torch.equal(latents(trained), before)


def test_kept_as_an_adapter_it_is_checked_to_be_on(root, adapter, tmp_path):
    jam = VideoJAM.from_pretrained(adapter, fuse=False)
    assert jam.pipe.get_active_adapters() == ["videojam"]
    before = latents(jam)
    torch.testing.assert_close(before, latents(adapter), rtol=1e-4, atol=1e-4)
    style = style_lora(tmp_path, root / "base", 0.5)
    jam.pipe.load_lora_weights(style, adapter_name="style")
    with pytest.raises(ValueError, match=r"LoRA is switched off.*set_adapters"):
        latents(jam)
    with pytest.raises(ValueError, match="is switched off"), inner_guidance(jam.pipe):
        pass
    jam.pipe.set_adapters(["videojam", "style"])
    assert (latents(jam) - before).abs().max() > 1e-2
    jam.pipe.set_adapters(["videojam"], [0.0])
    assert (latents(jam) - before).abs().max() > 1e-3, "a scale of 0 leaves the projections alone"
    jam.pipe.set_adapters(["videojam"], [1.0])
    assert torch.equal(latents(jam), before)
    jam.pipe.disable_lora()
    with pytest.raises(ValueError, match="is switched off"):
        latents(jam)
    jam.pipe.unload_lora_weights()
    with pytest.raises(ValueError, match="was unloaded"):
        latents(jam)


def test_scale_is_that_of_the_lora(adapter):
    none = latents(adapter, scale=0.0)
    assert torch.equal(latents(adapter, fuse=False, scale=0.0), none)
    half, whole = latents(adapter, scale=0.5), latents(adapter)
    torch.testing.assert_close(latents(adapter, fuse=False, scale=0.5), half, rtol=1e-4, atol=1e-4)
    assert (half - none).abs().max() > 1e-3 < (whole - half).abs().max()


# --- saving again --------------------------------------------------------------------------------


def test_saved_again_it_is_the_same(adapter, tmp_path):
    expected = latents(adapter)
    pipe, info = load_pipeline(adapter, fuse=False)
    save_adapter(pipe, tmp_path / "adapter", info)
    assert torch.equal(latents(tmp_path / "adapter"), expected)
    with pytest.raises(ValueError, match=r"has LoRA adapters \(videojam\).*fuse"):
        save_folder(pipe, tmp_path / "folder", info)
    assert not (tmp_path / "folder").exists(), "refused before anything is written"
    pipe, info = load_pipeline(adapter)
    with pytest.raises(ValueError, match=r"it is fused.*fuse=False"):
        save_adapter(pipe, tmp_path / "none", info)
    assert not (tmp_path / "none").exists()
    save_folder(pipe, tmp_path / "folder", info)
    assert torch.equal(latents(tmp_path / "folder"), expected)
    again, info = load_pipeline(tmp_path / "folder")
    save_folder(again, tmp_path / "folder2", info)
    assert torch.equal(latents(tmp_path / "folder2"), expected)


def test_files_can_be_read_by_others(adapter):
    umask = os.umask(0)
    os.umask(umask)
    modes = {path.name: path.stat().st_mode & 0o777 for path in adapter.iterdir()}
    assert modes == dict.fromkeys(modes, 0o666 & ~umask)


def test_adapters_of_earlier_versions_load(root, adapter, tmp_path):
    """Names without component, no fingerprint, videojam.json of eight keys, base absolute."""
    expected = latents(adapter)
    old = tmp_path / "old"
    old.mkdir()
    pipe, info = load_pipeline(adapter, fuse=False)
    pipe.transformer.save_lora_adapter(
        old, adapter_name="videojam", weight_name="pytorch_lora_weights.safetensors"
    )
    projections = load_file(adapter / "projections.safetensors")
    save_file({k.removeprefix("transformer."): v for k, v in projections.items()},
              old / "projections.safetensors")  # fmt: skip
    keys = ("sigma", "background", "estimator", "fps", "height", "width", "num_frames")
    content = {key: getattr(info, key) for key in keys} | {"base": str(root / "base")}
    (old / "videojam.json").write_text(json.dumps(content))
    assert torch.equal(latents(old), expected)


def test_two_experts_are_in_one_file(tmp_path):
    MODELS["Wan2.2-A14B"]().save_pretrained(tmp_path / "base")
    train(tmp_path / "base", tmp_path)
    adapter = tmp_path / "adapter"
    names = {key.partition(".")[0] for key in load_file(adapter / "projections.safetensors")}
    assert names == {"transformer", "transformer_2"}
    ours = load_pipeline(adapter, fuse=False)[0]
    stock = WanPipeline.from_pretrained(tmp_path / "base")
    for part in names:
        stock.register_modules(**{part: widen(getattr(stock, part))})
        load_projections(getattr(stock, part), adapter, part)
    stock.load_lora_weights(adapter)
    stock.transformer_2.load_lora_adapter(
        adapter, prefix="transformer_2", weight_name="pytorch_lora_weights.safetensors"
    )
    inputs = {
        "hidden_states": torch.ones(1, 32, 1, 4, 4), "timestep": torch.tensor([300]),
        "encoder_hidden_states": torch.ones(1, 3, 32),
    }  # fmt: skip
    with torch.no_grad():
        outputs = [getattr(p, part)(**inputs).sample for p in (ours, stock) for part in names]
    assert torch.equal(outputs[0], outputs[2])
    assert torch.equal(outputs[1], outputs[3])
    assert not torch.equal(outputs[0], outputs[1])


# --- the base ------------------------------------------------------------------------------------


def test_moved_together_it_finds_its_base_from_anywhere(root, adapter, tmp_path, monkeypatch):
    expected = latents(adapter)
    shutil.copytree(root, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert read_info(tmp_path / "moved/run/adapter").base == str(tmp_path / "moved" / "base")
    assert torch.equal(latents(tmp_path / "moved/run/adapter"), expected)
    for file in adapter.rglob("*"):
        assert str(root).encode() not in file.read_bytes(), f"{file.name} names this machine"


def test_moved_alone_it_says_what_is_missing_and_takes_base(root, adapter, tmp_path):
    expected = latents(adapter)
    shutil.copytree(adapter, tmp_path / "alone")
    with pytest.raises(ValueError, match=r"its base '\.\./\.\./base', which cannot be loaded"):
        VideoJAM.from_pretrained(tmp_path / "alone")
    assert torch.equal(latents(tmp_path / "alone", base=root / "base"), expected)


def test_another_base_under_the_same_name_is_refused_with_both_fingerprints(root, tmp_path):
    shutil.copytree(root, tmp_path / "other")
    other = WanPipeline.from_pretrained(root / "base")
    with torch.no_grad():
        other.transformer.blocks[0].ffn.net[2].weight.mul_(1.1)
    other.save_pretrained(tmp_path / "other" / "base")
    kept = read_info(root / "run/adapter").base_fingerprint
    with pytest.raises(ValueError, match=rf"another base.*expected {kept}.*ffn\.net\.2\.weight"):
        VideoJAM.from_pretrained(tmp_path / "other/run/adapter")


def test_a_base_in_another_type_or_in_shards_is_the_same_base(root, adapter, tmp_path):
    pipe = WanPipeline.from_pretrained(root / "base")
    for dtype in (torch.bfloat16, torch.float16):
        pipe.to(dtype).save_pretrained(tmp_path / str(dtype), max_shard_size="20KB")
        load_pipeline(adapter, base=tmp_path / str(dtype))
        pipe = WanPipeline.from_pretrained(root / "base")
    load_pipeline(adapter, torch.bfloat16)


def test_outside_of_the_base_s_tree_the_run_remembers(root, tmp_path, monkeypatch):
    """What would climb to the root of the disk is not written; the run's own config.json knows."""
    from videojam.joint import base

    info = read_info(root / "run/adapter")
    monkeypatch.setattr(base.os.path, "commonpath", lambda paths: "/")
    run = tmp_path / "run"
    (run / "adapter").mkdir(parents=True)
    write_info(run / "adapter", info)
    assert json.loads((run / "adapter/videojam.json").read_text())["base"] == "base"
    assert read_info(run / "adapter").base == "base"
    (run / "config.json").write_text(json.dumps({"data": {"base": info.base}}))
    assert read_info(run / "adapter").base == info.base


def test_the_embedded_base_has_a_name_of_its_own(tmp_path):
    from videojam.embedded.shipped import embedded

    info = JointInfo(fps=8.0, height=64, width=64, num_frames=17, base=str(embedded("base")))
    write_info(tmp_path, info)
    assert json.loads((tmp_path / "videojam.json").read_text())["base"] == "embedded:base"
    assert read_info(tmp_path).base == str(embedded("base"))


# --- in a new process ----------------------------------------------------------------------------


def test_in_a_new_process_from_another_folder(root, adapter, tmp_path):
    """Stock diffusers runs the exported folder, VideoJAM runs both; the latents are the same."""
    pipe, info = load_pipeline(adapter)
    save_folder(pipe, tmp_path / "folder", info)
    noise = torch.randn(1, 32, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    save_file({"noise": noise}, tmp_path / "noise.safetensors")
    call = (
        "from safetensors.torch import load_file, save_file\n"
        f"noise = load_file({str(tmp_path / 'noise.safetensors')!r})['noise']\n"
        "frames = pipe('a red ball', height=32, width=32, num_frames=5, num_inference_steps=2,"
        " latents=noise, output_type='latent').frames\n"
        f"save_file({{'x': frames}}, {str(tmp_path)!r} + f'/{{name}}.safetensors')\n"
    )
    scripts = {
        "stock": "from diffusers import WanPipeline\n"
        f"pipe = WanPipeline.from_pretrained({str(tmp_path / 'folder')!r})\n",
        "ours": "from videojam import VideoJAM\n"
        f"pipe = VideoJAM.from_pretrained({str(adapter)!r}).pipe\n",
    }
    for name, script in scripts.items():
        code = f"import torch\ntorch.set_num_threads(1)\nname = {name!r}\n" + script + call
        done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    stock, ours = (load_file(tmp_path / f"{name}.safetensors")["x"] for name in scripts)
    assert torch.equal(stock, ours)
