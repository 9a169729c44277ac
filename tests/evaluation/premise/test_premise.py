"""videojam evaluate premise, on small models and real files."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from data_synthetic import captioned, moving_square
from safetensors.torch import load_file

from videojam.embedded.shipped import embedded
from videojam.evaluation.premise import experiment
from videojam.evaluation.premise.clips import find_clips, read_clips
from videojam.joint.sizes import Size
from videojam.models.small_wan import SmallWan, write_small_wan

LOSSLESS = dict(fps=8, codec="ffv1", pix_fmt="bgr0", options={})
CLIP = dict(size=(32, 32), num_frames=9, fps=8.0, noises=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(write_small_wan(tmp_path_factory.mktemp("base") / "wan", SmallWan()))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    still = np.broadcast_to(moving_square(1, height=32, width=32), (20, 32, 32, 3))
    captioned(folder / "moving.mkv", moving_square(20, height=32, width=32), "a square", **LOSSLESS)
    captioned(folder / "still.mkv", still, "nothing moves", **LOSSLESS)
    return folder


def config(base, videos, out, **changes):
    return experiment.Config(model=base, data=videos, out=out, clips=2, **CLIP | changes)


def test_a_clip_that_does_not_move_has_no_order_and_one_that_moves_has(base, videos, tmp_path):
    figures = experiment.run(config(base, videos, tmp_path))
    moving, still = (load_file(tmp_path / "clips" / f"{k}.safetensors") for k in (0, 1))
    assert torch.equal(still["loss/original"], still["loss/permuted"])
    assert torch.equal(still["latents/original"], still["latents/permuted"])
    assert (moving["loss/original"] != moving["loss/permuted"]).all()
    assert figures["videos"] == figures["clips"] == 2
    losses = torch.stack([torch.stack([one["loss/original"], one["loss/permuted"]])
                          for one in (moving, still)]).mean((0, 2))  # fmt: skip
    ratio = losses[1] / losses[0]
    assert figures["curves"]["model"]["ratio"]["mean"] == pytest.approx(ratio.tolist(), rel=1e-5)
    assert figures["curves"]["model"]["low"] is None, "two clips have no interval"
    assert json.loads((tmp_path / "results.json").read_text())["figures"]["clips"] == 2


def test_every_clip_has_noises_of_its_own(base, tmp_path):
    for name in ("one", "same"):
        captioned(tmp_path / f"{name}.mkv", moving_square(9, 32, 32), "a square", **LOSSLESS)
    experiment.run(config(base, tmp_path, tmp_path / "out"))
    one, same = (load_file(tmp_path / "out" / "clips" / f"{k}.safetensors") for k in (0, 1))
    assert torch.equal(one["latents/original"], same["latents/original"])
    assert (one["loss/original"] != same["loss/original"]).all()


def test_it_goes_on_with_the_clips_that_are_missing(base, videos, tmp_path):
    whole = experiment.run(config(base, videos, tmp_path))
    kept = (tmp_path / "clips" / "0.safetensors").stat().st_mtime_ns
    (tmp_path / "clips" / "1.safetensors").unlink()
    assert experiment.run(config(base, videos, tmp_path)) == whole
    assert (tmp_path / "clips" / "0.safetensors").stat().st_mtime_ns == kept


def test_clips_are_of_different_videos_first_and_those_of_preparation(videos):
    size = Size(9, 32, 32)
    found = find_clips(videos, None, size, 8.0, 4)
    assert [entry.path for entry, *_ in found.places] == [
        "moving.mkv", "still.mkv", "moving.mkv", "still.mkv"
    ]  # fmt: skip
    first, _, second, _ = read_clips(videos, found.places)
    assert first.frames.shape == (9, 32, 32, 3)
    assert first.caption == "a square"
    assert (first.start_s, second.start_s) == (0.0, 9 / 8)
    frames = torch.from_numpy(moving_square(20, height=32, width=32))
    assert torch.equal(first.frames, frames[:9])
    assert torch.equal(second.frames, frames[9:18])
    assert len(find_clips(videos, None, size, 8.0, 3).places) == 3


def test_mistakes_bind_no_folder(base, videos, tmp_path):
    with pytest.raises(ValueError, match="gives no clip of 81 frames"):
        experiment.run(config(base, videos, tmp_path / "out", num_frames=81))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="gives no clip"):
        experiment.run(config(base, tmp_path / "empty", tmp_path / "out"))
    with pytest.raises(ValueError, match="not/there"):
        experiment.run(config("not/there/at/all", videos, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    for name, wrong in (("clips", 1), ("noises", 0), ("num_frames", 1), ("fps", 0.0)):
        with pytest.raises(ValueError, match=name):
            config(base, videos, tmp_path / "out", **{name: wrong}) if name != "clips" else (
                experiment.Config(model=base, data=videos, out=tmp_path, clips=1)
            )


def test_a_joint_model_has_no_premise(videos, tmp_path):
    with pytest.raises(ValueError, match="joint model"):
        experiment.run(config(str(embedded("videojam")), videos, tmp_path / "out"))


def test_each_expert_is_asked_at_its_own_levels():
    pipe = SimpleNamespace(
        transformer="high", transformer_2="low", config=SimpleNamespace(boundary_ratio=0.875)
    )
    assert [experiment._expert_at(pipe, s) for s in (0.9, 0.875, 0.8)] == ["high", "high", "low"]
