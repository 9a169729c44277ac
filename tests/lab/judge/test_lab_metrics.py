"""The judge: true clips score near 1, every damage moves the metric it is for, nothing crashes."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from videojam.lab.clips import Lab, lab_clips, lab_scene
from videojam.lab.judge import Judgement, judge
from videojam.lab.judge.damages import DAMAGES
from videojam.lab.judge.laws import ELSEWHERE, LAWS, law_scores
from videojam.lab.judge.scores import mean, score, worst
from videojam.lab.judge.seeing.tracks import track
from videojam.lab.scene import Law, Scene
from videojam.lab.scenes import SCENES
from videojam.lab.scenes.dice import Dice
from videojam.rng import generator

NAMES = tuple(field.name for field in dataclasses.fields(Judgement))
EVERY = {damage.name: damage for damage in DAMAGES}


def clips(kind: str, count: int = 2, size: int = 64, seed: int = 3):
    scenes, drawn = lab_clips(Lab(types=(kind,), height=size, width=size, seed=seed), range(count))
    return list(zip(scenes, drawn.frames, strict=True))


def noisy(frames: torch.Tensor) -> torch.Tensor:
    pixels = frames.movedim(-1, 1).float()
    kernel = torch.tensor([0.25, 0.5, 0.25])
    kernel = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
    pixels = torch.nn.functional.pad(pixels, (1, 1, 1, 1), mode="replicate")
    pixels = torch.nn.functional.conv2d(pixels, kernel, groups=3)
    pixels = pixels + 4 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    return pixels.clamp(0, 255).round().to(torch.uint8).movedim(1, -1)


def damaged(name: str, strength: float, kinds: tuple[str, ...]) -> dict[str, float]:
    """Means over a clip of each of these types; strength 0 for the true clips."""
    rows = []
    for kind in kinds:
        lab = Lab(types=(kind,), seed=3)
        scene, look = lab_scene(lab, 0)
        dice = Dice(generator(0, "test damage", 0))
        if strength == 0:
            frames = lab_clips(lab, [0])[1].frames[0]
        else:
            frames = EVERY[name].make(scene, look, (64, 64), strength, dice)
        assert frames is not None, f"{name} does not damage a {kind}"
        rows.append(judge(noisy(frames), scene).as_dict())
    return {metric: mean([row[metric] for row in rows]) for metric in NAMES}


@pytest.mark.parametrize("kind", SCENES)
def test_true_clips_score_near_one(kind):
    for scene, frames in clips(kind, 1):
        for shown in (frames, noisy(frames)):
            found = judge(shown, scene).as_dict()
            assert tuple(found) == NAMES
            assert all(0 <= value <= 1 for value in found.values() if not math.isnan(value))
            assert found["coherence"] > 0.85, found
            assert found["text"] > 0.85, found
            assert found["motion"] == 1.0


def test_true_clips_score_near_one_at_twice_the_size():
    values = [
        judge(frames, scene).coherence
        for kind in ("hoop", "walker", "chain")
        for scene, frames in clips(kind, 1, size=128)
    ]
    assert min(values) > 0.9


@pytest.mark.parametrize("kind", SCENES)
def test_a_frozen_clip_fails(kind):
    ((scene, frames),) = clips(kind, 1)
    still = frames[8:9].expand(frames.shape).contiguous()
    found = judge(still, scene)
    assert found.motion < 0.05 and found.coherence < 0.05 and not found.law > 0.05
    held = judge(noisy(still), scene)  # noise is no motion
    assert held.coherence < 0.2


BODIES = ("bouncing ball", "pendulum", "wheel", "collision")
SEEN = (
    ("shuffled", ("order", "law"), BODIES),
    ("jumped", ("order", "law"), BODIES),
    ("frozen", ("law",), BODIES),
    ("warped", ("law",), BODIES),
    ("slowed", ("law",), ("bouncing ball", "pendulum", "double pendulum")),
    ("weightless", ("law",), ("bouncing ball", "pendulum")),
    ("vanished", ("permanence",), BODIES),
    ("doubled", ("permanence",), BODIES),
    ("recoloured", ("permanence",), BODIES),
    ("swollen", ("permanence",), BODIES),
    ("wobbling", ("rigidity",), BODIES),
    ("sunk", ("contact",), ("bouncing ball", "hoop", "collision")),
    ("parted", ("law",), ("double pendulum", "chain")),
    ("reversed turn", ("order", "law"), ("wheel", "gears")),
    ("swapped legs", ("order", "law"), ("walker",)),
    ("in step", ("law",), ("walker",)),
    ("mirrored", ("text",), ("bouncing ball", "rolling wheel")),
    ("repainted", ("text", "permanence"), ("bouncing ball", "wheel")),
)


@pytest.mark.parametrize(("name", "metrics", "kinds"), SEEN, ids=[row[0] for row in SEEN])
def test_a_damage_moves_its_metric(name, metrics, kinds):
    """Falling with its strength: compared are none, a middling one and the strongest."""
    strengths = EVERY[name].strengths
    true, much = damaged(name, 0.0, kinds), damaged(name, strengths[-1], kinds)
    some = damaged(name, strengths[-2], kinds) if len(strengths) > 1 else true
    for metric in metrics:
        values = [means[metric] for means in (true, some, much)]
        assert values[0] > 0.9, (metric, values)
        assert values[2] < values[0] - 0.15, (metric, values)
        if len(strengths) > 1:
            assert values[1] < values[0] - 0.05 and values[2] < values[1] + 0.1, (metric, values)


def test_every_damage_is_tested():
    assert {row[0] for row in SEEN} == set(EVERY)


def test_motion_elsewhere_in_the_picture_is_judged_the_same():
    """A clip moved by whole pixels: laws do not depend on the place (where nothing is cut off)."""
    for kind in ("pendulum", "wheel", "spinning square"):
        ((scene, frames),) = clips(kind, 1)
        moved = frames.roll((3, -4), dims=(1, 2))
        one, two = judge(frames, scene).as_dict(), judge(moved, scene).as_dict()
        assert two["coherence"] == pytest.approx(one["coherence"], abs=0.05), kind
        assert two["text"] == one["text"]


@pytest.mark.parametrize("kind", ["bouncing ball", "collision", "rolling wheel", "walker"])
def test_a_mirrored_clip_is_as_coherent_but_not_what_was_asked(kind):
    ((scene, frames),) = clips(kind, 1)
    one, two = judge(frames, scene), judge(frames.flip(2), scene)
    assert two.coherence == pytest.approx(one.coherence, abs=0.05)
    assert two.text < one.text


def test_trajectories_of_other_clips_are_judged_by_laws_and_not_by_poses():
    """Another clip of the same type and colours is as right as the scene's own."""
    lab = Lab(types=("bouncing ball",), seed=3)
    scene, _ = lab_scene(lab, 0)
    asked = scene.asked[0]
    for index in range(1, 30):
        other, look = lab_scene(lab, index)
        if (other.asked[0].direction, other.asked[0].speed) == (asked.direction, asked.speed):
            break
    names = {other.asked[0].colour: asked.colour}
    from videojam.lab.judge.damages.drawing import coloured, drawn

    painted = dataclasses.replace(other, bodies=tuple(coloured(b, names) for b in other.bodies))
    found = judge(drawn(painted, look, (64, 64)), scene)
    assert found.coherence > 0.95 and found.text == 1.0


def test_metrics_that_do_not_apply_are_nan_and_do_not_count():
    ((scene, frames),) = clips("pendulum", 1)
    found = judge(frames, scene)
    assert math.isnan(found.contact)  # nothing must stay apart
    others = [found.permanence, found.rigidity, found.law, found.order]
    assert found.coherence == pytest.approx(found.motion * np.mean(others))


def test_scores():
    assert score(0.0, 0.1, 1.0) == score(0.1, 0.1, 1.0) == 1.0
    assert score(1.1, 0.1, 1.0) == pytest.approx(math.exp(-1))
    assert score(math.inf, 0.1, 1.0) == score(math.nan, 0.1, 1.0) == 0.0
    assert mean([1.0, math.nan, 0.5]) == 0.75
    assert worst([1.0, math.nan, 0.5]) == 0.5
    assert math.isnan(mean([])) and math.isnan(worst([math.nan]))
    with pytest.raises(TypeCheckError):
        score(1, 0.1, 1.0)
    with pytest.raises(TypeCheckError):
        judge(torch.zeros(17, 64, 64, 3), clips("pendulum", 1)[0][0])


def test_every_kind_of_law_has_a_metric_and_an_unknown_one_is_an_error():
    kinds = {
        law.kind
        for kind in SCENES
        for index in range(3)
        for law in lab_scene(Lab(types=(kind,)), index)[0].laws
    }
    assert kinds <= {*LAWS, *ELSEWHERE}
    ((scene, frames),) = clips("pendulum", 1)
    strange = dataclasses.replace(scene, laws=(Law("levitate", ("bob",)),))
    with pytest.raises(ValueError, match="levitate"):
        judge(frames, strange)


def test_law_scores_are_per_kind():
    ((scene, frames),) = clips("collision", 1)
    found = law_scores(track(frames.numpy(), scene))
    assert set(found) == {"momentum", "steady"}
    assert min(found.values()) > 0.9


def test_short_clips_are_refused():
    ((scene, frames),) = clips("pendulum", 1)
    with pytest.raises(ValueError, match="6 frames"):
        judge(frames[:5], scene)


@settings(max_examples=12)
@given(st.sampled_from(sorted(SCENES)), st.integers(0, 2**32 - 1), st.sampled_from((1, 4, 16)))
def test_noise_never_crashes_and_scores_low(kind, seed, grain):
    """Random pixels, patches and large patches, in every frame anew."""
    scene = scene_of(kind)
    draw = torch.Generator().manual_seed(seed)
    side = 64 // grain
    noise = torch.randint(0, 256, (17, side, side, 3), generator=draw, dtype=torch.uint8)
    frames = noise.repeat_interleave(grain, 1).repeat_interleave(grain, 2)
    found = judge(frames, scene).as_dict()
    assert all(0 <= value <= 1 for value in found.values() if not math.isnan(value))
    assert found["coherence"] < 0.45, found
    assert found["permanence"] < 0.3


@pytest.mark.parametrize("kind", SCENES)
def test_empty_and_full_pictures_score_nothing(kind):
    scene = scene_of(kind)
    for level in (0, 128, 255):
        found = judge(torch.full((17, 48, 80, 3), level, dtype=torch.uint8), scene)
        assert found.coherence == found.text == 0.0 and found.permanence < 1e-3
    red = torch.tensor([225, 40, 40], dtype=torch.uint8).expand(17, 64, 64, 3).contiguous()
    assert judge(red, scene).coherence < 0.05


def scene_of(kind: str) -> Scene:
    return lab_scene(Lab(types=(kind,)), 0)[0]
