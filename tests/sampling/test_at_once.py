"""Whether branches go in one batch is measured: with the real passes, and with given seconds."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers import FirstBlockCacheConfig
from guidance_sampling import call_log, tiny_sizes
from small_runs import info_of, make_joint

from videojam.cli.main import main
from videojam.joint.checkpoint import save_folder
from videojam.models.small_wan import small_wan_pipeline
from videojam.sampling import at_once
from videojam.sampling.at_once import faster_at_once
from videojam.sampling.generate import VideoJAM
from videojam.sampling.pipeline import Sampling


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("at_once")
    pipe = small_wan_pipeline(tiny_sizes())
    make_joint(pipe)
    save_folder(pipe, root / "joint", info_of(pipe, root))
    return root / "joint"


@pytest.fixture
def jam(folder):
    jam = VideoJAM.from_pretrained(folder)
    jam.pipe.set_progress_bar_config(disable=True)
    return jam


@pytest.fixture
def sampling(jam):
    return jam.resolve(Sampling(text_every=3, motion_stop=0.1, num_inference_steps=7))


def given(monkeypatch, seconds):
    """Seconds in place of measured ones, or an error."""

    def answer(jam, step, *_):
        found = next(seconds[step.branches_at_once])
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(at_once, "_seconds", answer)


@pytest.mark.parametrize(
    ("apart", "together", "expected"),
    [([9, 3], [9, 2], True), ([9, 3], [9, 4], False), ([1, 3], [9, 2], False)],
)
def test_the_faster_way_is_taken(jam, sampling, monkeypatch, apart, together, expected):
    given(monkeypatch, {False: iter(apart), True: iter(together)})
    assert faster_at_once(jam, sampling) is expected


def test_what_does_not_fit_into_memory_is_not_taken(jam, sampling, monkeypatch):
    given(monkeypatch, {False: iter([9, 9]), True: iter([torch.OutOfMemoryError("full")])})
    assert faster_at_once(jam, sampling) is False
    given(monkeypatch, {False: iter([torch.OutOfMemoryError("full")]), True: iter([])})
    with pytest.raises(torch.OutOfMemoryError):
        faster_at_once(jam, sampling)


def test_both_ways_make_a_step_with_all_branches(jam, sampling):
    """Whatever the windows; batches of the size that is sampled; nothing stays behind."""
    with call_log(jam.pipe.transformer) as log:
        assert faster_at_once(jam, replace(sampling, batch_size=2)) in (True, False)
    sizes = [len(latents) for _, _, latents in log]
    assert sizes == [2] * 6 + [6] * 2
    before = next(jam.clips([("a ball", 0)], sampling)).latents
    faster_at_once(jam, sampling)
    assert torch.equal(next(jam.clips([("a ball", 0)], sampling)).latents, before)


def test_one_branch_needs_no_measurement(jam, sampling):
    with call_log(jam.pipe.transformer) as log:
        assert not faster_at_once(jam, replace(sampling, text_scale=0.0, motion_scale=0.0))
    assert not log


def test_a_cache_is_an_error(jam, sampling):
    jam.pipe.transformer.enable_cache(FirstBlockCacheConfig())
    with pytest.raises(ValueError, match="use one of the two"):
        faster_at_once(jam, sampling)


def test_generate_measures_and_says_what_it_took(folder, tmp_path, capsys, monkeypatch):
    given(monkeypatch, {False: iter([9, 3]), True: iter([9, 2])})
    main(["generate", "--model", str(folder), "--out", str(tmp_path), "--prompt", "a ball",
          "--num-inference-steps", "2", "--device", "cpu", "--measure-branches"])  # fmt: skip
    assert "faster in one batch" in capsys.readouterr().err
    sidecar = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert sidecar["sampling"]["branches_at_once"] is True
