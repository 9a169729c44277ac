"""The commands, end to end on the small Wan, through the real loaders and files."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from videojam.cli.main import COMMANDS, main
from videojam.cli.run_file import with_run_file
from videojam.lab.clips import Lab
from videojam.workflow.lab_folder import write_lab_folder


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Clips, a small Wan, a dataset and a trained adapter, all made by commands."""
    root = tmp_path_factory.mktemp("project")
    clips = write_lab_folder(Lab(frames=9, fps=8.0, height=48, width=48), root / "clips", 4)
    main(["small-wan", "--out", str(root / "wan"), "--sizes.num-layers", "1"])
    main(["prepare", "--videos", str(clips), "--captions", str(clips / "captions.jsonl"),
          "--out", str(root / "data"), "--model", str(root / "wan"), "--sizes", "48", "48",
          "--fps", "8", "--num-frames", "9", "--holdout-videos", "1", "--num-workers", "0",
          "--previews", "1"])  # fmt: skip
    (root / "run.yaml").write_text(
        "mode: lora\nsteps: 4\nlearning_rate: 0.01\nprecision: fp32\nlora_rank: 4\nexport: both\n"
        "objective:\n  text_dropout: 0.1\nsample_every: 4\nvalidate_every: 2\n"
    )
    main(["train", "--data", str(root / "data"), "--out", str(root / "run"), "--config",
          str(root / "run.yaml"), "--sample-steps", "2", "--trackers", "tensorboard"])  # fmt: skip
    return root


def test_train_writes_everything_it_should(project):
    run = project / "run"
    config = json.loads((run / "config.json").read_text())
    assert config["train"]["objective"]["text_dropout"] == 0.1
    assert config["data"]["fps"] == 8.0
    names = {path.name for path in run.iterdir()}
    assert {"adapter", "model", "checkpoints", "metrics.jsonl", "samples"} <= names
    assert len(list((run / "samples").glob("*/prompt-*.mp4"))) == 1  # one held-out caption
    assert list(run.rglob("events.out.tfevents*"))
    assert {path.name for path in (run / "adapter").iterdir()} == {
        "base.safetensors", "projections.safetensors", "pytorch_lora_weights.safetensors",
        "videojam.json",
    }  # fmt: skip


def test_the_exported_folder_runs_with_stock_diffusers_alone(project):
    """In a process that never imports videojam."""
    script = (
        "import sys, torch\nfrom diffusers import WanPipeline\n"
        f"pipe = WanPipeline.from_pretrained({str(project / 'run' / 'model')!r})\n"
        "latents = pipe('a red ball', height=48, width=48, num_frames=9, num_inference_steps=2,"
        " output_type='latent', generator=torch.Generator().manual_seed(0)).frames\n"
        "assert latents.shape == (1, 32, 3, 6, 6) and latents.isfinite().all()\n"
        "assert not any(name.startswith('videojam') for name in sys.modules)\nprint('fine')\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.endswith("fine\n"), result.stderr


def test_stock_loader_takes_the_lora_of_an_adapter_on_a_widened_base(project):
    """LoRA file in diffusers' own format: pipe.load_lora_weights(folder), alpha included."""
    from diffusers import WanPipeline

    from videojam import widen
    from videojam.joint.checkpoint import load_pipeline, load_projections

    pipe = WanPipeline.from_pretrained(project / "wan")
    wide = widen(pipe.transformer)
    load_projections(wide, project / "run" / "adapter")
    pipe.register_modules(transformer=wide)
    pipe.load_lora_weights(str(project / "run" / "adapter"))
    assert pipe.get_list_adapters() == {"transformer": ["default_0"]}
    ours = load_pipeline(project / "run" / "adapter", fuse=False)[0].transformer
    inputs = {
        "hidden_states": torch.ones(1, 32, 1, 4, 4),
        "timestep": torch.tensor([300]),
        "encoder_hidden_states": torch.ones(1, 3, 64),
    }
    with torch.no_grad():
        assert torch.equal(wide(**inputs).sample, ours(**inputs).sample)


@pytest.mark.parametrize("form", ["adapter", "model"])
def test_generate_from_both_exports(project, form):
    out = project / f"out-{form}"
    main(["generate", "--model", str(project / "run" / form), "--prompt", "a red ball moves left",
          "--out", str(out), "--seeds", "0", "1", "--num-inference-steps", "2",
          "--base", str(project / "wan")])  # fmt: skip
    suffixes = sorted("".join(path.suffixes) for path in out.iterdir())
    assert suffixes.count(".json") == 2
    assert suffixes.count(".side.mp4") == 2
    sidecar = json.loads(next(out.glob("*.json")).read_text())
    assert sidecar["prompt"] == "a red ball moves left"


def test_an_adapter_of_another_base_is_refused(project, tmp_path):
    from videojam.joint.checkpoint import load_projections
    from videojam.models.small_wan import SmallWan, small_wan_pipeline

    other = small_wan_pipeline(SmallWan(num_layers=1, num_heads=2)).transformer
    with pytest.raises(ValueError, match="another base"):
        load_projections(other, project / "run" / "adapter")
    state = load_file(project / "run" / "adapter" / "projections.safetensors")
    save_file({"transformer.patch_embed.proj.weight": state["transformer.patch_embedding.weight"]},
              tmp_path / "projections.safetensors")  # fmt: skip
    with pytest.raises(ValueError, match="nothing of this name"):
        load_projections(other, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "no command 'fly'; there are prepare"),
        (["train", "--data", "nowhere", "--out", "x"], "not a prepared dataset"),
        (["train", "--data", "a", "--out", "x", "--learning-rate", "-1"], "learning_rate is -1"),
        (["generate", "--model", "nowhere", "--prompt", "a", "--out", "x"],
         "nowhere is not a folder on this machine"),
        (["generate", "--model", "m", "--prompt", "a", "--seeds", "0", "--seeds", "1", "--out",
          "x"], "--seeds given more than once"),
        (["train", "--config", "no.yaml"], "no.yaml does not exist"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_run_file_is_strict_and_the_command_line_wins(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("steps: 7\nema-decay: 0.9\ngradient_checkpointing: true\n"
                    "objective: {motion_dropout: 0.5}\n")  # fmt: skip
    options = with_run_file_of(path, "--steps", "9")
    assert options[-2:] == ["--steps", "9"]
    assert "7" not in options
    assert "--objective.motion-dropout" in options
    assert "--gradient-checkpointing" in options
    path.write_text("learing_rate: 1.0\n")
    with pytest.raises(ValueError, match=r"unknown setting .learing_rate.*learning_rate"):
        with_run_file_of(path)
    path.write_text("objective: {text_dropuot: 0.5}\n")
    with pytest.raises(ValueError, match=r"'objective\.text_dropuot'.*'text_dropout'"):
        with_run_file_of(path)
    path.write_text("- a\n- b\n")
    with pytest.raises(ValueError, match="holds a list"):
        with_run_file_of(path)


def with_run_file_of(path, *rest):
    from videojam.training.config import TrainConfig

    return with_run_file(TrainConfig, ["--config", str(path), *rest])


def test_help_lists_the_commands_without_loading_models():
    code = (
        "import sys\nfrom videojam.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "import videojam\nheavy = {'diffusers', 'transformers', 'cv2', 'lance', 'torchvision'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert all(name in result.stdout for name in COMMANDS)


def test_public_names_resolve():
    import videojam

    assert all(callable(getattr(videojam, name)) for name in videojam.__all__)
    with pytest.raises(AttributeError):
        videojam.nothing  # noqa: B018
