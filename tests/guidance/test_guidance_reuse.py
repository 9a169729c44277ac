"""Differences to the joint prediction that are kept for some steps, and the count of passes."""

from dataclasses import replace

import hypothesis
import pytest
import torch
from guidance_sampling import by_hand, call_log, error, sample
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from test_guidance_guider import modular

from videojam.guidance.branches import Branch, combine
from videojam.guidance.guider import InnerGuidance
from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.pipelines import inner_guidance
from videojam.guidance.presets import PRESETS, preset_settings
from videojam.guidance.reuse import Differences

JOINT, NO_TEXT, NO_MOTION = Branch.JOINT, Branch.NO_TEXT, Branch.NO_MOTION
MODES = ("inner_guidance", "without_text_guidance", "without_inner_guidance")


def run(settings, predict, num_steps, differences=None):
    """Guided predictions of a run, and the branches that each step asked for."""
    differences = differences or Differences(settings)
    found, asked = [], []
    for step in range(num_steps):
        due = differences.due(step, num_steps)
        assert differences.due(step, num_steps) == due, "asking changes nothing"
        found.append(differences.guided({b: predict(b, step) for b in due}, step, num_steps))
        asked.append([*due])
    return found, asked


def noise(branch, step, samples=2):
    seed = 100 * step + [*Branch].index(branch)
    return torch.randn(samples, 3, 4, generator=torch.Generator().manual_seed(seed))


# --- the formula --------------------------------------------------------------------------------


def test_between_computed_steps_the_last_differences_are_added():
    """Steps 0 to 4 written out, w1 = 5, w2 = 3, motion in the first three."""
    settings = GuidanceSettings(text_every=2, motion_every=3, motion_stop=0.6)
    found, asked = run(settings, noise, 5)
    u = {(b, i): noise(b, i) for b in Branch for i in range(5)}
    text = {i: u[JOINT, i] - u[NO_TEXT, i] for i in (0, 2, 4)}
    motion = u[JOINT, 0] - u[NO_MOTION, 0]
    expected = [
        u[JOINT, 0] + 5 * text[0] + 3 * motion,
        u[JOINT, 1] + 5 * text[0] + 3 * motion,
        u[JOINT, 2] + 5 * text[2] + 3 * motion,
        u[JOINT, 3] + 5 * text[2],
        u[JOINT, 4] + 5 * text[4],
    ]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert asked == [
        [JOINT, NO_TEXT, NO_MOTION], [JOINT], [JOINT, NO_TEXT], [JOINT], [JOINT, NO_TEXT],
    ]  # fmt: skip


@hypothesis.settings(max_examples=25)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 14), st.floats(0, 1))
def test_differences_on_a_line_are_extrapolated_without_error(text, motion, num_steps, stop):
    """After two computed ones; before that the one there is counts."""
    slopes = {b: noise(b, 99) for b in Branch}

    def straight(branch, step):
        return noise(branch, 50) + step * slopes[branch]

    settings = GuidanceSettings(
        text_every=text, motion_every=motion, motion_stop=stop, reuse="extrapolate"
    )
    found, _ = run(settings, straight, num_steps)
    for step in range(num_steps):
        weights = settings.weights(step, num_steps)
        known = {b: s for b, s in ((NO_TEXT, text), (NO_MOTION, motion)) if b in weights}
        if all(every == 1 or step >= every for every in known.values()):
            expected = combine({b: straight(b, step) for b in weights}, weights)
            torch.testing.assert_close(found[step], expected, rtol=1e-3, atol=1e-2)


@hypothesis.settings(max_examples=25)
@given(st.sampled_from(MODES), st.integers(1, 20), st.data())
def test_passes_are_counted_before_the_run(mode, num_steps, data):
    shares = [sorted(data.draw(st.floats(0, 1)) for _ in range(2)) for _ in range(2)]
    settings = GuidanceSettings(
        text_scale=data.draw(st.sampled_from([0.0, 2.0])),
        motion_scale=data.draw(st.sampled_from([0.0, 2.0])),
        text_start=shares[0][0], text_stop=shares[0][1],
        motion_start=shares[1][0], motion_stop=shares[1][1],
        text_every=data.draw(st.integers(1, 7)), motion_every=data.draw(st.integers(1, 7)),
        reuse=data.draw(st.sampled_from(["keep", "extrapolate"])), mode=mode,
    )  # fmt: skip
    _, asked = run(settings, noise, num_steps)
    assert sum(map(len, asked)) == settings.passes(num_steps)
    settled = replace(settings, settled_cosine=data.draw(st.floats(-1, 0.999)))
    _, fewer = run(settled, noise, num_steps)
    assert sum(map(len, fewer)) <= settled.passes(num_steps) == settings.passes(num_steps)


def test_passes_of_the_papers_way_and_of_plain_guidance():
    settings = GuidanceSettings()
    assert settings.passes(50) == 25 * 3 + 25 * 2
    assert settings.passes(50, joint=False) == 100
    assert GuidanceSettings(text_scale=0).passes(50, joint=False) == 50
    assert GuidanceSettings(text_every=2, motion_every=2).passes(50) == 50 + 25 + 13


def test_computed_at_every_step_it_is_the_papers_sum_to_the_last_bit():
    """Also while differences are kept, which nothing has settled by."""
    settings = GuidanceSettings(settled_cosine=0.99)
    found, _ = run(settings, noise, 6)
    for step, one in enumerate(found):
        weights = settings.weights(step, 6)
        assert torch.equal(one, combine({b: noise(b, step) for b in weights}, weights))


def test_sums_of_bfloat16_are_made_in_float32():
    settings = GuidanceSettings(text_every=2)
    found, _ = run(settings, lambda b, i: noise(b, i).bfloat16(), 2)
    joint, text = (noise(b, 0).bfloat16().float() for b in (JOINT, NO_TEXT))
    expected = noise(JOINT, 1).bfloat16().float() + 5 * (joint - text)
    torch.testing.assert_close(found[1], expected, rtol=1e-6, atol=1e-6)


# --- the rule of the cosine ---------------------------------------------------------------------


def turning(degrees):
    """Text differences that turn by so much a step, for each sample; others are 0."""

    def predict(branch, step):
        angle = torch.tensor(degrees) * torch.pi / 180 * step
        turned = torch.stack([angle.cos(), angle.sin()], 1)
        return -turned if branch is NO_TEXT else torch.zeros_like(turned)

    return predict


def test_a_term_is_computed_no_more_once_its_direction_stays():
    settings = GuidanceSettings(motion_scale=0, settled_cosine=0.95)  # 18.2 degrees
    _, asked = run(settings, turning([10.0]), 6)
    assert [NO_TEXT in step for step in asked] == [True, True, False, False, False, False]
    found, asked = run(settings, turning([20.0]), 6)
    assert all(NO_TEXT in step for step in asked)
    assert torch.allclose(found[5], 5 * -turning([20.0])(NO_TEXT, 5))


@pytest.mark.parametrize("reuse", ["keep", "extrapolate"])
def test_a_sample_does_not_depend_on_others_of_its_batch(reuse):
    """One settles, the other does not: the branch runs on, and the first keeps what it had."""
    settings = GuidanceSettings(motion_scale=0, settled_cosine=0.9, text_every=2, reuse=reuse)
    together, asked = run(settings, turning([5.0, 40.0]), 7)
    assert [NO_TEXT in step for step in asked] == [True, False] * 3 + [True]
    for place, degrees in enumerate((5.0, 40.0)):
        alone, _ = run(settings, turning([degrees]), 7)
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[place], b[0], rtol=1e-5, atol=1e-5)


def test_a_run_begins_anew():
    settings = GuidanceSettings(text_every=3, settled_cosine=0.5)
    differences = Differences(settings)
    first, asked = run(settings, turning([10.0]), 4, differences)
    for num_steps in (4, 4):
        again, asked_again = run(settings, turning([10.0]), num_steps, differences)
        assert asked_again == asked
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert [*differences.due(2, 9)] == [JOINT, NO_TEXT, NO_MOTION], "a step that does not follow"


# --- in pipelines -------------------------------------------------------------------------------


def kept_by_hand(text_every, motion_every, window):
    kept = {}

    def formula(u, step):
        joint = u(1, 1)
        if step % text_every == 0:
            kept["text"] = joint - u(0, 1)
        if step % motion_every == 0 and step < window:
            without = u(1, 0)
            kept["x"], kept["d"] = (joint - without).chunk(2, 1)[0], without.chunk(2, 1)[1]
        total = joint + 5 * kept["text"]
        if step < window:
            total = total + 3 * torch.cat([kept["x"], joint.chunk(2, 1)[1] - kept["d"]], 1)
        return total

    return formula


@pytest.mark.parametrize("at_once", [False, True])
def test_pipelines_equal_the_explicit_loop(pipe, noise, at_once):
    """With two experts the second goes on with the differences of the first."""
    expected = by_hand(pipe, noise, kept_by_hand(3, 2, 3), steps=6)
    changes = {"text_every": 3, "motion_every": 2}
    for _ in range(2):
        with inner_guidance(pipe, branches_at_once=at_once, **changes):
            assert error(sample(pipe, noise, steps=6), expected) < 1e-4
    assert error(by_hand(pipe, noise, kept_by_hand(1, 1, 3), steps=6), expected) > 1e-4


def test_the_guider_equals_the_explicit_loop(wan21, noise):
    expected = by_hand(wan21, noise, kept_by_hand(3, 2, 3), steps=6)
    guider = InnerGuidance(text_every=3, motion_every=2)
    for _ in range(2):
        assert error(modular(wan21, guider, noise, steps=6), expected) < 1e-4


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("mode", MODES)
def test_the_passes_that_are_said_are_those_made(wan22_a14b, noise, mode, preset):
    settings = GuidanceSettings(mode=mode, **PRESETS[preset])
    models = (wan22_a14b.transformer, wan22_a14b.transformer_2)
    with call_log(*models) as log, inner_guidance(wan22_a14b, settings):
        sample(wan22_a14b, noise, steps=7)
    assert len(log) == settings.passes(7)


def test_an_interrupted_call_leaves_no_difference_behind(wan21, noise):
    def stop(*_):
        raise KeyboardInterrupt

    with inner_guidance(wan21, text_every=3, motion_every=3):
        expected = sample(wan21, noise)
        with pytest.raises(KeyboardInterrupt):
            sample(wan21, 2 * noise, callback_on_step_end=stop)
        assert torch.equal(sample(wan21, noise), expected)


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text_every": 0}, "text_every is 0, expected a number of steps"),
        ({"motion_every": -2}, "motion_every is -2"),
        ({"settled_cosine": 1.0}, r"settled_cosine is 1\.0, expected a cosine"),
        ({"settled_cosine": float("nan")}, "settled_cosine is nan"),
        ({"mode": "without_flow", "text_every": 2}, "mode without_flow is no sum"),
        ({"mode": "instruct_pix2pix", "settled_cosine": 0.9}, "mode instruct_pix2pix is no sum"),
        ({"mode": "without_flow", "text_term": "apg"}, "mode without_flow is no sum"),
    ],
)
def test_bad_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GuidanceSettings(**wrong)
    with pytest.raises(ValueError, match=message):
        InnerGuidance(**wrong)


@pytest.mark.parametrize("wrong", [{"reuse": "guess"}, {"text_term": "magic"}])
def test_unknown_names_are_refused(wrong):
    with pytest.raises((ValueError, TypeCheckError), match=r"guess|magic"):
        GuidanceSettings(**wrong)


def test_presets_are_settings():
    assert preset_settings("paper") == {}
    assert preset_settings("fast")["text_every"] == 4
    with pytest.raises((ValueError, TypeCheckError), match="no preset 'cheap'; there are paper"):
        preset_settings("cheap")
    with pytest.raises(ValueError, match="without_flow"):
        GuidanceSettings(mode="without_flow", **preset_settings("fast"))


def test_presets_cost_less_in_their_order():
    costs = [GuidanceSettings(**row).passes(50) / 100 for row in PRESETS.values()]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == 1.25
    assert costs[1] <= 0.7
