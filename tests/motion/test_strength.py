"""How much a clip moves as a number, and a prompt that asks for it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videojam.motion.strength import LEVELS, motion_strength, with_strength


def test_levels_double_the_speed_in_diagonals_per_second():
    # 30 x 40 pixels: a diagonal of 50. At 10 frames/s one pixel a frame is 0.2 diagonals a second.
    for speed, level in ((0.0, 1), (0.0099, 1), (0.0101, 2), (0.0201, 3), (0.0401, 4), (0.0801, 5)):
        assert motion_strength(speed * 5, 30, 40, 10.0) == level
    assert motion_strength(1e9, 30, 40, 10.0) == 5
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="mean flow is"):
            motion_strength(bad, 30, 40, 10.0)


@given(
    st.floats(0, 100), st.integers(16, 2000), st.integers(16, 2000), st.floats(1, 60),
    st.integers(2, 5),
)  # fmt: skip
def test_neither_size_nor_frame_rate_matter(flow, height, width, fps, times):
    level = motion_strength(flow, height, width, fps)
    assert level in LEVELS
    assert motion_strength(flow * times, height * times, width * times, fps) == pytest.approx(
        level, abs=1  # a bound may lie between by rounding
    )  # fmt: skip
    assert motion_strength(flow * times, height, width, fps) >= level
    exact = flow * fps / math.hypot(height, width)
    bounds = [0.01 * 2**k for k in range(4)]
    if all(abs(exact - bound) > 1e-6 for bound in bounds):
        assert motion_strength(flow / 2, height, width, fps * 2) == level


def test_the_prompt_names_it_in_front():
    assert with_strength("A dog jumps.", 4) == "motion strength 4, A dog jumps."
    assert with_strength("", 1) == "motion strength 1"
    for bad in (0, 6):
        with pytest.raises(ValueError, match=f"motion strength is {bad}"):
            with_strength("x", bad)
