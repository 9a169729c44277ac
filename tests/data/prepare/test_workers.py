"""Worker processes: order, bounded work ahead, errors, deaths and Ctrl-C."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import cv2
import pytest
import torch
from data_synthetic import captioned, moving_square, run, shift_flow, table, tiny_config

from videojam.data.prepare.workers import WorkerDied, ordered_map

HELPERS = Path(__file__).parents[2] / "helpers"


def work(task: int) -> int:
    if task == -1:
        raise ValueError("not a number to square")
    if task == -2:
        os.kill(os.getpid(), signal.SIGKILL)
    if task == -3:
        os._exit(7)
    if task == -4:
        time.sleep(60)
    if task == -5:
        return 10 * cv2.getNumThreads() + torch.get_num_threads()
    time.sleep(0.02 * (task % 3))
    return task * task


def test_results_come_in_order_and_deaths_keep_their_place() -> None:
    results = list(ordered_map(work, [0, 1, -2, 3, -3, 5, -5], 2))
    assert [results[k] for k in (0, 1, 3, 5)] == [0, 1, 9, 25]
    assert results[2] == WorkerDied("its worker process died (SIGKILL, out of memory?)")
    assert results[4] == WorkerDied("its worker process died (exit code 7)")
    assert results[6] == 11  # one thread each


def test_a_task_that_takes_too_long_is_given_up() -> None:
    given_up = WorkerDied("took longer than 0.5 s and was given up")
    assert list(ordered_map(work, [-4], 1, timeout_s=0.5)) == [given_up]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_in_a_worker_is_raised_here(num_workers: int) -> None:
    results = ordered_map(work, [2, -1, 3], num_workers)
    assert next(results) == 4
    with pytest.raises(ValueError, match="not a number") as error:
        next(results)
    if num_workers:
        assert "for -1" in "".join(error.value.__notes__)
        assert not multiprocessing.active_children()


def test_work_ahead_is_bounded_and_closing_ends_the_processes() -> None:
    taken = []

    def tasks():
        for k in range(100):
            taken.append(k)
            yield k

    results = ordered_map(work, tasks(), 1, ahead=2)
    assert next(results) == 0
    assert len(taken) == 3
    assert next(results) == 1
    assert len(taken) == 4
    assert multiprocessing.active_children()
    results.close()
    assert not multiprocessing.active_children()


def deadly_flow(clip: torch.Tensor) -> torch.Tensor:
    """Dies as if the kernel had killed it, on the clip that begins bright."""
    if clip[0].float().mean() > 160:
        os.kill(os.getpid(), signal.SIGKILL)
    return shift_flow(clip)


def test_a_video_that_kills_its_worker_is_reported_and_the_run_goes_on(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for name in ("a", "b", "c"):
        frames = moving_square(40)
        captioned(videos / f"{name}.mp4", 255 - frames // 4 if name == "b" else frames, name)
    report = run(tiny_config(videos, tmp_path / "out", num_workers=1), deadly_flow)
    assert [(item.name, item.reason) for item in report.dropped] == [
        ("b.mp4#0000", "its worker process died (SIGKILL, out of memory?)")
    ]
    assert [row["key"] for row in table(tmp_path / "out")] == ["a.mp4#0000", "c.mp4#0000"]


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    import subprocess

    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, time, os\n"
        f"sys.path[:0] = {[str(Path(__file__).parent), str(HELPERS)]!r}\n"
        "from test_workers import work\n"
        "from videojam.data.prepare.workers import ordered_map\n"
        "import multiprocessing\n"
        "if __name__ == '__main__':\n"
        "    results = ordered_map(work, [1, 1, 1, 1], 1)\n"
        "    next(results)\n"
        "    print(multiprocessing.active_children()[0].pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        state = Path(f"/proc/{worker}/stat")
        if not state.exists() or " Z " in state.read_text():
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    raise AssertionError("the worker process lives on")
