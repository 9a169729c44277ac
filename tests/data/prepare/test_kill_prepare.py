"""kill -9 at random moments loses nothing that was committed and changes no row."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from data_synthetic import captioned, moving_square, run, table, tiny_config

from videojam.data import dataset, lance_table
from videojam.data.prepare import writer
from videojam.data.prepare.prepare import samples_path

CHILD = Path(__file__).parents[2] / "helpers" / "data_synthetic.py"


def start(videos: Path, output: Path, pause_s: float) -> subprocess.Popen:
    """A preparation in its own process group, past its imports."""
    command = [sys.executable, str(CHILD), str(videos), str(output), "0", str(pause_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for k in range(4):
        captioned(tmp_path / "videos" / f"{k}.mp4", moving_square(95, seed=k), f"square {k}")
    return tmp_path / "videos"


def test_killed_and_resumed_equals_undisturbed(tmp_path: Path, videos: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    run(tiny_config(videos, tmp_path / "undisturbed", commit_samples=2))
    expected = table(tmp_path / "undisturbed")
    assert len(expected) == 12
    output = tmp_path / "killed"
    for _ in range(3):
        process = start(videos, output, pause_s=0.03)
        time.sleep(rng.uniform(0.05, 0.8))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        rows = table(output) if dataset.exists(samples_path(output)) else []
        assert rows == expected[: len(rows)]
    assert start(videos, output, pause_s=0).wait() == 0
    assert table(output) == expected
    null_text = [folder / "null_text.safetensors" for folder in (output, tmp_path / "undisturbed")]
    assert null_text[0].read_bytes() == null_text[1].read_bytes()


def test_files_of_killed_commits_do_no_harm(tmp_path: Path, videos: Path) -> None:
    """What a killed commit leaves: a data file and half a temporary manifest nobody names."""
    config = tiny_config(videos, tmp_path / "out", commit_samples=2)
    leavings = samples_path(config.out) / "data" / "orphan.lance"
    leavings.parent.mkdir(parents=True)
    leavings.write_bytes(np.random.default_rng(0).bytes(1000))
    os.utime(leavings, (time.time() - 8 * 86400,) * 2)
    young = leavings.with_name("young.lance")  # may be another writer's, which is about to commit
    young.write_bytes(b"x")
    (config.out / "scans.jsonl").write_text('[12, 34, ["0.mp4", 5')
    report = run(config)
    assert report.prepared == 12 and not leavings.exists() and young.exists()
    assert len(dataset.open_dataset(samples_path(config.out)).get_fragments()) == 1


def test_compaction_between_commits_keeps_every_row(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny_config(videos, tmp_path / "once"))
    monkeypatch.setattr(writer, "_COMMITS_BETWEEN_COMPACTIONS", 2)
    monkeypatch.setattr(writer, "_WAITING_AT_MOST", 1)
    monkeypatch.setattr(lance_table, "_ROWS_PER_FRAGMENT", 3)
    run(tiny_config(videos, tmp_path / "often", commit_samples=1))
    assert table(tmp_path / "often") == table(tmp_path / "once")
    assert len(dataset.open_dataset(samples_path(tmp_path / "often")).get_fragments()) == 3


def test_samples_wait_for_a_compaction_and_are_committed_in_order(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lance would put what is committed during a merge before the merged rows."""
    run(tiny_config(videos, tmp_path / "once"))
    compact, append, wait = dataset.compact, dataset.append, writer.Direct._wait
    compacting, waited_for, sizes = threading.Event(), threading.Event(), []

    def slow(path: Path, *, clean: bool) -> None:
        """Beside the encoder, until somebody waits for it: a commit at the bound, or the end."""
        if not clean:
            compacting.set()
            assert waited_for.wait(60)
        compact(path, clean=clean)
        compacting.clear()
        waited_for.clear()

    def waiting(output: writer.Direct) -> None:
        if output.compaction is not None and not output.compaction.done():
            waited_for.set()
        wait(output)

    def alone(path: Path, samples: list[dataset.Sample]) -> None:
        assert not compacting.is_set()
        sizes.append(len(samples))
        append(path, samples)

    monkeypatch.setattr(writer, "_COMMITS_BETWEEN_COMPACTIONS", 2)
    monkeypatch.setattr(writer, "_WAITING_AT_MOST", 3)
    monkeypatch.setattr(dataset, "compact", slow)
    monkeypatch.setattr(writer.Direct, "_wait", waiting)
    monkeypatch.setattr(dataset, "append", alone)
    run(tiny_config(videos, tmp_path / "slow", commit_samples=1))
    assert table(tmp_path / "slow") == table(tmp_path / "once")
    assert max(sizes) == 3  # what was encoded meanwhile waited, up to the bound


def test_ctrl_c_inside_a_commit_writes_no_row_twice(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(videos, tmp_path / "out", commit_samples=2)
    append = dataset.append

    def interrupted(path: Path, samples: list[dataset.Sample]) -> None:
        append(path, samples)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    assert run(config).already_there == 1
    run(tiny_config(videos, tmp_path / "undisturbed", commit_samples=2))
    assert table(config.out) == table(tmp_path / "undisturbed")
