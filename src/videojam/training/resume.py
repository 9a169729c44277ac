"""Where a run goes on: the checkpoint that it resumes from, in a folder that is its own."""

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from videojam.training.checkpoints import Unreadable, checkpoints, load_checkpoint
from videojam.training.config import TrainConfig
from videojam.training.log import check_trackers, remember


def begin(config: TrainConfig, settings: dict[str, dict[str, Any]], saved: Path) -> list[Path]:
    """The checkpoints to resume from, newest last, in a folder that is of this run."""
    check_trackers(config)
    existing = checkpoints(saved)
    remember(config.out, settings, bool(existing))
    return existing


def resume(
    existing: list[Path],
    parameters: dict[str, torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    ema: Any | None,
    console: Console,
) -> int:
    """The steps done, by the newest checkpoint that can be read; 0 if there is none."""
    for checkpoint in reversed(existing):
        try:
            done = load_checkpoint(checkpoint, parameters, optimiser, schedule, ema)
        except Unreadable as error:
            console.print(f"{error}; falling back to the checkpoint before", soft_wrap=True)
            continue
        console.print(f"resuming at step {done} from {checkpoint}", soft_wrap=True)
        return done
    if existing:
        raise ValueError(
            f"none of the checkpoints {', '.join(map(str, existing))} can be read; remove them to "
            "begin again, or restore one"
        )
    return 0
