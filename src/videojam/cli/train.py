"""videojam train: fine-tune a model on a prepared dataset."""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from videojam.records.object_store import Location
from videojam.training.config import TrainConfig
from videojam.training.loop import Stopped
from videojam.workflow.finetune import finetune
from videojam.workflow.requirements import dry_run


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainArgs:
    """Fine-tune a model with the joint objective. The same command on the same folder resumes.

    videojam train --data runs/data --out runs/jam --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers
    """

    data: tuple[Location, ...]
    """Datasets made by `videojam prepare`, here or s3://bucket/folder; of several, each step reads
    one (--data-weights)."""
    train: Annotated[TrainConfig, tyro.conf.arg(name="")]
    model: str | None = None
    "Base model folder or hub id; default the one the dataset was prepared with."
    num_workers: int = 2
    "Threads that read batches ahead."
    sample_steps: int = 50
    "Sampling steps of the paired videos."
    dry_run: bool = False
    "Print what it would take (memory by part, disk, time), and do nothing."
    tflops: float | None = None
    "TFLOP/s that one device sustains, for --dry-run; default from a product measured here."


def main(args: TrainArgs) -> None:
    """Train; exits with 143 after a stop that was asked for."""
    if args.dry_run:
        print(dry_run(args.data, args.train, args.model, args.tflops))
        return
    if args.tflops is not None:
        raise ValueError("tflops is for --dry-run; leave it out")
    try:
        finetune(args.data, args.train, args.model, args.num_workers, args.sample_steps)
    except Stopped as stopped:
        print(stopped)
        sys.exit(143)
