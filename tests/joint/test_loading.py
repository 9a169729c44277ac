"""Models as they are found: hub ids, variants, types, original checkpoints, videojam.json."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from small_models import wan

from videojam import VideoJAM, widen
from videojam.joint.checkpoint import (
    JointInfo,
    load_base,
    load_encoders,
    load_pipeline,
    read_info,
    save_folder,
)
from videojam.joint.source import find_source, only_variant, stored_types

INFO = JointInfo(fps=8.0, height=32, width=32, num_frames=5)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """base: float32; joint: bfloat16."""
    root = tmp_path_factory.mktemp("models")
    pipe = wan()
    pipe.save_pretrained(root / "base")
    pipe.register_modules(transformer=widen(pipe.transformer))
    save_folder(pipe.to(torch.bfloat16), root / "joint", INFO)
    return root


def publish(folder: Path, cache: Path, name: str, commit: str = COMMIT) -> None:
    """The folder as the hub's cache holds a downloaded model."""
    repository = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)


# --- the hub ---------------------------------------------------------------


def test_hub_ids_work_wherever_folders_do(root, tmp_path):
    publish(root / "base", tmp_path, "someone/base")
    publish(root / "joint", tmp_path, "someone/joint")
    hub = {"cache_dir": tmp_path, "local_files_only": True}
    clip = VideoJAM.from_pretrained("someone/joint", **hub)("a ball", num_inference_steps=2)
    assert clip.video.shape == (5, 32, 32, 3)
    assert load_base("someone/base", revision=COMMIT, **hub).transformer.config.in_channels == 16
    pipe, transformer = load_encoders("someone/base", **hub)
    assert pipe.transformer is None
    assert transformer.device.type == "meta"
    with pytest.raises(ValueError, match=r"someone/none is neither a folder.*nor a model"):
        load_pipeline("someone/none", **hub)
    with pytest.raises(ValueError, match=r"someone/base at revision v2 is neither"):
        load_base("someone/base", revision="v2", **hub)


def test_a_folder_within_a_repository(root, tmp_path):
    shutil.copytree(root / "joint", tmp_path / "repository" / "jam" / "small")
    jam = VideoJAM.from_pretrained(tmp_path / "repository", subfolder="jam/small")
    assert jam.info.fps == 8.0
    with pytest.raises(ValueError, match="has no folder jam/large"):
        VideoJAM.from_pretrained(tmp_path / "repository", subfolder="jam/large")


def test_the_command_takes_hub_ids_offline(root, tmp_path):
    """README's third command, from the cache alone; the base is named by its id and commit."""
    publish(root / "base", tmp_path / "hub", "someone/base")
    publish(root / "joint", tmp_path / "hub", "someone/joint")
    command = [
        "generate", "--model", "someone/joint", "--base", "someone/base", "--prompt", "a ball",
        "--out", str(tmp_path / "out"), "--num-inference-steps", "2", "--device", "cpu",
    ]  # fmt: skip
    code = (
        "import torch\ntorch.set_num_threads(1)\nfrom videojam.cli.main import main\n"
        f"main({command!r})\n"
        "from pathlib import Path\nfrom videojam.joint.base import portable\n"
        f"assert portable('someone/base', None, Path('.')) == ('someone/base', {COMMIT!r})\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub")}
    import os

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*.side.mp4"))) == 1


# --- variants and types ---------------------------------------------------------------


def test_a_folder_of_one_variant_alone_is_found(root, tmp_path):
    wan().to(torch.float16).save_pretrained(tmp_path, variant="fp16")
    assert find_source(tmp_path).variant == "fp16"
    pipe = load_base(tmp_path)
    assert pipe.transformer.dtype == pipe.text_encoder.dtype == torch.float16
    assert load_encoders(str(tmp_path))[0].text_encoder.dtype == torch.float16


def test_variants_that_are_not_plain():
    weights = "transformer/diffusion_pytorch_model{}.safetensors"
    assert only_variant([weights.format("")]) is None
    assert only_variant([weights.format(""), weights.format(".fp16")]) is None
    assert only_variant([weights.format(".fp16-00001-of-00002"), "vae/config.json"]) == "fp16"
    mixed = [weights.format(".bf16"), "vae/diffusion_pytorch_model.safetensors"]
    assert only_variant(mixed) == "bf16"
    with pytest.raises(ValueError, match=r"variants \['bf16', 'fp16'\]; name one"):
        only_variant([weights.format(".bf16"), weights.format(".fp16")])


def test_every_component_loads_in_its_own_type_and_the_vae_in_float32(root, tmp_path):
    jam = VideoJAM.from_pretrained(root / "joint").pipe
    types = [getattr(jam, part).dtype for part in ("transformer", "text_encoder", "vae")]
    assert types == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert load_base(root / "base").transformer.dtype == torch.float32
    half = VideoJAM.from_pretrained(root / "base/../joint", torch.float32, vae_dtype=torch.bfloat16)
    assert half.pipe.transformer.dtype == torch.float32
    assert half.pipe.vae.dtype == torch.bfloat16
    named = VideoJAM.from_pretrained(root / "joint", {"text_encoder": torch.float32}).pipe
    assert (named.text_encoder.dtype, named.transformer.dtype) == (torch.float32, torch.bfloat16)
    save_folder(jam, tmp_path / "again", INFO)
    assert stored_types(find_source(tmp_path / "again")) == stored_types(
        find_source(root / "joint")
    )
    before, after = (
        load_file(f / "vae/diffusion_pytorch_model.safetensors")
        for f in (root / "joint", tmp_path / "again")
    )
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert jam.vae.dtype == torch.float32, "saving leaves the VAE as it was"


def test_options_of_diffusers_are_passed_on(root):
    jam = VideoJAM.from_pretrained(root / "joint", device_map="cpu")
    assert jam.pipe.hf_device_map is not None
    vae = WanPipeline.from_pretrained(root / "base").vae
    assert VideoJAM.from_pretrained(root / "joint", vae=vae).pipe.vae is vae


# --- checkpoints of other layouts ---------------------------------------------------------------

_TO_ORIGINAL = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "proj_out": "head.head", "attn1": "self_attn", "attn2": "cross_attn", ".to_q.": ".q.",
    ".to_k.": ".k.", ".to_v.": ".v.", ".to_out.0.": ".o.", "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2", "norm2": "norm_", "norm3": "norm2", "norm_.": "norm3.",
}  # fmt: skip


def original(transformer) -> dict[str, torch.Tensor]:
    """Wan's weights under their authors' names."""
    state = {}
    for name, value in transformer.state_dict().items():
        if name == "scale_shift_table":
            name = "head.modulation"
        name = name.replace("scale_shift_table", "modulation")
        for ours, theirs in _TO_ORIGINAL.items():
            name = name.replace(ours, theirs)
        state[name] = value.contiguous()
    return state


def test_original_checkpoints_are_converted(root, tmp_path):
    state = original(WanPipeline.from_pretrained(root / "base").transformer)
    for name in ("wan.safetensors", "folder/diffusion_pytorch_model.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save_file({k: v.bfloat16() for k, v in state.items()}, tmp_path / name)
    expected = WanPipeline.from_pretrained(root / "base").transformer.state_dict()
    for model in (tmp_path / "wan.safetensors", tmp_path / "folder"):
        found = load_base(model, components=root / "base").transformer
        assert found.dtype == torch.bfloat16
        for key, value in expected.items():
            assert torch.equal(found.state_dict()[key].bfloat16(), value.bfloat16()), key
    with pytest.raises(ValueError, match=r"the rest comes from Wan-AI/.*components=.*-Diffusers"):
        load_base(tmp_path / "folder", local_files_only=True)


def test_what_cannot_be_converted_names_the_right_form(tmp_path):
    save_file({"a.weight": torch.zeros(2)}, tmp_path / "odd.safetensors")
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "model.pth").write_bytes(b"")
    (tmp_path / "broken.safetensors").write_bytes(b"12")
    for name, words in (("odd.safetensors", "of no model that diffusers converts"),
                        ("pickled", "no .safetensors files"),
                        ("broken.safetensors", "no whole safetensors file")):  # fmt: skip
        with pytest.raises(ValueError, match=words) as caught:
            load_base(tmp_path / name)
        assert "-Diffusers" in str(caught.value) or "broken" in name


# --- videojam.json ---------------------------------------------------------------


def _write(folder: Path, **changes) -> Path:
    content = {"fps": 8.0, "height": 32, "width": 32, "num_frames": 5} | changes
    (folder / "videojam.json").write_text(json.dumps(content))
    return folder


def test_unknown_keys_are_kept_and_missing_ones_filled(root, tmp_path):
    info = read_info(_write(tmp_path, later={"a": 1}))
    assert (info.sigma, info.background, info.further) == (0.15, "black", {"later": {"a": 1}})
    pipe, _ = load_pipeline(root / "joint")
    save_folder(pipe, tmp_path / "again", info)
    written = json.loads((tmp_path / "again" / "videojam.json").read_text())
    assert (written["later"], written["format"]) == ({"a": 1}, 2)
    assert written["version"]
    with pytest.warns(UserWarning, match="of format 9"):
        read_info(_write(tmp_path, format=9))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": "8"}, "fps = '8', expected int or float"),
        ({"height": 32.5}, r"height = 32\.5, expected int"),
        ({"width": None}, "width = None"),
        ({"base": 3}, "base = 3, expected str"),
    ],
)
def test_values_of_another_kind_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_info(_write(tmp_path, **changes))


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "videojam.json").write_text('{"fps": 8')
    with pytest.raises(ValueError, match="is no JSON"):
        read_info(tmp_path)
    (tmp_path / "videojam.json").write_text('{"fps": 8}')
    with pytest.raises(ValueError, match="lacks height, width, num_frames"):
        read_info(tmp_path)


_json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.dictionaries(st.sampled_from(["fps", "height", "width", "num_frames", "base", "x"]), _json)
)
def test_any_json_is_read_or_refused_in_words(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    (folder / "videojam.json").write_text(json.dumps(content))
    try:
        assert isinstance(read_info(folder), JointInfo)
    except ValueError as error:
        assert "videojam.json" in str(error)
