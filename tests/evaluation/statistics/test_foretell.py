"""Lines that foretell: ranks, fits and tests against closed forms and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress, spearmanr

from videojam.evaluation.statistics.foretell import check_line, fit_line, rank_correlation

small = st.integers(-5, 5).map(float)  # ties are common


@given(st.lists(st.tuples(small, small), min_size=3, max_size=20))
def test_rank_correlation_is_spearmans_with_ties(pairs):
    x, y = map(list, zip(*pairs, strict=True))
    if len({*x}) == 1 or len({*y}) == 1:
        assert np.isnan(rank_correlation(x, y))
    else:
        assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-9)


@given(st.lists(st.tuples(small, small), min_size=3, max_size=20))
def test_line_is_least_squares(pairs):
    x, y = map(list, zip(*pairs, strict=True))
    line = fit_line(x, y)
    assert line.mean == pytest.approx(np.mean(y))
    if len({*x}) == 1:
        assert (line.slope, line.intercept) == (0, pytest.approx(np.mean(y)))
    else:
        right = linregress(x, y)
        assert line.slope == pytest.approx(right.slope, abs=1e-9)
        assert line.intercept == pytest.approx(right.intercept, abs=1e-9)


def test_what_is_foretold_is_held_against_what_came():
    line = fit_line([0.0, 1.0, 2.0], [-1.0, 0.0, 1.0])  # y = x - 1, mean 0
    found = check_line(line, [0.0, 3.0, 4.0], [-2.0, 3.0, 2.0])  # foretells -1, 2, 3
    assert found.cells == 3
    assert found.error == pytest.approx(1.0)
    assert found.error_of_mean == pytest.approx(7 / 3)
    assert found.right_sign == 3
    assert found.rank_correlation == pytest.approx(0.5)
