"""Weights of branches: they add up to 1, follow the paper, and act in their windows."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from videojam.guidance.branches import Branch, combine
from videojam.guidance.inner import GuidanceSettings, Mode, inner_guidance_weights

MODES = Mode.__args__
scales = st.floats(0, 50, allow_subnormal=False)


def test_paper_formula_and_its_constants():
    """(1 + 5 + 3) u([x,d],y) - 5 u([x,d],0) - 3 u([x,0],y)."""
    paper = {Branch.JOINT: 9, Branch.NO_TEXT: -5, Branch.NO_MOTION: -3}
    assert inner_guidance_weights(5, 3) == paper
    assert GuidanceSettings().weights(0, 100) == paper


@given(scales, scales, st.sampled_from(MODES), st.integers(1, 120), st.data())
def test_weights_add_up_to_one(text_scale, motion_scale, mode, num_steps, data):
    shares = [data.draw(st.floats(0, 1)) for _ in range(4)]
    settings = GuidanceSettings(
        text_scale=text_scale,
        motion_scale=motion_scale,
        text_start=min(shares[:2]),
        text_stop=max(shares[:2]),
        motion_start=min(shares[2:]),
        motion_stop=max(shares[2:]),
        mode=mode,
    )
    weights = settings.weights(data.draw(st.integers(0, num_steps - 1)), num_steps)
    assert math.isclose(sum(weights.values()), 1, abs_tol=1e-12)
    assert all(weights.values()), "branches of weight 0 are dropped"


@pytest.mark.parametrize("mode", MODES)
def test_without_scales_only_the_conditional_branch_is_left(mode):
    left = Branch.NO_MOTION if mode == "without_flow" else Branch.JOINT
    assert GuidanceSettings(text_scale=0, motion_scale=0, mode=mode).weights(0, 4) == {left: 1}


def test_ablations_are_the_papers_table():
    def weights(mode):
        return GuidanceSettings(text_scale=5, motion_scale=3, mode=mode).weights(0, 4)

    assert weights("without_text_guidance") == {Branch.JOINT: 4, Branch.NO_MOTION: -3}
    assert weights("without_inner_guidance") == {Branch.JOINT: 6, Branch.NO_TEXT: -5}
    assert weights("without_flow") == {Branch.NO_MOTION: 6, Branch.NEITHER: -5}
    # u(0,0) + 4 (u(d,0) - u(0,0)) + 6 (u(d,y) - u(d,0))
    assert weights("instruct_pix2pix") == {
        Branch.JOINT: 6,
        Branch.NO_TEXT: 4 - 6,
        Branch.NEITHER: 1 - 4,
    }


@pytest.mark.parametrize(
    ("start", "stop", "num_steps", "expected"),
    [
        (0, 0.5, 10, range(5)),
        (0, 0.5, 5, range(2)),
        (0, 0.5, 1, range(0)),
        (0, 1, 7, range(7)),
        (0.2, 0.29, 100, range(20, 29)),  # 0.29 * 100 is 28.999999999999996
        (0.5, 0.5, 8, range(0)),
    ],
)
def test_motion_term_acts_in_its_window_and_text_guidance_everywhere(
    start, stop, num_steps, expected
):
    settings = GuidanceSettings(motion_start=start, motion_stop=stop)
    per_step = [settings.weights(step, num_steps) for step in range(num_steps)]
    assert [i for i, weights in enumerate(per_step) if Branch.NO_MOTION in weights] == [*expected]
    assert all(weights[Branch.NO_TEXT] == -5 for weights in per_step)


@pytest.mark.parametrize("mode", MODES)
def test_outside_the_motion_window_is_text_guidance_whatever_the_motion_scale(mode):
    late = [GuidanceSettings(motion_scale=scale, mode=mode).weights(3, 4) for scale in (0, 3, 100)]
    assert late[0] == late[1] == late[2]


def test_combine_is_the_weighted_sum_in_float32():
    u = {branch: torch.full((2, 3), 1.0, dtype=torch.bfloat16) for branch in Branch}
    u[Branch.JOINT] += 2**-7  # the last bit of bfloat16
    weights = inner_guidance_weights(5, 3)
    out = combine({branch: u[branch] for branch in weights}, weights)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, torch.full((2, 3), 9 * (1 + 2**-7) - 8), rtol=0, atol=0)


def test_combine_refuses_other_predictions_than_the_weights_name():
    u = torch.zeros(2)
    with pytest.raises(ValueError, match="run every branch"):
        combine({Branch.JOINT: u}, inner_guidance_weights(5, 3))
    with pytest.raises(ValueError, match="run every branch"):
        combine({}, {})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text_scale": -1.0}, "text_scale is -1.0, expected a finite number >= 0"),
        ({"motion_scale": math.inf}, "motion_scale is inf"),
        ({"motion_scale": math.nan}, "motion_scale is nan"),
        ({"motion_start": 0.6}, "motion_start, motion_stop are 0.6, 0.5"),
        ({"text_stop": 1.1}, "text_start, text_stop are 0.0, 1.1"),
    ],
)
def test_bad_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GuidanceSettings(**wrong)


def test_unknown_mode_is_refused():
    # Under the tests' type checker the annotation refuses it before the check does.
    with pytest.raises((ValueError, TypeCheckError), match="cfg"):
        GuidanceSettings(mode="cfg")


def test_step_outside_the_run_is_refused():
    with pytest.raises(ValueError, match="step is 4, expected 0 <= step < num_steps = 4"):
        GuidanceSettings().weights(4, 4)
