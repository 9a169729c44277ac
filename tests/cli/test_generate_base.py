"""`videojam generate --base`: what the joint model and its base have in common is held once."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import wan
from small_runs import info_of, make_joint

from videojam import VideoJAM
from videojam.cli.generate import GenerateArgs, _load_base
from videojam.joint.checkpoint import save_folder


@pytest.mark.parametrize("changed", [None, "vae", "text_encoder"])
def test_text_encoder_and_vae_are_the_same_objects_where_their_weights_are(tmp_path, changed):
    pipe = wan()
    pipe.save_pretrained(tmp_path / "base")
    make_joint(pipe)
    save_folder(pipe, tmp_path / "joint", info_of(pipe, tmp_path / "base"))
    if changed:
        (file,) = (tmp_path / "base" / changed).glob("*.safetensors")
        state = load_file(file)
        first = min(state)
        save_file(state | {first: state[first] + 1}, file, metadata={"format": "pt"})
    jam = VideoJAM.from_pretrained(tmp_path / "joint")
    args = GenerateArgs(out=tmp_path / "out", prompt=("a",), base=str(tmp_path / "base"))
    base = _load_base(args, jam, "float32")
    for part in ("vae", "text_encoder"):
        same = getattr(base, part) is getattr(jam.pipe, part)
        assert same == (part != changed), part
    assert base.tokenizer is jam.pipe.tokenizer
    assert base.transformer.config.in_channels * 2 == jam.pipe.transformer.config.in_channels
    assert base.vae.dtype == torch.float32
