"""Caches by name, and MagCache's ratios of a model, against ratios measured by hand."""

import itertools
import json

import pytest
import torch
from diffusers import FirstBlockCacheConfig, MagCacheConfig
from guidance_sampling import tiny_sizes
from small_models import MODELS
from small_runs import info_of, make_joint

from videojam.cli.main import main
from videojam.joint.checkpoint import save_folder
from videojam.models.small_wan import small_wan_pipeline
from videojam.sampling.caches import cache_config, enable_cache, mag_ratios, predictable
from videojam.sampling.generate import VideoJAM
from videojam.sampling.pipeline import Sampling


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A joint Wan model that is no longer its base."""
    root = tmp_path_factory.mktemp("caches")
    pipe = small_wan_pipeline(tiny_sizes())
    pipe.save_pretrained(root / "base")
    make_joint(pipe)
    save_folder(pipe, root / "joint", info_of(pipe, root / "base"))
    return root / "joint"


@pytest.fixture
def jam(folder):
    jam = VideoJAM.from_pretrained(folder)
    jam.pipe.set_progress_bar_config(disable=True)
    return jam


def test_ratios_are_how_much_longer_the_blocks_additions_become(jam):
    sampling = Sampling(text_scale=0, motion_scale=0, num_inference_steps=4)  # one branch
    ratios = mag_ratios(jam, [("a ball", 0)], sampling)
    ins, outs = [], []
    blocks = jam.pipe.transformer.blocks
    blocks[0].register_forward_pre_hook(lambda _, inputs: ins.append(inputs[0].clone()))
    blocks[-1].register_forward_hook(lambda _, __, output: outs.append(output.clone()))
    [*jam.clips([("a ball", 0)], sampling)]
    lengths = [(b - a).norm(dim=-1) for a, b in zip(ins, outs, strict=True)]
    expected = [1.0] + [float((now / before).mean()) for before, now in itertools.pairwise(lengths)]
    assert ratios == pytest.approx(expected, rel=1e-4)
    assert not jam.pipe.transformer.is_cache_enabled


def test_ratios_are_the_mean_over_branches_of_all_steps_and_samples(jam):
    samples = [("a ball", 0), ("a box", 1)]
    guided = Sampling(text_scale=3.0, motion_scale=2.0, num_inference_steps=4)
    both = mag_ratios(jam, samples, guided)
    each = [mag_ratios(jam, [one], guided) for one in samples]
    assert both == pytest.approx([sum(pair) / 2 for pair in zip(*each, strict=True)], rel=1e-5)
    kept = Sampling(text_scale=3.0, motion_scale=2.0, num_inference_steps=4, text_every=2)
    assert len(mag_ratios(jam, samples, kept)) == 4
    assert not jam.pipe.transformer.is_cache_enabled


def test_calibrate_then_generate(folder, tmp_path, capsys):
    ratios = tmp_path / "ratios.json"
    own = ["--model", str(folder), "--num-inference-steps", "4", "--device", "cpu"]
    main(["calibrate", *own, "--out", str(ratios), "--prompt", "a ball"])
    assert len(json.loads(ratios.read_text())["mag_ratios"]) == 4
    sidecars = {}
    for name, options in (
        ("plain", []),
        ("mag", ["--cache", f"mag={ratios}"]),
        ("first", ["--cache", "first_block=1000"]),
        ("balanced", ["--preset", "balanced", "--cache", "first_block"]),
    ):
        out = tmp_path / name
        main(["generate", *own, "--out", str(out), "--prompt", "a ball", "--flow", *options])
        sidecars[name] = json.loads(next(out.glob("*.json")).read_text())
    shown = capsys.readouterr().err
    assert "10 passes of the transformer a clip, 1.25 of those of plain" in shown
    assert sidecars["plain"]["passes"] == 10
    assert sidecars["balanced"]["passes"] < 10
    assert f"{sidecars['balanced']['passes']} passes of the transformer" in shown
    assert sidecars["balanced"]["sampling"]["text_every"] > 1
    flows = {n: next((tmp_path / n).glob("*.safetensors")).read_bytes() for n in sidecars}
    assert flows["first"] != flows["plain"], "a cache that always hits changes something"
    again = tmp_path / "again"
    repeated = next((tmp_path / "first").glob("*.json"))
    main(["generate", "--repeat", str(repeated), "--out", str(again)])
    assert next(again.glob("*.safetensors")).read_bytes() == flows["first"]
    with pytest.raises(SystemExit):
        main(["generate", *own, "--out", str(tmp_path / "plain"), "--prompt", "a ball",
              "--cache", "first_block"])  # fmt: skip
    assert "was made with other cache" in capsys.readouterr().err


def test_names_of_caches(tmp_path):
    assert cache_config("first_block", 50) == FirstBlockCacheConfig(threshold=0.05)
    assert cache_config("first_block=0.2", 50) == FirstBlockCacheConfig(threshold=0.2)
    path = tmp_path / "r.json"
    path.write_text('{"mag_ratios": [1.0, 0.9, 0.8]}')
    config = cache_config(f"mag={path}", 5)
    assert isinstance(config, MagCacheConfig)
    torch.testing.assert_close(config.mag_ratios, torch.tensor([1.0, 1.0, 0.9, 0.8, 0.8]))
    assert config.num_inference_steps == 5


def test_taylorseer_is_put_on_attention_and_feed_forward(jam):
    """Where its own patterns find nothing; then computed steps are as many as they should be."""
    transformer = jam.pipe.transformer
    assert predictable(transformer) == [rf"blocks\.\d+\.{n}" for n in ("attn1", "attn2", "ffn")]
    enable_cache(jam.pipe, "taylor=2", 8)
    runs = []
    for block in transformer.blocks:
        block.attn1.to_q.register_forward_pre_hook(lambda *_: runs.append(1))
    sampling = Sampling(text_scale=0, motion_scale=0, num_inference_steps=8)
    next(jam.clips([("a ball", 0)], sampling))
    assert len(runs) == 2 * 5, "steps 0 to 2, then 4 and 6"
    with pytest.raises(ValueError, match="no blocks with attention"):
        predictable(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pab", "expected first_block"),
        ("mag", "expected first_block"),
        ("first_block=x", "expected a threshold"),
        ("first_block=-1", "expected a threshold"),
        ("taylor=1.5", "expected a whole number of steps"),
        ("taylor=0", "expected a whole number of steps"),
    ],
)
def test_bad_names_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        cache_config(text, 50)


@pytest.mark.parametrize("content", ["", "[]", '{"mag_ratios": []}', '{"mag_ratios": ["a"]}'])
def test_bad_files_are_refused(tmp_path, content):
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"holds no mag_ratios; make it with"):
        cache_config(f"mag={path}", 50)


def test_a_model_without_caches_is_refused():
    pipe = MODELS["SANA-Video"]()
    with pytest.raises(ValueError, match="no caches for SanaVideoTransformer3DModel"):
        enable_cache(pipe, "first_block", 4)
