"""What guidance costs, and distilled guidance: the benchmarks whole, with little of everything."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from videojam.evaluation.experiments.scanline import triple as triples
from videojam.evaluation.experiments.scanline.fit import Speed
from videojam.evaluation.experiments.scanline.model import Sizes
from videojam.evaluation.experiments.scanline.sample import Sampler
from videojam.evaluation.experiments.scanline.settings import Recipe, Triple
from videojam.guidance.inner import GuidanceSettings
from videojam.lab.scanline.clips import draw
from videojam.lab.scanline.world import World
from videojam.sampling.pipeline import Sampling

LITTLE = Triple(
    world=World(frames=6, width=24),
    sizes=Sizes(layers=2, heads=2, head_dim=16, feed_forward=32, text_width=8),
    recipe=Recipe(batch=4, base_steps=4, tune_steps=4), seed=3,
)  # fmt: skip
SPEED = Speed(compile=False)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A trained triple; do not write into it."""
    folder = tmp_path_factory.mktemp("scanline")
    triples.train(LITTLE, folder, SPEED)
    return folder


def test_steps_in_the_open_are_those_of_the_pipeline(models):
    from guidance_rollout import rollout

    model = triples.load(LITTLE, "joint", models)
    sampler = Sampler.of(model, LITTLE, "joint", SPEED)
    captions = draw(LITTLE.world, 3, range(3), "held out").captions
    noise = sampler.noise(range(3), 7)
    guidance = {"text_scale": 2.0, "motion_scale": 1.0}
    expected = sampler.latents(captions, noise, Sampling(num_inference_steps=4, **guidance))
    for step in rollout(model, LITTLE.sizes, captions, noise, GuidanceSettings(**guidance), 4):
        last = step
    found = last.state - last.sigma * last.guided
    assert (found - expected).norm() < 0.02 * expected.norm()


def distilled(monkeypatch, models, folder, rounds):
    import guidance_distill

    monkeypatch.setattr(guidance_distill, "UPDATES", 3)
    monkeypatch.setattr(guidance_distill, "STEPS", 4)
    monkeypatch.setattr(guidance_distill, "ALONE_FROM", 1)
    for one in rounds:
        guidance_distill.train(LITTLE, models, folder, one, clips=4)
    log = json.loads((folder / "log.json").read_text())
    return guidance_distill.student(LITTLE, models, folder), log


def test_distillation_goes_on_where_it_was(monkeypatch, models, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    whole, log = distilled(monkeypatch, models, tmp_path / "whole", [3])
    assert [one["round"] for one in log] == [0, 1, 2]
    import guidance_distill

    with monkeypatch.context() as interrupted:
        calls, learn = [], guidance_distill.learn

        def until_the_fifth(*args):
            calls.append(1)
            return stop() if len(calls) == 5 else learn(*args)

        interrupted.setattr(guidance_distill, "learn", until_the_fifth)
        with pytest.raises(KeyboardInterrupt):
            distilled(interrupted, models, tmp_path / "parts", [3])
    parts, again = distilled(monkeypatch, models, tmp_path / "parts", [3])
    missed = ("missed of x", "missed of d")
    assert [[one[k] for k in missed] for one in again] == [[one[k] for k in missed] for one in log]
    joint = triples.load(LITTLE, "joint", models)
    for a, b, c in zip(whole.parameters(), parts.parameters(), joint.parameters(), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)


def costs(tmp_path, monkeypatch, *given):
    """Figures of the command, and of the same command again."""
    import guidance_cost

    found = []
    for _ in range(2):
        guidance_cost.main(
            [*map(str, given), "--folder", str(tmp_path / "kept"), "--count", "4", "--steps", "5",
             "--results", str(tmp_path), "--plots", str(tmp_path)]
        )  # fmt: skip
        results = next(tmp_path.glob("guidance_cost*.json"))
        found.append(json.loads(results.read_text())["figures"]["systems"])
        monkeypatch.setattr(guidance_cost, "measure", measured_before(guidance_cost.measure))
    assert found[0] == found[1]
    assert next(tmp_path.glob("guidance_cost*.png")).stat().st_size > 0
    return found[0]


def measured_before(measure):
    def check(world, args, name, system, numbers):
        monkeyed = replace_sample(world)
        return measure(monkeyed, args, name, system, numbers)

    return check


def replace_sample(world):
    def never(*_):
        raise AssertionError("it was there")

    world.sample = never
    return world


def check(systems, score):
    plain = {name for name in systems if "Cache" not in name and "cache" not in name}
    for name, own in systems.items():
        assert own["passes"] == own["passes, by the settings"], name
        blocks, passes = (own[f"cost in {one}, of plain CFG"] for one in ("blocks", "passes"))
        assert blocks <= passes + 1e-9, name
        assert (blocks == pytest.approx(passes)) or name not in plain or "Taylor" in name, name
        assert own["processor seconds, of plain CFG"] > 0
        assert set(own[score]) >= {"mean", "low", "high"}
    assert systems["paper"]["distance to the paper's latents"]["mean"] == 0
    assert systems["paper"][f"{score}, less the paper's"]["mean"] == 0
    assert systems["paper, TaylorSeer 3"]["cost in blocks, of plain CFG"] < 1.2
    assert systems["without Inner-Guidance"]["distance to the paper's latents"]["mean"] > 0


def test_costs_of_the_line(monkeypatch, models, tmp_path):
    import guidance_worlds

    distilled(monkeypatch, models, tmp_path / "distilled", [1])
    monkeypatch.setattr(guidance_worlds, "Triple", lambda seed: replace(LITTLE, seed=seed))
    given = ("--models", models, "--seeds", 3, "--distilled", tmp_path / "distilled")
    systems = costs(tmp_path, monkeypatch, *given)
    check(systems, "lawful")
    assert systems["distilled"]["passes"] == 5
    import guidance_cost

    monkeypatch.setitem(guidance_cost.SYSTEMS, "fast", guidance_cost.SYSTEMS["balanced"])
    folder = ("--folder", tmp_path / "kept", "--count", 4, "--steps", 5, "--only", "fast")
    with pytest.raises(ValueError, match=r"fast-0\.safetensors was made by"):
        guidance_cost.main([*map(str, (*given, *folder))])
    assert systems["balanced"]["passes"] == 5 + 1 + 1
    for name, own in systems.items():
        less = own["appearance distance, less the paper's"]
        assert (less["low"] < less["mean"] < less["high"]) == (name != "paper"), name
        away = own["appearance distance"] - systems["paper"]["appearance distance"]
        assert less["mean"] == pytest.approx(away, abs=1e-9), name


def test_costs_of_the_lab(monkeypatch, lab_models, tmp_path):
    from guidance_systems import SYSTEMS

    # The first block of a model of one is all of it.
    monkeypatch.delitem(SYSTEMS, "paper, first block cache 0.1")
    given = ("--lab", lab_models, "--seeds", 3000, "--w1", 2, "--w2", 2)
    systems = costs(tmp_path, monkeypatch, *given)
    check(systems, "coherence")
    assert systems["paper"]["appearance distance, less the paper's"]["mean"] == 0
    assert "distilled" not in systems
