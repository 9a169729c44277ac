"""The same rows from a Ray cluster, whatever dies in it."""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from data_synthetic import (
    captioned,
    encode_text,
    encode_video,
    encoders,
    moving_square,
    run,
    shift_flow,
    table,
    tiny_config,
)

from videojam.data.prepare.encode import Encoders

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'videojam[ray]'")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with a CPU each, on this machine."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        patch.setenv("RAY_DISABLE_MEMORY_MONITOR", "1")
        memory = {"object_store_memory": 150 * 2**20}
        cluster = Cluster(
            True, head_node_args={"num_cpus": 1, "include_dashboard": False, **memory}
        )
        node = cluster.add_node(num_cpus=1, resources={"second": 1}, **memory)
        ray.init(address=cluster.address, log_to_driver=False)
        try:
            yield cluster, node
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for k in range(4):
        captioned(tmp_path / "videos" / f"{k}.mp4", moving_square(95, seed=k), f"square {k}")
    return tmp_path / "videos"


def slow_encoders() -> Encoders:
    def slow(pixels: torch.Tensor) -> torch.Tensor:
        time.sleep(0.1)
        return encode_video(pixels)

    return Encoders(slow, encode_text, torch.device("cpu"))


def deadly_flow(clip: torch.Tensor) -> torch.Tensor:
    """Dies on the clip that begins bright."""
    if clip[0].float().mean() > 160:
        os._exit(7)
    return shift_flow(clip)


def on_ray(config: Any, estimator: Any = None, load: Any = encoders) -> Any:
    from videojam.data.prepare.on_ray import OnRay

    runner = OnRay(config, load)
    try:
        return run(config, estimator, runner=runner)
    finally:
        runner.close()


def test_the_rows_are_those_of_one_process(tmp_path: Path, videos: Path, cluster: Any) -> None:
    (videos / "bad.mp4").write_bytes((videos / "0.mp4").read_bytes()[:4000])
    (videos / "bad.txt").write_text("cut")
    here = run(tiny_config(videos, tmp_path / "here"))
    there = on_ray(tiny_config(videos, tmp_path / "there", runner="ray"))
    assert table(tmp_path / "there") == table(tmp_path / "here")
    assert there.dropped == here.dropped and there.frames == here.frames
    assert sorted(path.name for path in (tmp_path / "there" / "previews").iterdir()) == sorted(
        path.name for path in (tmp_path / "here" / "previews").iterdir()
    )


def test_a_clip_that_kills_its_worker_is_dropped_alone(
    tmp_path: Path, videos: Path, cluster: Any
) -> None:
    captioned(videos / "b.mp4", 255 - moving_square(40) // 4, "deadly")
    config = tiny_config(videos, tmp_path / "out", runner="ray", batch=3)
    report = on_ray(config, deadly_flow)
    assert [(item.name, item.reason) for item in report.dropped] == [
        ("b.mp4#0000", "its worker process died 4 times (WorkerCrashedError)")
    ]
    assert report.prepared == 12


def threads_of(_: int) -> tuple[int, int]:
    return cv2.getNumThreads(), torch.get_num_threads()


def test_tasks_have_one_thread_each() -> None:
    from videojam.data.prepare.on_ray import _call

    before = threads_of(0)
    try:
        cv2.setNumThreads(2)
        assert _call(threads_of, 0) == (1, 1)
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def refusing() -> Encoders:
    raise ValueError("size 32 x 48 is not for this model")


def test_what_is_wrong_with_the_model_is_said_where_it_was_asked_for() -> None:
    from videojam.data.prepare.on_ray import Failed, _Encoder

    failed = _Encoder(refusing).text(["a caption"])
    assert isinstance(failed, Failed) and "not for this model" in str(failed.error)


def test_killed_processes_and_a_lost_machine_change_nothing(
    tmp_path: Path, videos: Path, cluster: Any
) -> None:
    run(tiny_config(videos, tmp_path / "here"))
    nodes, second = cluster
    done = threading.Event()

    def kill() -> None:
        time.sleep(1.5)
        for name in ("_Encoder", "_call"):
            kill_one(name)
            time.sleep(0.3)
        nodes.remove_node(second, allow_graceful=False)
        done.set()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        on_ray(tiny_config(videos, tmp_path / "there", runner="ray"), load=slow_encoders)
    finally:
        killer.join()
    assert done.is_set() and len(ray.nodes()) == 2
    for _ in range(600):  # that a machine is gone is noticed after a while
        if sum(node["Alive"] for node in ray.nodes()) == 1:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the second machine is still there")
    assert table(tmp_path / "there") == table(tmp_path / "here")


def kill_one(name: str) -> None:
    """SIGKILL to a random process of this cluster that runs it."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                title = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if title.startswith(f"ray::{name}"):
                found.append(int(folder.name))
    if found:
        os.kill(random.choice(found), signal.SIGKILL)
