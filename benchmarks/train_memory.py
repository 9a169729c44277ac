"""Memory of each process of a training, measured: copies against shares, and what saves memory.

    python benchmarks/train_memory.py

A random Wan transformer of 391 million parameters, one small clip a process, one step through the
training loop. Every run is in processes of its own (gloo, CPU). The figure is the highest resident
memory of a process during the steps, beside what it held before the model was made. On the CPU it
contains what a device would not hold, and offloading has no meaning there.
"""

import contextlib
import gc
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from record import record
from videojam.joint.info import JointInfo
from videojam.models.needs import GIB, count, memory
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.training import loop
from videojam.training.config import TrainConfig
from videojam.training.parallel import processes, share
from videojam.training.step import MicroBatch
from videojam.workflow.requirements import setup_of

SIZES = SmallWan(
    num_layers=8, num_heads=12, head_dim=128, ffn_ratio=35 / 6, text_width=16, text_layers=1
)
FULL: dict[str, Any] = {"mode": "full", "precision": "bf16", "gradient_checkpointing": True}
LORA: dict[str, Any] = {"mode": "lora", "precision": "bf16", "lora_rank": 16}
SMALL = LORA | {"gradient_checkpointing": True}
SHARES = {"sharding": "full"}
RUNS: dict[str, tuple[int, dict[str, Any]]] = {
    "full, 1 process": (1, FULL),
    "full, 2 processes, copies": (2, FULL),
    "full, 4 processes, copies": (4, FULL),
    "full, 2 processes, shares": (2, FULL | SHARES),
    "full, 4 processes, shares": (4, FULL | SHARES),
    "full, 4 processes, shares of 2": (4, FULL | {"sharding": "hybrid", "shard_group": 2}),
    "full, 8-bit Adam": (1, FULL | {"optimiser": "adamw8bit"}),
    "full, fused Adam": (1, FULL | {"fused": True}),
    "LoRA, 1 process": (1, LORA),
    "LoRA, 2 processes, copies": (2, LORA),
    "LoRA, 4 processes, copies": (4, LORA),
    "LoRA, 2 processes, shares": (2, LORA | SHARES),
    "LoRA, 4 processes, shares": (4, LORA | SHARES),
    "LoRA, 144 tokens": (1, LORA),
    "LoRA, 144 tokens, checkpointing": (1, SMALL),
    "LoRA, checkpointing": (1, SMALL),
    "LoRA, checkpointing, 8-bit Adam": (1, SMALL | {"optimiser": "adamw8bit"}),
    "LoRA, checkpointing, float8": (1, SMALL | {"frozen_storage": "float8"}),
    "LoRA, checkpointing, int8": (1, SMALL | {"frozen_storage": "int8"}),
    "LoRA, checkpointing, nf4": (1, SMALL | {"frozen_storage": "nf4"}),
}
# Large tensors go back to the system when they are freed, so that what is resident is in use.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "4194304"}
NEEDED = {  # GiB, all together
    "full, 2 processes, copies": 18, "full, 4 processes, copies": 36,
    "full, 4 processes, shares": 13, "full, 4 processes, shares of 2": 16,
}  # fmt: skip
LONGEST_S = 1200
LATENT, LARGER = (1, 8, 8), (1, 24, 24)  # 16 and 144 tokens


def child(settings: dict[str, Any], out: Path, latent: tuple[int, int, int]) -> None:
    """One process of a run; writes its figures into out."""
    torch.set_num_threads(1)
    ranks = processes()
    before = _resident()
    # As a training does it: a LoRA's base is loaded in bfloat16.
    pipe = small_wan_pipeline(SIZES)
    if settings["mode"] == "lora":
        pipe.transformer.to(torch.bfloat16)
    config = TrainConfig(
        out=out, steps=1, validate_every=0, checkpoint_every=1000, log_every=1,
        global_batch_size=ranks.num_processes, **settings,
    )  # fmt: skip
    x = torch.randn(1, 16, *latent, generator=torch.Generator().manual_seed(0))
    text = {"encoder_hidden_states": torch.zeros(8, 16)}
    place = share(ranks.num_processes, ranks.process_index, ranks.num_processes)[0]

    def batches(start: int):
        for step in itertools.count(start):
            yield MicroBatch(x, x, [text], [step * ranks.num_processes + place])

    watched: dict[str, int] = {}
    loop.saver = lambda *_: contextlib.nullcontext(  # no checkpoint, and no export either
        SimpleNamespace(save=lambda *_: watched.setdefault("peak", _highest()), wait=lambda: None)
    )
    loop.export_run = lambda *_: out
    loop.Cost.measure = lambda *_: SimpleNamespace(
        figures=lambda *_: {}
    )  # takes long, holds little
    prepare = loop.parallel.spread

    def spread(model: Any, *rest: Any) -> Any:
        made = prepare(model, *rest)
        pipe.text_encoder = pipe.vae = None
        # The model is as it will be: what was needed to make it does not count.
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        watched["settled"] = _resident()
        return made

    loop.parallel.spread = spread
    data = loop.TrainingData(batches=batches, held_out=[], null_text=text)
    info = JointInfo(fps=8.0, height=192, width=192, num_frames=9, base="nowhere")
    loop.train(config, pipe, data, info)
    counts = count(pipe.transformer)
    figures = {
        "peak_gib": watched["peak"] / GIB,
        "model_alone_gib": watched["settled"] / GIB,
        "before_gib": before / GIB,
        "seconds": resource.getrusage(resource.RUSAGE_SELF).ru_utime,
    }
    if config.sharding == "none" and config.frozen_storage == "stored":
        parts = memory(counts, setup_of(config, ranks.num_processes), latent[1] * latent[2] // 4)
        figures["arithmetic_gib"] = {k: v / GIB for k, v in parts.items()}
    (out / f"memory-{ranks.process_index}.json").write_text(json.dumps(figures))


def _field(file: Path, field: str) -> int:
    lines = file.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def _resident() -> int:
    return _field(Path("/proc/self/status"), "VmRSS:")


def _highest() -> int:
    return _field(Path("/proc/self/status"), "VmHWM:")


def main() -> None:
    found: dict[str, Any] = {}
    chosen = sys.argv[1:] or [*RUNS]
    for name in chosen:
        number, settings = RUNS[name]
        available = _field(Path("/proc/meminfo"), "MemAvailable:") / GIB
        if available < NEEDED.get(name, 9):  # others work on this machine
            found[name] = f"not run: {available:.1f} GiB were free"
            continue
        tokens = "144" if "144" in name else "16"
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node",
                       str(number), "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0",
                       __file__, "child", json.dumps(settings), out, tokens]  # fmt: skip
            try:
                run = subprocess.run(
                    command, capture_output=True, text=True, env=os.environ | ENVIRONMENT,
                    timeout=LONGEST_S,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                found[name] = f"not measured: one step took more than {LONGEST_S} s"
                continue
            files = sorted(Path(out).glob("memory-*.json"))
            if run.returncode or len(files) != number:
                raise SystemExit(f"{name} failed:\n{run.stdout[-3000:]}{run.stderr[-3000:]}")
            found[name] = [json.loads(file.read_text()) for file in files]
        print(name, [round(one["peak_gib"], 2) for one in found[name]], flush=True)
        if len(chosen) == len(RUNS):  # after each, so that none is lost
            record("train_memory", {"latent": LATENT, "larger": LARGER, "steps": 1, "runs": found})


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(
            json.loads(sys.argv[2]), Path(sys.argv[3]), LARGER if sys.argv[4] == "144" else LATENT
        )
    else:
        main()
