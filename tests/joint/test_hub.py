"""Models on a hub that can be reached: uploaded by `export`, loaded and described by their ids."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_hub import COMMIT, small_hub
from small_models import wan
from small_runs import info_of, make_joint

import videojam
from videojam.joint.checkpoint import save_folder

LOAD = """
import torch
from videojam import VideoJAM
jam = VideoJAM.from_pretrained({model!r}, **{options!r})
torch.save(jam.pipe.transformer.proj_out.weight, {out!r})
print(jam.info.base, jam.info.base_revision)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    pipe = wan()
    pipe.save_pretrained(root / "base")
    make_joint(pipe)
    save_folder(pipe, root / "joint", info_of(pipe, root / "base"))
    return root


@pytest.fixture
def hub(tmp_path):
    """(function that runs code or a command with this hub and an empty cache, repositories)."""
    source = str(Path(videojam.__file__).parents[1])
    with small_hub() as (address, repositories):
        settings = {
            "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": "hf_secret",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "PYTHONPATH": source,
        }  # fmt: skip

        def run(*arguments):
            return subprocess.run(
                [sys.executable, *arguments],
                env=os.environ | settings, cwd=tmp_path, capture_output=True, text=True,
            )  # fmt: skip

        yield run, repositories


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_is_uploaded_and_loaded_by_its_id(root, hub, tmp_path):
    run, repositories = hub
    done = run("-m", "videojam.cli.main", "export", "--source", str(root / "joint"), "--out",
               str(tmp_path / "out"), "--push-to-hub", "me/jam")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert repositories["me/jam"] == files_of(tmp_path / "out")
    for options in ({}, {"revision": COMMIT}):
        code = LOAD.format(model="me/jam", options=options, out=str(tmp_path / "w"))
        done = run("-c", code)
        assert done.returncode == 0, done.stderr
        expected = videojam.VideoJAM.from_pretrained(root / "joint").pipe.transformer
        assert torch.equal(torch.load(tmp_path / "w"), expected.proj_out.weight)
    done = run("-m", "videojam.cli.main", "info", "me/jam")
    assert "a VideoJAM model" in done.stdout, done.stderr


def test_what_is_not_there_is_said_in_one_line(root, hub):
    run, repositories = hub
    repositories["me/jam"] = files_of(root / "joint")
    command = ("-m", "videojam.cli.main", "generate", "--prompt", "a", "--out", "o", "--model")
    for model, options, message in (
        ("me/other", (), "me/other is neither a folder on this machine nor a model"),
        ("me/jam", ("--revision", "v2"), "me/jam at revision v2 is neither"),
    ):
        done = run(*command, model, *options)
        assert done.returncode != 0
        lines = done.stderr.strip().splitlines()
        assert message in lines[-1], done.stderr[-2000:]
        assert "Traceback" not in done.stderr


def test_an_adapter_s_id_is_described_by_its_base(hub, tmp_path):
    from test_adapter import train

    run, repositories = hub
    wan().save_pretrained(tmp_path / "base")
    train(tmp_path / "base", tmp_path / "run")
    adapter = files_of(tmp_path / "run" / "adapter")
    name = b'"base": "../../base"'
    assert name in adapter["videojam.json"]
    adapter["videojam.json"] = adapter["videojam.json"].replace(name, b'"base": "me/base"')
    repositories |= {"me/base": files_of(tmp_path / "base"), "me/adapter": adapter}
    done = run("-m", "videojam.cli.main", "info", "me/adapter")
    assert "me/adapter is an adapter, LoRA and projections, of me/base" in done.stdout, done.stderr
    assert "a base model" in done.stdout
    done = run("-c", LOAD.format(model="me/adapter", options={}, out=str(tmp_path / "w")))
    assert done.returncode == 0, done.stderr
    expected = videojam.VideoJAM.from_pretrained(tmp_path / "run" / "adapter").pipe.transformer
    assert torch.equal(torch.load(tmp_path / "w"), expected.proj_out.weight)
