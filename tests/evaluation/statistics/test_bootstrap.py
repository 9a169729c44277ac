"""Intervals cover what they say, narrow with pairing, and widen with clusters."""

import inspect
import math
from statistics import NormalDist

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videojam.evaluation.statistics.bootstrap import (
    bootstrap_mean,
    expanded_tail,
    paired_bootstrap,
)
from videojam.evaluation.statistics.proportions import share_difference_interval
from videojam.evaluation.statistics.quantiles import t_quantile
from videojam.evaluation.statistics.several import holm, sign_flip_p


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def clustered(prompts, seeds, correlation, seed=0):
    """Normal values of mean 0 and variance 1 with this correlation within a prompt, and ids."""
    shared, own = draw(prompts, 1, seed=2 * seed), draw(prompts, seeds, seed=2 * seed + 1)
    values = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own
    return values.flatten(), torch.arange(prompts).repeat_interleave(seeds)


def width(interval):
    return interval.high - interval.low


@pytest.mark.parametrize(
    ("prompts", "seeds", "correlation"), [(60, 3, 0.0), (60, 3, 0.6), (8, 1, 0.0)]
)
def test_the_interval_covers_the_truth_95_times_in_100(prompts, seeds, correlation):
    """Of eight prompts, too, where percentiles of a bootstrap do 88 times."""
    hits = 0
    for trial in range(1000):
        values, ids = clustered(prompts, seeds, correlation, trial)
        interval = bootstrap_mean(values, ids, seed=trial, resamples=10_000 // prompts)
        hits += interval.low <= 0 <= interval.high
    assert 933 <= hits <= 967  # 950, 7 either way by chance


def test_it_has_the_width_of_the_normal_interval():
    values, ids = clustered(400, 1, 0.0)
    expected = 2 * 1.96 * float(values.std()) / math.sqrt(400)
    assert width(bootstrap_mean(values, ids)) == pytest.approx(expected, rel=0.05)


def test_clusters_widen_it_as_the_design_effect_says():
    """Variance of a mean grows by 1 + (seeds - 1) correlation when the seeds of a prompt agree."""
    values, ids = clustered(200, 5, 0.8)
    naive = bootstrap_mean(values, torch.arange(len(values)))
    whole = bootstrap_mean(values, ids)
    assert whole.mean == naive.mean
    assert width(whole) / width(naive) == pytest.approx(math.sqrt(1 + 4 * 0.8), rel=0.1)


def test_pairs_narrow_it_when_prompts_are_hard_for_both():
    ability, ids = clustered(100, 4, 0.5, seed=1)
    a = ability + 0.1 * draw(400, seed=10) + 0.05
    b = ability + 0.1 * draw(400, seed=11)
    paired = paired_bootstrap(a, b, ids)
    apart = math.hypot(width(bootstrap_mean(a, ids, 1)), width(bootstrap_mean(b, ids, 2)))
    assert width(paired) < apart / 5
    assert paired.low < 0.05 < paired.high
    assert paired.low > 0  # the difference is found, unpaired it drowns
    assert apart > 0.1


def test_sign_seed_and_resamples():
    values, ids = clustered(30, 2, 0.3)
    other = values - 1
    forth, back = paired_bootstrap(values, other, ids), paired_bootstrap(other, values, ids)
    assert forth.mean == pytest.approx(1)
    assert back.mean == pytest.approx(-1)
    assert bootstrap_mean(values, ids, 3) == bootstrap_mean(values, ids, 3)
    assert bootstrap_mean(values, ids, 3) != bootstrap_mean(values, ids, 4)
    assert bootstrap_mean(values, ids, 3) != bootstrap_mean(values, ids, 3, resamples=100)


def test_ids_are_names_and_clusters_may_differ_in_size():
    values = torch.tensor([1.0, 1.0, 1.0, 5.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    ids = torch.tensor([7, 7, 7, -3, 1, 2, 3, 4, 5, 6])
    interval = bootstrap_mean(values, ids)
    assert interval.mean == 2  # of values, not of clusters
    assert (interval.num_values, interval.num_clusters) == (10, 8)
    shuffled = torch.tensor([2, 0, 3, 1, 9, 8, 7, 6, 5, 4])
    assert bootstrap_mean(values[shuffled], ids[shuffled]) == interval


@given(missing=st.sets(st.integers(0, 19), max_size=17), of=st.sampled_from("ab"))
def test_pairs_with_nan_are_dropped_and_counted(missing, of):
    a, ids = clustered(10, 2, 0.3)
    b, _ = clustered(10, 2, 0.3, seed=1)
    kept = torch.tensor([i not in missing for i in range(20)])
    if len(ids[kept].unique()) < 8:
        return
    expected = paired_bootstrap(a[kept], b[kept], ids[kept], resamples=50)
    (a if of == "a" else b)[~kept] = torch.nan
    assert paired_bootstrap(a, b, ids, resamples=50) == expected
    assert expected.num_values == 20 - len(missing)


@given(n=st.integers(0, 6), m=st.integers(0, 6))
def test_lengths_must_agree(n, m):
    # Users do not run under the type checker of the tests.
    paired, single = inspect.unwrap(paired_bootstrap), inspect.unwrap(bootstrap_mean)
    if n != m:
        with pytest.raises(ValueError, match=f"got {n} and {m}"):
            paired(torch.zeros(n), torch.zeros(m), torch.arange(n))
        with pytest.raises(ValueError, match=f"got {n} values and {m} cluster ids"):
            single(torch.zeros(n), torch.arange(m))
    elif n:
        assert math.isnan(single(torch.zeros(n), torch.arange(m)).high)


def test_no_data_is_refused_and_few_prompts_have_no_interval():
    nan = torch.full((4,), torch.nan)
    with pytest.raises(ValueError, match=r"got no values \(of 4\)"):
        paired_bootstrap(nan, torch.zeros(4), torch.arange(4))
    with pytest.raises(ValueError, match="resamples is 0"):
        bootstrap_mean(torch.zeros(9), torch.arange(9), resamples=0)
    values, ids = clustered(7, 5, 0.0)
    interval = bootstrap_mean(values, ids)
    assert interval.mean == pytest.approx(float(values.mean()))
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_the_tail_is_that_of_a_t_interval():
    assert expanded_tail(8) == pytest.approx(0.00574, abs=2e-4)  # Phi(-sqrt(8 / 7) 2.3646)
    assert expanded_tail(10_000) == pytest.approx(0.025, abs=1e-4)


@pytest.mark.parametrize(("degrees", "t"), [(7, 2.3646), (11, 2.2010), (31, 2.0395), (127, 1.9788)])
def test_student_quantiles(degrees, t):
    assert t_quantile(0.975, degrees) == pytest.approx(t, abs=5e-4)
    with pytest.raises(ValueError, match="6 degrees"):
        t_quantile(0.975, 6)


@pytest.mark.parametrize(("prompts", "seeds", "share"), [(8, 1, 0.05), (32, 1, 0.05), (32, 3, 0.3)])
def test_the_interval_of_a_share_covers_it(prompts, seeds, share):
    """A bootstrap of 32 clips with a share of 5 % covers it 81 times in 100."""
    hits = 0
    ids = torch.arange(prompts).repeat_interleave(seeds)
    for trial in range(1000):
        values = (clustered(prompts, seeds, 0.5, trial)[0] < NormalDist().inv_cdf(share)).double()
        interval = bootstrap_mean(values, ids, seed=trial)
        hits += interval.low <= share <= interval.high
    assert 930 <= hits <= 992


def test_a_share_without_an_event_is_not_sure_to_be_zero():
    none = bootstrap_mean(torch.zeros(32), torch.arange(32))
    assert none.low == 0
    assert none.high == pytest.approx(3.84 / (32 + 3.84), abs=1e-3)  # q^2 / (n + q^2)
    seeds = bootstrap_mean(torch.zeros(96), torch.arange(96) // 3)
    assert seeds.high >= none.high, "seeds of a prompt that agree are one clip"
    same = paired_bootstrap(torch.ones(20), torch.ones(20), torch.arange(20))
    assert same.low < 0 < same.high
    assert same.p == 1


def test_the_interval_of_two_shares_covers_their_difference():
    hits = 0
    ids = torch.arange(40)
    for trial in range(1000):
        shared, own = draw(40, seed=3 * trial), draw(2, 40, seed=3 * trial + 1)
        a, b = (((shared + one) / math.sqrt(2) < NormalDist().inv_cdf(p)).double()
                for one, p in zip(own, (0.2, 0.1), strict=True))  # fmt: skip
        low, high = share_difference_interval(a, b, ids)
        hits += low <= 0.1 <= high
    assert paired_bootstrap(a, b, ids)[1:3] == (low, high)
    assert 930 <= hits <= 985


def test_signs_of_prompts_are_turned_whole():
    values, ids = clustered(12, 4, 0.0)
    alike = [sign_flip_p(clustered(12, 4, 0.9, trial)[0], ids, trial) for trial in range(400)]
    assert 8 <= sum(p < 0.05 for p in alike) <= 34, "5 % of 400, though seeds agree"
    assert sign_flip_p(values + 3, ids) < 0.002
    assert sign_flip_p(torch.zeros(9), torch.arange(9)) == 1
    eight = sign_flip_p(torch.ones(8), torch.arange(8))
    assert eight == pytest.approx(2 / 256, rel=0.3), "all signs alike, one way or the other"


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_is_no_stricter_than_bonferroni(p):
    adjusted = holm(p)
    for one, other in zip(p, adjusted, strict=True):
        assert one <= other <= 1
    least = min(range(len(p)), key=lambda i: p[i])
    assert adjusted[least] == min(1, len(p) * p[least])
    ranked = [adjusted[i] for i in sorted(range(len(p)), key=lambda i: p[i])]
    assert ranked == sorted(ranked)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
