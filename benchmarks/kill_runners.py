"""Kill processes of shards, or of a Ray cluster, at random moments; compare with one process.

COMMAND: python benchmarks/kill_runners.py ../shared/clips --kills 20
Real clips, stand-in encoders (average pooling) that take 50 ms per call.
shards: two shards side by side, each run again whenever it was killed (SIGKILL), then joined.
ray: a cluster of two nodes with a CPU each; each kill hits a random process that decodes or
encodes, the last one a whole node. Preparations are begun anew until all kills have hit. The rows
must be those of one process, byte for byte. Writes results/kill_runners.json, or kill_ray.json or
kill_shards.json with --only.
"""

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console

from kill_prepare import encode_text, encode_video, rows_of
from record import record
from videojam.data.prepare.encode import Encoders
from videojam.data.prepare.prepare import PrepareConfig, join_shards, prepare
from videojam.motion.estimators.dis import DIS


def config_of(videos: Path, output: Path, **changes: Any) -> PrepareConfig:
    return PrepareConfig(
        videos=videos,
        out=output,
        captions=videos / "captions.jsonl",
        sizes=((128, 224), (160, 208)),
        fps=12.0,
        num_frames=9,
        num_workers=0,
        commit_samples=3,
        commit_s=1.0,
        previews=0,
        **changes,
    )


def make(config: PrepareConfig, runner: Any = None) -> None:
    prepare(
        config,
        encode_video=encode_video,
        encode_text=encode_text,
        estimator=DIS("ultrafast"),
        console=Console(quiet=True),
        runner=runner,
    )


def encoders() -> Encoders:
    return Encoders(encode_video, encode_text, torch.device("cpu"))


def shards(videos: Path, output: Path, kills: int, rng: random.Random) -> int:
    """Returns the number of kills that hit."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["__main__"])  # a killed one begins anew at once
    hit = 0
    waiting = ["1/2", "2/2"]
    while waiting:
        configs = [config_of(videos, output, shard=shard) for shard in waiting]
        running = [processes.Process(target=make, args=(config,)) for config in configs]
        for process in running:
            process.start()
        if hit < kills:
            time.sleep(rng.uniform(2, 8))
            for process in running:
                if process.is_alive():
                    process.kill()
                    hit += 1
        for process in running:
            process.join()
        waiting = [name for name, one in zip(waiting, running, strict=True) if one.exitcode]
    join_shards(config_of(videos, output, join=True))
    return hit


def on_ray(videos: Path, output: Path, kills: int, rng: random.Random) -> int:
    """Returns the number of kills that hit, a node counted as one."""
    import ray
    from ray.cluster_utils import Cluster

    from videojam.data.prepare.on_ray import OnRay

    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    small = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
    cluster = Cluster(True, head_node_args={**small, "include_dashboard": False})
    second = cluster.add_node(**small)
    ray.init(address=cluster.address, log_to_driver=False)
    hit, over = 0, threading.Event()

    def kill() -> None:
        nonlocal hit
        while hit < kills and not over.wait(rng.uniform(3, 8)):
            if hit == kills - 1:
                cluster.remove_node(second, allow_graceful=False)
                hit += 1
            else:
                hit += kill_one(rng)

    killer = threading.Thread(target=kill)
    killer.start()
    runner = OnRay(config_of(videos, output, runner="ray"), encoders)
    try:
        make(runner.config, runner)
    finally:
        over.set()
        killer.join()
        runner.close()
        ray.shutdown()
        cluster.shutdown()
    return hit


def kill_one(rng: random.Random) -> bool:
    """SIGKILL to one process of this cluster that works for us."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[0].startswith(("ray::_Encoder", "ray::_call")):
                found.append(process)
        except (psutil.Error, IndexError):
            continue
    if found:
        rng.choice(found).kill()
    return bool(found)


def main(videos: Path, kills: int, seed: int, only: str | None) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    figures: dict[str, Any] = {"seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        make(config_of(videos, Path(folder) / "one"))
        expected = rows_of(Path(folder) / "one")
        for name, runner in (("shards", shards), ("ray", on_ray)):
            if only not in (None, name):
                continue
            begin, hits, wrong = time.perf_counter(), [], 0
            while sum(hits) < kills:
                output = Path(folder) / f"{name}-{len(hits)}"
                hits.append(runner(videos, output, kills - sum(hits), rng))
                wrong += rows_of(output) != expected
                print(f"{name}: {sum(hits)} kills, {wrong} runs differ", flush=True)
            figures[name] = {
                "kills_of_each_run": hits,
                "rows": len(expected),
                "runs_that_differ": wrong,
                "seconds": round(time.perf_counter() - begin, 1),
            }
            print(name, figures[name], flush=True)
    print(record(f"kill_{only or 'runners'}", figures).read_text())
    sys.exit(
        any(figures[name]["runs_that_differ"] for name in ("shards", "ray") if name in figures)
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", choices=("shards", "ray"))
    options = parser.parse_args()
    main(options.videos, options.kills, options.seed, options.only)
