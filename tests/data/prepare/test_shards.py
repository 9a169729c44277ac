"""Machines that share only the output: the same rows, in the same order, whatever is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from data_synthetic import captioned, moving_square, run, table, tiny_config

from videojam.data import dataset
from videojam.data.prepare.parts import parse_shard, part
from videojam.data.prepare.prepare import join_shards, samples_path
from videojam.data.source.manifest import Entry

CHILD = Path(__file__).parents[2] / "helpers" / "data_synthetic.py"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for k in range(5):
        captioned(tmp_path / "videos" / f"{k}.mp4", moving_square(70, seed=k), f"square {k}")
    return tmp_path / "videos"


def test_shards_together_are_the_whole_in_order() -> None:
    entries = [Entry(f"{k}.mp4", "x") for k in range(11)]
    for total in range(1, 14):
        parts = [part(entries, parse_shard(f"{k}/{total}")) for k in range(1, total + 1)]
        assert [entry for one in parts for entry in one] == entries
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for text in ("0/2", "3/2", "1", "a/b", "1/0", "-1/2"):
        with pytest.raises(ValueError, match="expected i/n"):
            parse_shard(text)


@pytest.mark.parametrize("order", [("1/2", "2/2"), ("3/3", "1/3", "2/3")])
def test_joined_shards_are_the_rows_of_one_machine(tmp_path: Path, videos: Path, order) -> None:
    run(tiny_config(videos, tmp_path / "one", holdout=("3.mp4",)))
    output = tmp_path / "shards"
    for shard in order:
        report = run(tiny_config(videos, output, holdout=("3.mp4",), shard=shard))
        assert report.prepared == report.clips > 0
    again = run(tiny_config(videos, output, holdout=("3.mp4",), shard=order[0]))
    assert again.prepared == 0 and again.already_there == again.clips
    assert not dataset.exists(samples_path(output))
    assert join_shards(tiny_config(videos, output, join=True)) == len(table(tmp_path / "one"))
    assert table(output) == table(tmp_path / "one")
    # From here on it is a dataset like any other.
    again = run(tiny_config(videos, output, holdout=("3.mp4",)))
    assert again.prepared == 0 and again.already_there == again.clips


def test_what_is_missing_is_named(tmp_path: Path, videos: Path) -> None:
    config = tiny_config(videos, tmp_path / "out", join=True)
    with pytest.raises(ValueError, match="no shards at"):
        join_shards(config)
    run(tiny_config(videos, tmp_path / "out", shard="2/3"))
    with pytest.raises(ValueError, match=r"shards 1/3, 3/3 are not finished"):
        join_shards(config)
    with pytest.raises(ValueError, match="name the held-out videos with --holdout"):
        tiny_config(videos, tmp_path / "out", shard="1/2", holdout_videos=1)


@pytest.mark.parametrize("notes_deleted", [0, 1, 5, 1000])
def test_a_join_that_was_stopped_adds_nothing_twice(
    tmp_path: Path, videos: Path, monkeypatch, notes_deleted: int
) -> None:
    run(tiny_config(videos, tmp_path / "one"))
    config = tiny_config(videos, tmp_path / "out", join=True)
    for shard in ("1/2", "2/2"):
        run(tiny_config(videos, config.out, shard=shard))
    every = len([*config.out.glob("shards/*-of-2/*.json")])
    allowed = iter(range(min(notes_deleted, every - 1)))  # the last note is never deleted
    unlink = Path.unlink

    def stopped(path: Path) -> None:
        if next(allowed, None) is None:
            raise KeyboardInterrupt
        unlink(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stopped)
        with pytest.raises(KeyboardInterrupt):
            join_shards(config)
    dataset.compact(samples_path(config.out))  # the files that the notes name are merged
    if notes_deleted == 1000:  # only that the second shard is finished is still said
        with pytest.raises(ValueError, match="shards 1/2 are not finished"):
            join_shards(config)
        assert run(tiny_config(videos, config.out, shard="1/2")).prepared == 0
    join_shards(config)
    assert table(config.out) == table(tmp_path / "one")
    assert not [*config.out.glob("shards/*/*")]


def test_shards_that_wait_are_not_prepared_a_second_time(tmp_path: Path, videos: Path) -> None:
    run(tiny_config(videos, tmp_path / "out", shard="2/2"))
    with pytest.raises(
        ValueError, match=r"wait to be joined \(2-of-2\); finish them and run --join"
    ):
        run(tiny_config(videos, tmp_path / "out"))
    run(tiny_config(videos, tmp_path / "out", dry_run=True))
    run(tiny_config(videos, tmp_path / "out", shard="1/2"))
    join_shards(tiny_config(videos, tmp_path / "out", join=True))
    assert run(tiny_config(videos, tmp_path / "out")).prepared == 0


def test_a_killed_shard_resumes_to_the_same_rows(tmp_path: Path, videos: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    run(tiny_config(videos, tmp_path / "one"))
    output = tmp_path / "out"
    command = [sys.executable, str(CHILD), str(videos), str(output), "0", "0.03", "1/2"]
    for _ in range(2):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.05, 0.8))
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        notes = output / "shards" / "1-of-2"
        if notes.exists():  # what a kill inside a write leaves
            (notes / "00000099.json.part").write_text('{"rows": [{"ke')
    for shard in ("1/2", "2/2"):
        subprocess.run([*command[:-2], "0", shard], check=True, capture_output=True)
    join_shards(tiny_config(videos, output, join=True))
    assert table(output) == table(tmp_path / "one")
