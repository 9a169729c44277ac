"""One run on four processes, and its checkpoint resumed on one, two and three, against one process.

    python benchmarks/several_processes.py

A tiny Wan in float32, full training with averages and clipping, FSDP2 over gloo on the CPU. Four
processes make four steps; then the same folder goes on for four more. Recorded: the largest
relative difference of a loss in the log, and of all exported weights together from how far they
moved.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from record import record

HELPERS = Path(__file__).parents[1] / "tests" / "helpers"
OPTIONS = ["mode='full'", "global_batch_size=12", "log_every=1", "checkpoint_every=4",
           "validate_every=4", "ema_decay=0.9", "keep_checkpoints=9"]  # fmt: skip


def main() -> None:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run(root / "four", 4, 4)
        for number in (1, 2, 3, 4):
            shutil.copytree(root / "four", root / str(number))
            run(root / str(number), 8, number)
        run(root / "alone", 8, 1, shared=False)
        for number in (1, 2, 3, 4):
            found[f"4 steps on 4 processes, 4 on {number}"] = compare(root, str(number))
            print(number, found[f"4 steps on 4 processes, 4 on {number}"], flush=True)
    record("several_processes", {"options": OPTIONS, "against_one_process": found})


def run(out: Path, steps: int, number: int, shared: bool = True) -> None:
    """One launch."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(number),
        "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(HELPERS / "tiny_run.py"),
        str(out), *OPTIONS, f"steps={steps}", *(["sharding='full'"] if shared else []),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        raise SystemExit(f"{out.name} failed:\n{done.stderr[-3000:]}")


def compare(root: Path, name: str) -> dict[str, float]:
    """A run against the one that a single process made."""
    sys.path.append(str(HELPERS))
    from tiny_run import base_pipeline

    from videojam import widen
    from videojam.joint.checkpoint import load_pipeline

    mine, theirs = (lines(root / run) for run in (name, "alone"))
    assert [line["step"] for line in mine] == [line["step"] for line in theirs]
    losses = [
        abs(a[key] / b[key] - 1)
        for a, b in zip(mine, theirs, strict=True)
        for key in a
        if key.startswith(("loss/", "validation/"))
    ]
    a, b = (
        load_pipeline(root / run / "model")[0].transformer.state_dict() for run in (name, "alone")
    )
    start = widen(base_pipeline().transformer).state_dict()
    apart = torch.cat([(a[key] - b[key]).flatten() for key in start])
    moved = torch.cat([(b[key] - start[key]).flatten() for key in start])
    return {
        "largest_relative_difference_of_a_loss": max(losses),
        "weights_apart_over_moved": float(apart.norm() / moved.norm()),
        "largest_difference_of_a_weight": float(apart.abs().max()),
    }


def lines(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


if __name__ == "__main__":
    main()
