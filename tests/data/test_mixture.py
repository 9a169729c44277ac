"""Steps are shared among datasets as their weights say, the same way whenever a run begins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videojam.data.mixture import steps_before, which_dataset

WEIGHTS = st.lists(st.floats(0.05, 20), min_size=1, max_size=5)


@given(WEIGHTS, st.integers(0, 2**31), st.integers(1, 400))
def test_after_any_number_of_steps_each_has_had_its_share(weights, seed, steps):
    counts = steps_before(steps, weights, seed)
    assert counts.sum() == steps
    expected = steps * np.array(weights) / sum(weights)
    assert np.abs(counts - expected).max() <= 2 + np.log2(steps)


@given(WEIGHTS, st.integers(0, 100), st.integers(0, 60))
def test_what_was_read_before_is_what_the_steps_before_chose(weights, seed, step):
    chosen = [which_dataset(s, weights, seed) for s in range(step)]
    assert [*steps_before(step, weights, seed)] == [chosen.count(k) for k in range(len(weights))]


def test_the_order_depends_on_the_seed():
    orders = {tuple(which_dataset(s, (1.0, 1.0), seed) for s in range(40)) for seed in range(8)}
    assert len(orders) > 3


@pytest.mark.parametrize("weights", [(1.0,), (3.0,)])
def test_a_single_dataset_has_every_step(weights):
    assert which_dataset(17, weights, 5) == 0 and steps_before(17, weights, 5)[0] == 17
