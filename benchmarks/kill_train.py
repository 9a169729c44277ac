"""Training killed at random moments and rerun ends with the weights of an undisturbed run.

    python benchmarks/kill_train.py --kills 20
    python benchmarks/kill_train.py --kills 20 --processes 2 --background

A full run of a tiny model on the CPU, with EMA, warm-up and accumulation, so that all of that has
to be restored. One process, which may be all there is, is killed with SIGKILL at a random moment
of the time that an undisturbed run takes; the others are ended, as a launcher does it, and the same
run is started again. When a run completes, its last weights are compared bit for bit with the
undisturbed ones, and a new one is begun. Several processes share the model (FSDP2). Processes are
forked from one that has imported everything, which takes longer than the run.
"""

import multiprocessing
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
import tyro
from safetensors.torch import load_file

from record import record
from videojam.training.checkpoints import checkpoints

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))
OPTIONS: dict[str, Any] = {
    "steps": 300, "checkpoint_every": 10, "validate_every": 100, "global_batch_size": 4,
    "micro_batch_size": 2, "ema_decay": 0.9, "lr_schedule": "cosine", "warmup_steps": 3,
    "log_every": 10,
}  # fmt: skip
SHARED = {"sharding": "full", "steps": 20, "checkpoint_every": 2, "validate_every": 10}
CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True, kw_only=True)
class KillTrain:
    """How often to kill."""

    kills: int = 20
    seed: int = 0
    processes: int = 1
    background: bool = False
    "Write checkpoints in the background."


def main(args: KillTrain) -> None:
    CONTEXT.set_forkserver_preload(["__main__", "tiny_run"])
    moments = random.Random(args.seed)
    options = OPTIONS | (SHARED if args.processes > 1 else {})
    options |= {"checkpoint_in_background": args.background}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _run(root / "first", None, args.processes, options, moments)  # the server imports
        start = time.perf_counter()
        _run(root / "undisturbed", None, args.processes, options, moments)
        undisturbed_s = time.perf_counter() - start
        expected = _state(root / "undisturbed")
        differences = _differences(_state(root / "first"), expected)
        kills = completed = number = 0
        at_steps, unfinished = [], 0
        while kills < args.kills or completed == 0:
            out = root / f"run-{number}"
            # Once all kills are done, the last run is left to complete.
            delay = moments.uniform(0.0, undisturbed_s) if kills < args.kills else None
            if _run(out, delay, args.processes, options, moments):
                completed += 1
                differences += _differences(_state(out), expected)
                shutil.rmtree(out)
                number += 1
            else:
                kills += 1
                saved = checkpoints(out / "checkpoints")
                unfinished += any((out / "checkpoints").glob(".*.part"))
                at_steps.append(int(saved[-1].name.partition("-")[2]) if saved else 0)
                print(f"kill {kills}: last checkpoint {at_steps[-1]}", flush=True)
    figures = {
        "kills": kills,
        "kills_within_a_checkpoint": unfinished,
        "completed_runs_after_kills": completed,
        "tensors_that_differ": differences,
        "tensors_compared_per_run": len(expected),
        "last_checkpoint_at_each_kill": at_steps,
        "seconds_undisturbed": undisturbed_s,
        "seed": args.seed,
        "options": options,
    }
    name = "kill_train" + f"_{args.processes}_processes" * (args.processes > 1)
    print(record(name + "_background" * args.background, figures).read_text())
    if differences:
        raise SystemExit("a resumed run differs from the undisturbed one")


def _run(
    out: Path,
    kill_after: float | None,
    number: int,
    options: dict[str, Any],
    moments: random.Random,
) -> bool:
    """Run until done (True) or killed (False)."""
    with socket.socket() as one:
        one.bind(("localhost", 0))
        port = one.getsockname()[1]
    workers = [
        CONTEXT.Process(target=_worker, args=(out, rank, number, port, options))
        for rank in range(number)
    ]
    for worker in workers:
        worker.start()
    deadline = None if kill_after is None else time.monotonic() + kill_after
    while running := [worker.sentinel for worker in workers if worker.is_alive()]:
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        if not wait(running, left):
            moments.choice([worker for worker in workers if worker.is_alive()]).kill()
            break
    else:
        if any(worker.exitcode for worker in workers):
            raise SystemExit(f"the run failed with {[worker.exitcode for worker in workers]}")
        return True
    for worker in workers:
        worker.join(2)
        worker.terminate()
        worker.join(20)
        worker.kill()
        worker.join()
    return False


def _worker(out: Path, rank: int, number: int, port: int, options: dict[str, Any]) -> None:
    os.setsid()  # as a launcher does it
    torch.set_num_threads(1)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    if number > 1:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(number),
            "MASTER_ADDR": "localhost", "MASTER_PORT": str(port),
        }  # fmt: skip
    from tiny_run import tiny_train

    tiny_train(out, **options)


def _state(out: Path) -> dict[str, torch.Tensor]:
    last = checkpoints(out / "checkpoints")[-1]
    parts: dict[str, list[torch.Tensor]] = {}
    for file in sorted(last.rglob("*.safetensors")):  # a whole tensor may be in either's file
        for name, value in load_file(file).items():
            parts.setdefault(f"{file.parent.name}:{name}", []).append(value.flatten())
    return {name: torch.cat(values) for name, values in parts.items()}


def _differences(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> int:
    missing = len(found.keys() ^ expected.keys())
    return missing + sum(
        not torch.equal(found[name], expected[name]) for name in found.keys() & expected.keys()
    )


if __name__ == "__main__":
    main(tyro.cli(KillTrain))
