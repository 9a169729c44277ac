"""Processes and devices: the only file that asks what this run is spread over.

One process per device, started by `accelerate launch` or `torchrun`; the same loop runs on a CPU,
one GPU or many. Every process holds the whole model (DDP).
"""

import torch
from accelerate import Accelerator, PartialState

from videojam.training.config import TrainConfig


def processes() -> PartialState:
    """This process among all: process_index, num_processes."""
    return PartialState(cpu=_on_cpu())


def accelerator(config: TrainConfig) -> Accelerator:
    """Accelerate's engine in the run's precision, with its trackers."""
    processes()
    return Accelerator(
        cpu=_on_cpu(),
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        log_with=list(config.trackers) or None,
        project_dir=config.out,
    )


def _on_cpu() -> bool:
    # Unless told, Accelerate takes several processes without a GPU for one process each.
    return not torch.accelerator.is_available()
