"""Who sees what: balance, coverage, order."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videojam.study.assign import Shares, assign, shares


@st.composite
def designs(draw):
    pairs = draw(st.integers(1, 30))
    per_rater = draw(st.integers(1, pairs))
    repeats = draw(st.integers(0, per_rater))
    checks = draw(st.integers(1, 6))
    share = Shares(per_rater, draw(st.integers(0, 8)), repeats, draw(st.integers(0, 3)))
    return pairs, checks, share, draw(st.integers(1, 12)), draw(st.integers(0, 99))


def assigned(design):
    pairs, checks, share, raters, seed = design
    films = range(pairs + checks + 2)
    return assign(films[:pairs], films[pairs:-2], films[-2:], raters, share, seed)


@given(designs())
def test_every_rater_gets_the_shares_and_each_film_once(design):
    pairs, checks, share, raters, _ = design
    plan = assigned(design)
    assert len(plan) == raters
    for trials in plan:
        kinds = Counter(trial.kind for trial in trials)
        assert [kinds[k] for k in ("pair", "catch", "repeat", "practice")] == [*share]
        assert [trial.kind for trial in trials[: share.practice]] == ["practice"] * share.practice
        shown = [trial.film for trial in trials if trial.kind == "pair"]
        assert len({*shown}) == len(shown)
        assert max(shown) < pairs
        caught = [trial.film for trial in trials if trial.kind == "catch"]
        assert all(pairs <= film < pairs + checks for film in caught)
        assert len({*caught}) == min(checks, share.catches)


@given(designs())
def test_films_and_sides_are_balanced(design):
    pairs, _, share, _, _ = design
    seen, swapped = Counter(), Counter()
    for trials in assigned(design):
        real = [trial for trial in trials if trial.kind == "pair"]
        assert abs(2 * sum(trial.swapped for trial in real) - share.pairs) <= 1
        checks = [trial.swapped for trial in trials if trial.kind == "catch"]
        assert abs(2 * sum(checks) - len(checks)) <= 1 + share.practice
        for trial in real:
            seen[trial.film] += 1
            swapped[trial.film] += trial.swapped
        counts = [seen[film] for film in range(pairs)]
        assert max(counts) - min(counts) <= 1  # at every moment, not at the end alone
    assert all(abs(2 * swapped[film] - seen[film]) <= 3 for film in seen)


@given(designs())
def test_repeats_swap_sides_of_an_earlier_pair(design):
    for trials in assigned(design):
        repeated = [trial.repeats for trial in trials if trial.kind == "repeat"]
        assert len({*repeated}) == len(repeated)
        for place, trial in enumerate(trials):
            if trial.kind == "repeat":
                original = trials[trial.repeats]
                assert trial.repeats < place
                assert (original.kind, original.film) == ("pair", trial.film)
                assert original.swapped != trial.swapped
            else:
                assert trial.repeats is None


def test_a_seed_decides():
    design = (20, 4, Shares(12, 3, 2, 1), 5, 7)
    assert assigned(design) == assigned(design)
    assert assigned(design) != assigned((*design[:4], 8))


def test_catch_trials_are_spread_over_the_whole_way():
    plan = assigned((60, 8, Shares(44, 8, 0, 0), 30, 0))
    for trials in plan:
        places = [place for place, trial in enumerate(trials) if trial.kind == "catch"]
        assert all(k * 52 // 8 - 1 <= place <= (k + 1) * 52 // 8 for k, place in enumerate(places))


def test_with_many_pairs_sides_of_every_film_differ_by_one_at_most():
    films = Counter()
    for trials in assigned((128, 8, Shares(44, 8, 6, 2), 30, 3)):
        films.update({t.film: 1 if t.swapped else -1 for t in trials if t.kind == "pair"})
    assert max(map(abs, films.values())) <= 2


def test_shares_divide_the_trials():
    assert shares(60, 500, 8, 6, 2) == (44, 8, 6, 2)
    assert shares(60, 20, 8, 6, 2) == (20, 8, 6, 2)


@pytest.mark.parametrize("numbers", [(16, 9, 8, 6, 2), (20, 9, 8, 6, 2), (9, 9, -1, 0, 0)])
def test_shares_that_do_not_fit_are_refused(numbers):
    with pytest.raises(ValueError, match="trials a rater"):
        shares(*numbers)
