"""Intervals cover what they say, narrow with pairing, and widen with clusters."""

import inspect
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videojam.evaluation.statistics.bootstrap import bootstrap_mean, paired_bootstrap


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


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_the_interval_covers_the_truth_95_times_in_100(correlation):
    hits = 0
    for trial in range(1000):
        values, ids = clustered(60, 3, correlation, trial)
        interval = bootstrap_mean(values, ids, seed=trial, resamples=400)
        hits += interval.low <= 0 <= interval.high
    assert 925 <= hits <= 970  # 95% less the known narrowness on 60 prompts, 7 either way by chance


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
    values = torch.tensor([1.0, 1.0, 1.0, 5.0])
    ids = torch.tensor([7, 7, 7, -3])
    interval = bootstrap_mean(values, ids)
    assert interval.mean == 2  # of values, not of clusters
    assert (interval.low, interval.high) == (1, 5)  # a resample is one of both, or both
    assert (interval.num_values, interval.num_clusters) == (4, 2)
    shuffled = torch.tensor([2, 0, 3, 1])
    assert bootstrap_mean(values[shuffled], ids[shuffled]) == interval


@given(missing=st.sets(st.integers(0, 19), max_size=17), of=st.sampled_from("ab"))
def test_pairs_with_nan_are_dropped_and_counted(missing, of):
    a, ids = clustered(10, 2, 0.3)
    b, _ = clustered(10, 2, 0.3, seed=1)
    kept = torch.tensor([i not in missing for i in range(20)])
    if len(ids[kept].unique()) < 2:
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
    elif n < 2:
        with pytest.raises(ValueError, match="at least 2 clusters"):
            single(torch.zeros(n), torch.arange(m))


def test_no_data_and_one_prompt_are_refused():
    nan = torch.full((4,), torch.nan)
    with pytest.raises(ValueError, match=r"got 0 values \(of 4\) in 0 clusters"):
        paired_bootstrap(nan, torch.zeros(4), torch.arange(4))
    with pytest.raises(ValueError, match=r"got 4 values \(of 4\) in 1 clusters"):
        bootstrap_mean(torch.zeros(4), torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match="resamples is 0"):
        bootstrap_mean(torch.zeros(4), torch.arange(4), resamples=0)
