"""The lab's measurements of images and motion strength, whole, with little of everything."""

import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_lab import TINY

from videojam.embedded.lab_file import write_lab
from videojam.evaluation.clips.systems import Request
from videojam.joint.checkpoint import JointInfo, save_folder
from videojam.joint.widen import widen
from videojam.lab.clips import Lab, lab_scene
from videojam.models.small_wan import small_wan_pipeline
from videojam.sampling.pipeline import Sampling

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LITTLE: dict = {
    "clips": 4, "validation": 1, "base_steps": 1, "tune_steps": 1, "batch_size": 2, "prompts": 2,
    "num_inference_steps": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A random base and a random joint model, as the lab's recipe leaves them."""
    out = tmp_path_factory.mktemp("lab-model")
    words = {word for k in range(4) for word in lab_scene(TINY.lab, k)[0].caption.split()}
    sizes = replace(TINY.model, vae_width=8, words=tuple(sorted(w.strip(",") for w in words)))
    pipe = small_wan_pipeline(sizes)
    pipe.save_pretrained(out / "base")
    lab = TINY.lab
    info = JointInfo(
        sigma=TINY.sigma, background="black", estimator="exact", fps=lab.fps, height=lab.height,
        width=lab.width, num_frames=lab.frames, base=str(out / "base"),
    )  # fmt: skip
    pipe.register_modules(transformer=widen(pipe.transformer))
    save_folder(pipe, out / "videojam", info)
    write_lab(out / "videojam", lab)
    return out


@pytest.fixture
def benchmark(monkeypatch):
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks are not part of this checkout")
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_images_are_measured_and_a_stopped_run_goes_on(models, benchmark, tmp_path):
    import image_lab

    args = image_lab.ImageLab(
        out=tmp_path / "run", models=models, results=tmp_path / "results", **LITTLE
    )
    found = image_lab.main(args)
    systems = ("true clips", "base", "control", "VideoJAM", "VideoJAM, image term 1.5")
    for name in systems:
        for what in ("dynamic degree", "speed over the truth's", "coherence"):
            assert math.isfinite(found[f"{name}: {what}"][0])
    assert found["true clips: speed over the truth's"][0] == 1
    assert found["true clips: first frame to its image, dB"][0] == 99, "the image is its own"
    assert found["VideoJAM - control: coherence"][0] == pytest.approx(
        found["VideoJAM: coherence"][0] - found["control: coherence"][0], abs=2e-4
    )
    clips = sorted((tmp_path / "run" / "clips").rglob("*.safetensors"))
    assert len(clips) == 4 * 2
    written = [clip.stat().st_mtime_ns for clip in clips[1:]]
    clips[0].unlink()
    assert str(image_lab.main(args)) == str(found), "intervals of two scenes are not numbers"
    assert [clip.stat().st_mtime_ns for clip in clips[1:]] == written, "only the missing one"
    with pytest.raises(ValueError, match="base_steps: 1 there, 2 now"):
        image_lab.main(replace(args, base_steps=2))


def test_motion_strength_is_measured(models, benchmark, tmp_path):
    import motion_strength_lab

    args = motion_strength_lab.StrengthLab(
        out=tmp_path / "run", models=models, results=tmp_path / "results", **LITTLE
    )
    found = motion_strength_lab.main(args)
    assert -1 <= found["VideoJAM: rank correlation over all clips"][0] <= 1
    assert (tmp_path / "results" / "motion_strength_lab.json").is_file()

    from motion_strength_schemes import Schemes
    from motion_strength_schemes import main as measure_schemes

    schemes = Schemes(
        out=args.out, results=args.results, prompts=2, num_inference_steps=2, text_scales=(2.5,)
    )
    found = measure_schemes(schemes)
    for name in ("tag, w1 2.5", "tag against its opposite, w1 2.5", "predicted flow, scaled"):
        assert found[f"{name}: mean flow, more over less"][0] > 0
    videos = [
        load_file(args.out / "schemes" / name / "00000.safetensors")["video"]
        for name in (
            "w1 2.5, strength 5", "w1 2.5, strength 5 against 1", "w1 2.5, strength 1 against 5",
            "predicted flow times 1", "predicted flow times 2",
        )
    ]  # fmt: skip
    assert not any(torch.equal(a, b) for a, b in combinations(videos, 2))
    with pytest.raises(ValueError, match="num_inference_steps: 2 there, 3 now"):
        measure_schemes(replace(schemes, num_inference_steps=3))


def test_the_opposite_strength_is_the_null_text_and_more_is_compared_with_less(
    benchmark, monkeypatch
):
    import motion_strength_schemes as module

    monkeypatch.setattr(module, "alone", lambda pipe, fps, sampling, place, request: sampling)
    request = Request("a ball", 0, 0, "basic", "bouncing ball")
    for strength, other in ((1, 5), (5, 1)):
        found = module.opposed(None, 8.0, Sampling(motion_strength=strength), 0, request)
        assert found.negative_prompt == f"motion strength {other}, a ball"
        assert found.motion_strength == strength
    less = {what: torch.full((16,), 2.0) for what in ("mean flow", "coherence")}
    more = {"mean flow": torch.full((16,), 3.0), "coherence": torch.full((16,), 1.5)}
    found = module.summary("s", {"a": less, "b": less, "c": more})
    assert found["s: mean flow, more over less"] == [1.5]
    assert found["s: mean flow, more less less"][0] == 1.0
    assert found["s: coherence, more less less"][0] == -0.5
    assert found["c: mean flow"][0] == 3.0


def test_a_model_that_does_as_asked_has_the_best_figures(benchmark):
    from motion_strength_lab import summary

    lab = Lab()
    diagonal = math.hypot(lab.height, lab.width)
    asked = torch.tensor([0.005, 0.015, 0.03, 0.06, 0.12]) * diagonal / lab.fps
    found = summary(asked.expand(8, 5), lab)
    assert found["rank correlation over all clips"] == [1]
    assert found["share of steps that rise"][0] == 1
    assert found["error in levels"][0] == 0
    assert found["mean flow at strength 3, diagonals a second"][0] == pytest.approx(0.03, abs=1e-4)
    against = summary(asked.flip(0).expand(8, 5), lab)
    assert against["rank correlation over all clips"] == [-1]
    assert against["share of steps that rise"][0] == 0
    assert against["error in levels"][0] == pytest.approx((4 + 2 + 0 + 2 + 4) / 5)
