"""Two processes on the CPU (gloo) train as one process does on the whole batch."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file
from test_loop import SCRIPT, metrics
from tiny_run import tiny_train

from videojam.training.checkpoints import checkpoints


def two_processes(out, *options):
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2",
         "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(SCRIPT), str(out),
         *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def last_weights(out):
    return load_file(checkpoints(out / "checkpoints")[-1] / "weights.safetensors")


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_two_processes_equal_one(tmp_path, optimiser):
    options = ["steps=6", "batch_size=2", "gradient_accumulation=2", "log_every=1"]
    output, _ = two_processes(
        tmp_path / "two", *options, f"optimiser={optimiser!r}"
    ).communicate(timeout=120)  # fmt: skip
    tiny_train(tmp_path / "one", steps=6, batch_size=8, log_every=1, optimiser=optimiser)
    a, b = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert [line["step"] for line in a] == [line["step"] for line in b], output
    for mine, theirs in zip(a, b, strict=True):
        for key in set(mine) & {"loss/appearance", "loss/motion", "validation/motion"}:
            assert abs(mine[key] - theirs[key]) < 1e-4
    one, two = last_weights(tmp_path / "one"), last_weights(tmp_path / "two")
    # Adam divides by the root of the squared gradient, which magnifies rounding near zero.
    assert all(torch.allclose(one[name], two[name], atol=1e-3) for name in one)


def test_two_processes_stop_after_the_same_step(tmp_path):
    process = two_processes(tmp_path / "stop", "steps=100000", "validate_every=0")
    while not (tmp_path / "stop" / "metrics.jsonl").exists():
        time.sleep(0.1)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert output.count("Stopped: stopped after step") == 2, output
