"""Models that were damaged, half changed or linked: one clear sentence, or the right result."""

import shutil

import pytest
import torch
from diffusers import WanPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from small_models import MODELS, wan
from test_adapter import latents, train

from videojam import VideoJAM, widen
from videojam.joint.checkpoint import JointInfo, load_base, save_adapter, save_folder
from videojam.joint.lora import check_active

INFO = JointInfo(fps=8.0, height=32, width=32, num_frames=5)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("bad")
    wan().save_pretrained(root / "base")
    train(root / "base", root / "run")
    return root


@pytest.mark.parametrize("keep", [0, 5, 60, -8])
@pytest.mark.parametrize("file", ["pytorch_lora_weights", "projections", "base"])
def test_a_file_of_the_adapter_that_is_cut_off_is_named(root, tmp_path, file, keep):
    shutil.copytree(root, tmp_path / "copy")
    path = tmp_path / "copy" / "run" / "adapter" / f"{file}.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=f"{file}.safetensors is no whole safetensors file"):
        VideoJAM.from_pretrained(path.parent)


@pytest.mark.parametrize("keep", [0, 5, 60, -8])
def test_weights_of_a_folder_that_are_cut_off_are_named(root, tmp_path, keep):
    shutil.copytree(root / "base", tmp_path / "base")
    path = tmp_path / "base" / "transformer" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"transformer.*is no whole safetensors file"):
        load_base(tmp_path / "base")


def test_linked_and_read_only_models_load(root, tmp_path):
    shutil.copytree(root, tmp_path / "copy")
    expected = latents(root / "run" / "adapter")
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "jam"
    link.symlink_to(tmp_path / "copy" / "run" / "adapter")
    for path in (tmp_path / "copy").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert torch.equal(latents(link), expected)
    for path in (tmp_path / "copy").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_pipeline_with_one_of_two_experts_widened_is_not_saved(tmp_path):
    pipe = MODELS["Wan2.2-A14B"]()
    pipe.register_modules(transformer=widen(pipe.transformer))
    for save in (save_folder, save_adapter):
        with pytest.raises(ValueError, match=r"transformer_2 is not joint|has 0 LoRAs"):
            save(pipe, tmp_path / "out", INFO)
        assert not (tmp_path / "out").exists()


def test_a_lora_of_several_ranks_acts_as_on_the_base(root):
    """The head's rank is not that of the blocks."""
    base = WanPipeline.from_pretrained(root / "base").transformer
    base.add_adapter(
        LoraConfig(r=4, target_modules=["to_q", "proj_out"], rank_pattern={"proj_out": 2})
    )
    random = torch.Generator().manual_seed(3)
    state = {
        f"transformer.{key}": 0.1 * torch.randn(value.shape, generator=random)
        for key, value in get_peft_model_state_dict(base).items()
    }
    pipe = WanPipeline.from_pretrained(root / "base")
    inputs = {
        "hidden_states": torch.randn(1, 16, 2, 4, 4, generator=random),
        "timestep": torch.tensor([500]), "encoder_hidden_states": torch.ones(1, 7, 32),
    }  # fmt: skip
    joint = VideoJAM.from_pretrained(root / "run" / "adapter")
    joint.pipe.register_modules(transformer=widen(pipe.transformer))
    from videojam.joint.lora import take_base_loras

    take_base_loras(joint.pipe.transformer)
    pipe.load_lora_weights(dict(state))
    joint.pipe.load_lora_weights(dict(state))
    both = inputs | {"hidden_states": torch.cat([inputs["hidden_states"]] * 2, 1)}
    with torch.no_grad():
        expected = pipe.transformer(**inputs).sample
        found = joint.pipe.transformer(**both).sample
    torch.testing.assert_close(found[:, :16], expected, rtol=1e-5, atol=1e-5)
    assert not found[:, 16:].any()


def test_unloading_everything_from_an_unfused_model_is_noticed(root):
    jam = VideoJAM.from_pretrained(root / "run" / "adapter", fuse=False)
    jam.pipe.unload_lora_weights()
    with pytest.raises(ValueError, match="own LoRA was unloaded"):
        check_active(jam.pipe.transformer)
    with pytest.raises(ValueError, match="own LoRA was unloaded"):
        jam("a red ball", num_inference_steps=2)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_that_is_no_number_is_refused(root, scale):
    with pytest.raises(ValueError, match="expected a finite number"):
        VideoJAM.from_pretrained(root / "run" / "adapter", scale=scale)


def test_the_older_name_of_dtype_is_understood(root):
    jam = VideoJAM.from_pretrained(root / "run" / "adapter", torch_dtype=torch.bfloat16)
    assert jam.pipe.transformer.dtype == torch.bfloat16
    assert jam.pipe.vae.dtype == torch.float32
