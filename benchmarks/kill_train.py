"""Training killed at random moments and rerun ends with the weights of an undisturbed run.

    python benchmarks/kill_train.py --kills 20
    python benchmarks/kill_train.py --kills 20 --processes 2

A full run of a tiny model on the CPU, with EMA, warm-up and accumulation, so that all of that has
to be restored. One process, which may be all there is, is killed with SIGKILL at a random moment
after it started; the launcher ends the others, and the same command is run again. When a run
completes, its last weights are compared bit for bit with the undisturbed ones, and a new one is
begun. Several processes share the model (FSDP2).
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from safetensors.torch import load_file

from record import record
from videojam.training.checkpoints import checkpoints

SCRIPT = Path(__file__).parent.parent / "tests" / "helpers" / "tiny_run.py"
OPTIONS = ["steps=300", "checkpoint_every=10", "validate_every=100",
           "global_batch_size=4", "micro_batch_size=2",
           "ema_decay=0.9", "lr_schedule='cosine'", "warmup_steps=3", "log_every=10"]  # fmt: skip

SHARED = ["sharding='full'", "steps=40", "checkpoint_every=2", "validate_every=20"]


@dataclass(frozen=True, kw_only=True)
class KillTrain:
    """How often to kill."""

    kills: int = 20
    seed: int = 0
    processes: int = 1
    longest_s: float = 9.0
    "A process lives at most this long after its start-up."


def main(args: KillTrain) -> None:
    moments = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        start = time.perf_counter()
        _run(root / "undisturbed", None, args.processes, moments)
        undisturbed_s = time.perf_counter() - start
        expected = _state(root / "undisturbed")
        kills = completed = differences = number = 0
        at_steps = []
        while kills < args.kills or completed == 0:
            out = root / f"run-{number}"
            # Once all kills are done, the last run is left to complete.
            delay = moments.uniform(0.0, args.longest_s) if kills < args.kills else None
            if _run(out, delay, args.processes, moments):
                completed += 1
                differences += _differences(_state(out), expected)
                shutil.rmtree(out)
                number += 1
            else:
                kills += 1
                saved = checkpoints(out / "checkpoints")
                at_steps.append(int(saved[-1].name.partition("-")[2]) if saved else 0)
                print(f"kill {kills}: last checkpoint {at_steps[-1]}", flush=True)
    figures = {
        "kills": kills,
        "completed_runs_after_kills": completed,
        "tensors_that_differ": differences,
        "tensors_compared_per_run": len(expected),
        "last_checkpoint_at_each_kill": at_steps,
        "seconds_undisturbed": undisturbed_s,
        "seed": args.seed,
    }
    name = "kill_train" + f"_{args.processes}_processes" * (args.processes > 1)
    print(record(name, figures).read_text())
    if differences:
        raise SystemExit("a resumed run differs from the undisturbed one")


def _run(out: Path, kill_after: float | None, number: int, moments: random.Random) -> bool:
    """Run until done (True) or killed (False)."""
    program = [str(SCRIPT), str(out), *OPTIONS]
    if number > 1:
        launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(number)]
        place = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
        program = [*launch, *place, *program, *SHARED]
    process = subprocess.Popen(
        [sys.executable, *program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready"), "the run did not start"
    try:
        process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        os.kill(moments.choice(_workers(process.pid, number)), signal.SIGKILL)
        process.communicate()
        return False
    if process.returncode:
        raise SystemExit(f"the run failed with {process.returncode}")
    return True


def _workers(launched: int, number: int) -> list[int]:
    """The processes that train: the one launched, or its children."""
    if number == 1:
        return [launched]
    children = Path(f"/proc/{launched}/task/{launched}/children").read_text().split()
    return [int(child) for child in children] or [launched]


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
