"""Votes and raters in SQLite: what is acknowledged is on disk, and saying it again changes nothing.

Write-ahead logging with synchronous=FULL: a commit returns after the log was flushed to the disk,
so an acknowledged vote outlives a killed process and a power cut. One connection, one writer at a
time; reads go through it as well, which is enough for hundreds of raters.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

DATABASE = "votes.sqlite"
State = Literal["open", "paused", "finished"]

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS raters (
    rater INTEGER PRIMARY KEY, joined REAL NOT NULL, consented REAL, source TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS votes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    rater INTEGER NOT NULL REFERENCES raters, trial INTEGER NOT NULL,
    answers TEXT NOT NULL, seconds REAL NOT NULL, received REAL NOT NULL, late INTEGER NOT NULL,
    UNIQUE (rater, trial));
"""


class Vote(NamedTuple):
    """All answers of one rater about one trial, as they were given: "left", "right", ..."""

    rater: int
    trial: int
    answers: dict[str, str]
    seconds: float
    "From first seeing the pair to the last answer."


class Stored(NamedTuple):
    """A vote on disk."""

    number: int
    "In the order in which votes came."
    vote: Vote
    received: float
    "Seconds since 1970."
    late: bool
    "Came after the study had ended."


class Rater(NamedTuple):
    """Someone who opened a link."""

    rater: int
    joined: float
    consented: float | None
    source: str
    "invited, open or file."


class Store:
    """The database of a study folder."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        # check_same_thread: the lock does it. isolation_level None: transactions are explicit.
        self._db = sqlite3.connect(
            folder / DATABASE, check_same_thread=False, isolation_level=None, timeout=30
        )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA foreign_keys=ON")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        self._db.close()

    def pin(self, preregistration: str) -> None:
        """Keep the hash of the pre-registration; ValueError if another one was kept before."""
        with self._write() as db:
            db.execute("INSERT OR IGNORE INTO facts VALUES ('hash', ?)", (preregistration,))
        kept = self.fact("hash")
        if kept != preregistration:
            raise ValueError(
                f"votes were given under the pre-registration {kept}, the folder's is now "
                f"{preregistration}; put the old one back, or make a new study"
            )

    def fact(self, name: str) -> str | None:
        rows = self._read("SELECT value FROM facts WHERE name = ?", name)
        return rows[0][0] if rows else None

    @property
    def state(self) -> State:
        state: Any = self.fact("state")
        return state or "open"

    def finish(self, why: str) -> None:
        """End the study, once: later votes are kept as late."""
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES ('state', 'finished')")
            db.execute("INSERT OR IGNORE INTO facts VALUES ('why', ?)", (why,))

    def set_paused(self, paused: bool) -> bool:
        """Pause or go on; False, and nothing changes, for a study that has ended."""
        with self._write() as db:
            ended = db.execute(
                "SELECT 1 FROM facts WHERE name = 'state' AND value = 'finished'"
            ).fetchall()
            if not ended:
                state = "paused" if paused else "open"
                db.execute("INSERT OR REPLACE INTO facts VALUES ('state', ?)", (state,))
        return not ended

    def join(self, rater: int, source: str) -> None:
        """Note that a rater opened a link; again changes nothing."""
        with self._write() as db:
            db.execute(
                "INSERT OR IGNORE INTO raters VALUES (?, ?, NULL, ?)", (rater, time.time(), source)
            )

    def join_next(self, places: int, source: str) -> int | None:
        """The first free place of `places`, taken; None where all are taken."""
        with self._write() as db:
            taken = {row[0] for row in db.execute("SELECT rater FROM raters")}
            free = next((rater for rater in range(places) if rater not in taken), None)
            if free is not None:
                db.execute("INSERT INTO raters VALUES (?, ?, NULL, ?)", (free, time.time(), source))
        return free

    def consent(self, rater: int) -> None:
        """Keep when a rater agreed, the first time."""
        with self._write() as db:
            db.execute(
                "UPDATE raters SET consented = ? WHERE rater = ? AND consented IS NULL",
                (time.time(), rater),
            )

    def rater(self, rater: int) -> Rater | None:
        rows = self._read(
            "SELECT rater, joined, consented, source FROM raters WHERE rater=?", rater
        )
        return Rater(*rows[0]) if rows else None

    def raters(self) -> list[Rater]:
        rows = self._read("SELECT rater, joined, consented, source FROM raters ORDER BY rater")
        return [Rater(*row) for row in rows]

    def add(self, vote: Vote) -> Vote:
        """Keep a vote; gives the vote of this rater and trial that is on disk, the first."""
        answers = json.dumps(vote.answers, sort_keys=True)
        with self._write() as db:
            db.execute(
                "INSERT OR IGNORE INTO votes (rater, trial, answers, seconds, received, late) "
                "VALUES (?, ?, ?, ?, ?, EXISTS "
                "(SELECT 1 FROM facts WHERE name = 'state' AND value = 'finished'))",
                (vote.rater, vote.trial, answers, vote.seconds, time.time()),
            )
            kept = db.execute(
                "SELECT answers, seconds FROM votes WHERE rater = ? AND trial = ?",
                (vote.rater, vote.trial),
            ).fetchone()
        return Vote(vote.rater, vote.trial, json.loads(kept[0]), kept[1])

    def done(self, rater: int) -> list[int]:
        """Trials that a rater has answered, ascending."""
        rows = self._read("SELECT trial FROM votes WHERE rater = ? ORDER BY trial", rater)
        return [row[0] for row in rows]

    def num_votes(self) -> int:
        return self._read("SELECT count(*) FROM votes")[0][0]

    def votes(self) -> list[Stored]:
        """All votes, in the order in which they came."""
        rows = self._read(
            "SELECT number, rater, trial, answers, seconds, received, late FROM votes "
            "ORDER BY number"
        )
        return [
            Stored(number, Vote(rater, trial, json.loads(answers), seconds), received, bool(late))
            for number, rater, trial, answers, seconds, received, late in rows
        ]

    def _read(self, query: str, *values: Any) -> list[tuple]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
