"""Votes on disk: before they are acknowledged, once each, whatever is killed."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from videojam.study.store import Store, Vote


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    for rater in range(20):
        store.join(rater, "invited")
    yield store
    store.close()


def test_the_first_answer_stays(store):
    first = Vote(1, 2, {"motion": "left"}, 3.0)
    assert store.add(first) == first
    assert store.add(Vote(1, 2, {"motion": "right"}, 1.0)) == first
    assert [stored.vote for stored in store.votes()] == [first]
    assert store.done(1) == [2]
    assert store.done(2) == []


def test_settings_that_make_a_commit_last(store, tmp_path):
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_vote_can_be_read_by_another_process_when_add_returns(store, tmp_path):
    store.add(Vote(1, 0, {"motion": "left"}, 1.0))
    with sqlite3.connect(tmp_path / "votes.sqlite") as other:
        assert other.execute("SELECT count(*) FROM votes").fetchone() == (1,)


def test_many_threads_lose_and_double_nothing(store):
    votes = [Vote(r, t, {"motion": "left"}, 1.0) for r in range(20) for t in range(15)] * 2
    random.Random(0).shuffle(votes)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(store.add, votes)) == votes
    kept = store.votes()
    assert len(kept) == store.num_votes() == 300
    assert len({(each.vote.rater, each.vote.trial) for each in kept}) == 300


def test_a_vote_of_nobody_is_refused(store):
    with pytest.raises(sqlite3.IntegrityError):
        store.add(Vote(99, 0, {"motion": "left"}, 1.0))
    store.add(Vote(1, 0, {"motion": "left"}, 1.0))  # and the store goes on
    assert store.num_votes() == 1


def test_open_links_fill_places_once_each(store):
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda _: store.join_next(30, "open"), range(14)))
    assert sorted(p for p in places if p is not None) == list(range(20, 30))
    assert places.count(None) == 4


def test_states(store):
    assert store.state == "open"
    assert store.set_paused(True)
    assert store.state == "paused"
    store.add(Vote(1, 0, {"motion": "left"}, 1.0))
    store.finish("early")
    store.finish("planned")
    assert (store.state, store.fact("why")) == ("finished", "early")
    assert not store.set_paused(False)
    store.add(Vote(1, 1, {"motion": "left"}, 1.0))
    assert [stored.late for stored in store.votes()] == [False, True]


def test_consent_is_kept_the_first_time(store):
    assert store.rater(3).consented is None
    store.consent(3)
    at = store.rater(3).consented
    store.consent(3)
    store.join(3, "open")
    assert store.rater(3).consented == at
    assert store.rater(3).source == "invited"
    assert store.rater(77) is None


def test_another_preregistration_is_refused(store):
    store.pin("a")
    store.pin("a")
    with pytest.raises(ValueError, match="votes were given under the pre-registration a"):
        store.pin("b")


_WRITER = """
import sys
from pathlib import Path
from videojam.study.store import Store, Vote
store = Store(Path(sys.argv[1]))
store.join(1, "invited")
for trial in range(int(sys.argv[2]), 100000):
    store.add(Vote(1, trial, {"motion": "left"}, 1.0))
    print(trial, flush=True)
"""


def test_what_was_acknowledged_outlives_a_kill(tmp_path):
    rng, last = random.Random(1), -1
    for _ in range(3):
        command = [sys.executable, "-c", _WRITER, str(tmp_path), str(last + 1)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(rng.randint(5, 40)):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        said = [int(line) for line in writer.stdout.read().splitlines()]
        writer.wait()
        last = max([last, *said])
        store = Store(tmp_path)
        done = store.done(1)
        store.close()
        assert done[: last + 1] == list(range(last + 1))
        assert len(done) <= last + 2  # at most the one that was not acknowledged
        last = done[-1]
