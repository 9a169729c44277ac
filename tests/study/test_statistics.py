"""What votes say: intervals, agreement, strengths, excluded raters, the stopping rule."""

import dataclasses
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from small_study import SYSTEMS, preferred_side

from videojam.study.analysis.agreement import krippendorff_alpha
from videojam.study.analysis.answers import Answer, compare, read_answers
from videojam.study.analysis.bradley_terry import bradley_terry
from videojam.study.analysis.intervals import (
    clustered_variance,
    confidence_sequence,
    preference,
    wilson,
)
from videojam.study.analysis.raters import check_raters, self_agreement
from videojam.study.plan import Exclusion, Film, Plan, Question, Stopping, Trial
from videojam.study.stopping import counted, final_interval, standing
from videojam.study.store import Stored, Vote
from videojam.study.trials import answers_allowed, check_answers, chosen, intact_side


def a_plan(prompts=20, raters=12, systems=SYSTEMS, planned=100_000, **changed) -> Plan:
    """Every rater sees every pair, four checks and four repeats; no files."""
    rng = random.Random(0)
    films = [
        Film(f"{p}{a}{b}", f"prompt {p}", 0, *rng.sample([a, b], 2), 8, 8, [0.0, 100.0])
        for p in range(prompts)
        for k, a in enumerate(systems)
        for b in systems[k + 1 :]
    ]
    pairs = len(films)
    films += [Film(f"c{k}", "check", 0, *rng.sample(["intact", "frozen"], 2), 8, 8, [0.0, 9.0])
              for k in range(5)]  # fmt: skip
    trials = []
    for _ in range(raters):
        mine = [Trial(film, rng.random() < 0.5, "pair", None) for film in range(pairs)]
        mine += [Trial(pairs + k, rng.random() < 0.5, "catch", None) for k in range(5)]
        mine += [Trial(mine[k].film, not mine[k].swapped, "repeat", k) for k in range(4)]
        trials.append(mine)
    plan = Plan(
        study="s", title="t", seed=0, systems=[*systems],
        questions=[Question(id="motion", text="?"), Question(id="text", text="?", check=False)],
        primary="motion", ties=True, both_bad=True, watch_once=True, consent="?",
        exclusion=Exclusion(), stopping=Stopping(), planned_votes=planned, films=films,
        raters=trials,
    )  # fmt: skip
    return dataclasses.replace(plan, **changed)


def vote_all(plan: Plan, answer, seconds=3.0) -> list[Stored]:
    """Votes of all raters; answer(rater, trial index, trial) gives a side for every question."""
    numbers = iter(range(1, 10**6))
    return [
        Stored(next(numbers), Vote(r, t, {q.id: answer(r, t, trial) for q in plan.questions},
                                   seconds), 0.0, False)
        for r, trials in enumerate(plan.raters)
        for t, trial in enumerate(trials)
    ]  # fmt: skip


def attentive(plan, share, seed=0):
    """Raters with a fixed taste per film: a repeat gets the same clip."""

    def answer(rater, place, trial):
        rng = random.Random(f"{seed} {rater} {trial.film}")
        return preferred_side(plan, trial, SYSTEMS[1], share, rng)

    return answer


# Choices ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "swapped, answer, choice",
    [(False, "left", "first"), (False, "right", "second"), (True, "left", "second"),
     (True, "right", "first"), (True, "tie", "tie"), (False, "bad", "bad")],
)  # fmt: skip
def test_sides_are_turned_back(swapped, answer, choice):
    assert chosen(Trial(0, swapped, "pair", None), answer) == choice


def test_scores_are_those_of_the_first_named_system():
    plan = a_plan(prompts=1, raters=1)
    trial = plan.raters[0][0]
    film = plan.films[0]
    left = film.second if trial.swapped else film.first
    votes = [Stored(1, Vote(0, 0, {"motion": "left", "text": "tie"}, 1.0), 0.0, False)]
    answers = read_answers(plan, votes)
    for a, b in (SYSTEMS, SYSTEMS[::-1]):
        (one,) = compare(plan, answers, "motion", a, b)
        assert one.score == (left == a)
        (tie,) = compare(plan, answers, "text", a, b)
        assert tie.score == 0.5


def test_the_intact_side_and_what_may_be_answered():
    plan = a_plan()
    for trial in plan.raters[0]:
        side = intact_side(plan, trial)
        assert (side is None) == (trial.kind in ("pair", "repeat"))
        if side:
            film = plan.films[trial.film]
            names = [film.second, film.first] if trial.swapped else [film.first, film.second]
            assert names[side == "right"] == "intact"
    assert answers_allowed(plan) == ("left", "right", "tie", "bad")
    assert answers_allowed(dataclasses.replace(plan, ties=False)) == ("left", "right", "bad")
    check_answers(plan, {"motion": "tie", "text": "bad"})
    with pytest.raises(ValueError, match="expected to motion, text"):
        check_answers(plan, {"motion": "tie"})


# Intervals ----------------------------------------------------------------------------------


def test_wilson_is_the_textbook_one():
    low, high = wilson(0.3, 50.0, 1.959964)
    theirs = binomtest(15, 50).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_variance_of_clusters_by_hand():
    residuals = np.array([1.0, 1.0, -1.0, -1.0])
    # One prompt each way: sums +-2, G / (G - 1) = 2, n = 4; raters cancel, votes give 4 / 16.
    assert clustered_variance(residuals, list("aabb"), [0, 1, 0, 1]) == pytest.approx(8 / 16 * 2)
    # All alone: G / (G - 1) = 4 / 3 both ways, less once.
    alone = clustered_variance(residuals, list("abcd"), [0, 1, 2, 3])
    assert alone == pytest.approx((2 * 4 / 3 - 1) / 4)


def test_votes_in_clusters_are_worth_fewer():
    rng = np.random.default_rng(0)
    prompts, raters = np.repeat(np.arange(40), 10), np.tile(np.arange(10), 40)
    alone = (rng.random(400) < 0.5).astype(float)
    together = np.repeat((rng.random(40) < 0.5).astype(float), 10)
    worth = [
        preference(scores.tolist(), prompts.tolist(), raters.tolist(), 0.95).effective_votes
        for scores in (alone, together)
    ]
    assert worth[0] > 200
    assert 20 < worth[1] < 60  # forty prompts


def test_unanimous_votes_are_no_certainty():
    found = preference(
        [1.0] * 40, [f"p{k % 8}" for k in range(40)], [k % 5 for k in range(40)], 0.95
    )
    assert found.high == 1
    # Five raters are five votes: Wilson's 1 / (1 + t^2 / 5), Student's t for 4 degrees of freedom.
    assert found.low == pytest.approx(1 / (1 + 2.7764**2 / 5), abs=1e-4)
    assert preference([1.0, 0.0], ["a", "b"], [1, 1], 0.95) is None
    assert preference([], [], [], 0.95) is None


def studies(count, share, rng, of_prompts=1.0, of_raters=0.5):
    """(scores, prompts, raters) of small studies whose votes are alike within both."""
    prompts, raters = np.repeat(np.arange(40), 12), np.tile(np.arange(12), 40)
    for _ in range(count):
        odds = (
            math.log(share / (1 - share))
            + rng.normal(0, of_prompts, 40)[prompts]
            + rng.normal(0, of_raters, 12)[raters]
        )
        scores = (rng.random(480) < 1 / (1 + np.exp(-odds))).astype(float)
        yield scores, prompts, raters


def test_intervals_cover_an_even_share_as_often_as_they_say():
    rng = np.random.default_rng(1)
    found = [preference(*study, 0.95) for study in studies(300, 0.5, rng)]
    misses = sum(each.excludes() for each in found)
    assert misses <= 0.05 * 300 + 3 * math.sqrt(300 * 0.05 * 0.95)
    # Taking votes for independent would miss far more often.
    naive = sum(not (a <= 0.5 <= b) for a, b in (wilson(f.share, 480.0, 1.96) for f in found))
    assert naive > 0.12 * 300


def test_a_confidence_sequence_misses_rarely_although_one_always_looks():
    rng, false, peeks = np.random.default_rng(2), 0, 0
    for scores, prompts, raters in studies(80, 0.5, rng):
        order = rng.permutation(480)
        looks = [order[:count] for count in range(80, 481, 40)]
        parts = [(scores[at], prompts[at], raters[at]) for at in looks]
        false += any(confidence_sequence(*part, 0.95, 480).excludes() for part in parts)
        peeks += any(preference(*part, 0.95).excludes() for part in parts)
    assert false <= 4 + 3 * math.sqrt(4)
    assert peeks > false


@given(st.integers(3, 200), st.floats(0.0, 1.0), st.integers(2, 9))
def test_a_sequence_is_wider_than_an_interval_and_both_hold_the_share(votes, share, clusters):
    rng = np.random.default_rng(votes)
    scores = (rng.random(votes) < share).astype(float).tolist()
    ids = [k % clusters for k in range(votes)]
    fixed = preference(scores, [str(k) for k in ids], ids, 0.95)
    always = confidence_sequence(scores, [str(k) for k in ids], ids, 0.95, votes)
    assert 0 <= always.low <= fixed.low <= fixed.share + 1e-9
    assert fixed.share - 1e-9 <= fixed.high <= always.high <= 1


# Raters -------------------------------------------------------------------------------------


def test_the_rule_finds_the_planted_and_nobody_else():
    plan = a_plan()
    good = attentive(plan, 0.7)
    clicker = random.Random(5)

    def answer(rater, place, trial):
        if rater == 0:
            return "left"
        if rater == 1:
            side = good(rater, place, trial)
            return {"left": "right", "right": "left"}[side] if trial.kind == "catch" else side
        if rater == 2:
            side = good(rater, place, trial)
            return {"left": "right", "right": "left"}[side] if trial.kind == "repeat" else side
        if rater == 3:
            return clicker.choice(["left", "right"])
        return good(rater, place, trial)

    votes = vote_all(plan, answer)
    votes += [s._replace(vote=s.vote._replace(seconds=0.4)) for s in votes if s.vote.rater == 4]
    votes = [s for s in votes if s.vote.rater != 4 or s.vote.seconds < 1]
    votes = [s for s in votes if s.vote.rater != 5 or s.vote.trial < 4]  # left early
    checks = {each.rater: each for each in check_raters(plan, read_answers(plan, votes))}
    why = {rater: "; ".join(each.reasons) for rater, each in checks.items() if each.reasons}
    assert {*why} == {0, 1, 2, 3, 4, 5}
    assert "took one side in 48 of 48 answers" in why[0]
    assert why[1] == "passed 0 of 5 catch trials"
    assert why[2] == "answered 0 of 4 repeats alike"
    assert why[4] == "took 0.40 s in the median"
    assert why[5] == "saw 0 catch trials, fewer than 3"
    kept = counted(plan, read_answers(plan, votes))
    assert {each.rater for each in kept} == {*range(6, 12)}
    assert self_agreement([checks[rater] for rater in range(6, 12)]) == (24, 24)


def test_a_catch_trial_is_passed_with_all_its_questions_and_practice_is_none():
    checking = ["motion", "text"]
    plan = a_plan(raters=1, questions=[Question(id=name, text="?") for name in checking])
    catch = next(trial for trial in plan.raters[0] if trial.kind == "catch")
    practice = Trial(catch.film, False, "practice", None)
    plan = dataclasses.replace(plan, raters=[[practice, *plan.raters[0]]])
    wrong = {"left": "right", "right": "left"}
    good, caught = attentive(plan, 0.7), []
    votes = []
    for stored in vote_all(plan, good):
        trial = plan.raters[0][stored.vote.trial]
        answers = dict(stored.vote.answers)
        if trial.kind == "catch" and not caught:
            caught.append(stored.vote.trial)
            answers[checking[0]] = wrong[answers[checking[0]]]
        seconds = 60.0 if trial.kind == "practice" else 3.0
        votes.append(stored._replace(vote=stored.vote._replace(answers=answers, seconds=seconds)))
    (found,) = check_raters(plan, read_answers(plan, votes))
    kinds = [trial.kind for trial in plan.raters[0]]
    assert found.catch_seen == kinds.count("catch")
    assert found.catch_passed == found.catch_seen - 1
    assert found.trials == len(kinds) - kinds.count("practice")


@pytest.mark.parametrize("name, value", [
    ("min_catch_passed", 0.0), ("min_catch_seen", 6), ("min_repeat_agreement", 0.0),
    ("max_same_side", 0.8), ("min_median_seconds", 5.0)])  # fmt: skip
def test_every_limit_acts(name, value):
    plan = a_plan(raters=2)
    wrong = {"left": "right", "right": "left"}
    good = attentive(plan, 0.7)

    def answer(rater, place, trial):
        if name == "max_same_side":
            return intact_side(plan, trial) or ("right" if trial.kind == "repeat" else "left")
        side = good(rater, place, trial)
        failing = {"min_catch_passed": "catch", "min_repeat_agreement": "repeat"}.get(name)
        return wrong[side] if trial.kind == failing else side

    votes = vote_all(plan, answer)
    other = dataclasses.replace(
        plan, exclusion=dataclasses.replace(plan.exclusion, **{name: value})
    )
    reasons = [
        [bool(each.reasons) for each in check_raters(each, read_answers(each, votes))]
        for each in (plan, other)
    ]
    assert reasons[0] != reasons[1]


# Agreement and strengths --------------------------------------------------------------------


def answer_of(rater, film, choice):
    return Answer(1, rater, 0, film, "p", "pair", "motion", "left", choice, 1.0, False)


def test_krippendorff_of_a_worked_example():
    # Two coders, nominal: 10 units of Krippendorff (2011), "Computing alpha", section A.
    one = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    two = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    names = ("first", "second")
    answers = [
        answer_of(r, f, names[v]) for r, row in ((0, one), (1, two)) for f, v in enumerate(row)
    ]
    assert krippendorff_alpha(answers, "motion") == pytest.approx(0.095, abs=5e-4)


def test_agreement_where_there_is_none_to_measure():
    same = [answer_of(rater, film, "first") for rater in range(3) for film in range(4)]
    assert krippendorff_alpha(same, "motion") is None
    assert krippendorff_alpha(same[:1], "motion") is None
    assert krippendorff_alpha([], "motion") is None
    halves = [answer_of(r, f, ("first", "second")[f % 2]) for r in range(3) for f in range(4)]
    assert krippendorff_alpha(halves, "motion") == 1


def test_bradley_terry_finds_planted_strengths():
    systems, strengths = ("a", "b", "c"), {"a": -0.5, "b": 0.0, "c": 0.5}
    plan = a_plan(prompts=40, raters=25, systems=systems)
    rng = random.Random(3)

    def answer(rater, place, trial):
        if side := intact_side(plan, trial):
            return side
        film = plan.films[trial.film]
        odds = strengths[film.first] - strengths[film.second]
        first = rng.random() < 1 / (1 + math.exp(-odds))
        return "left" if first != trial.swapped else "right"

    found = bradley_terry(plan, read_answers(plan, vote_all(plan, answer)), "motion")
    assert [row.system for row in found] == ["c", "b", "a"]
    for row in found:
        assert row.low < strengths[row.system] < row.high
        assert row.high - row.low < 0.6
        assert row.strength == pytest.approx(strengths[row.system], abs=0.15)
    assert sum(row.strength for row in found) == pytest.approx(0, abs=1e-6)


def test_bradley_terry_is_finite_for_a_system_that_always_wins():
    plan = a_plan(prompts=4, raters=3, systems=("a", "b", "c"))

    def answer(rater, place, trial):
        film = plan.films[trial.film]
        first = film.first == "a" or (film.second != "a" and place % 2 == 0)
        return "left" if first != trial.swapped else "right"

    found = bradley_terry(plan, read_answers(plan, vote_all(plan, answer)), "motion")
    assert found[0].system == "a"
    assert math.isfinite(found[0].high)
    assert bradley_terry(plan, [], "motion") == []


# Stopping -----------------------------------------------------------------------------------


def test_a_clear_preference_stops_early_and_none_does_not():
    plan = a_plan(planned=240)
    clear = standing(plan, read_answers(plan, vote_all(plan, attentive(plan, 0.95))))
    assert clear.end == "early"
    assert clear.interval.share < 0.5  # of the first system; the second is preferred
    even = a_plan(planned=10_000)
    assert standing(even, read_answers(even, vote_all(even, attentive(even, 0.5)))).end is None
    reached = a_plan(planned=240)
    votes = vote_all(reached, attentive(reached, 0.5))
    now = standing(reached, read_answers(reached, votes))
    assert (now.end, now.votes) == ("planned", 240)
    assert standing(reached, read_answers(reached, votes[:200])).end is None


@pytest.mark.parametrize(
    ("stopping", "end"),
    [(Stopping(), "early"), (Stopping(enabled=False), None), (Stopping(min_raters=13), None)],
)
def test_the_rule_waits_or_is_off(stopping, end):
    plan = a_plan(planned=300, stopping=stopping)  # 240 are there
    assert standing(plan, read_answers(plan, vote_all(plan, attentive(plan, 0.95)))).end == end


def test_late_votes_do_not_count():
    plan = a_plan(planned=240)
    votes = [stored._replace(late=True) for stored in vote_all(plan, attentive(plan, 0.95))]
    assert standing(plan, read_answers(plan, votes)) == (0, None, None)


def test_the_error_rate_is_shared():
    assert Stopping().final_level == pytest.approx(0.96)
    assert Stopping(enabled=False).final_level == pytest.approx(0.95)
    plan = a_plan()
    answers = read_answers(plan, vote_all(plan, attentive(plan, 0.6)))
    assert final_interval(plan, answers, "motion", *SYSTEMS).level == pytest.approx(0.96)
    for wrong in ({"alpha_early": 0.06}, {"alpha_early": 0.0}, {"alpha": 0.7}, {"min_raters": 1}):
        with pytest.raises(ValueError, match="expected"):
            Stopping(**wrong)
