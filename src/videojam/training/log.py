"""The record of a run: its settings, and metrics on the console, in a file and in trackers."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console

from videojam.records.atomic import write_text
from videojam.training.config import TrainConfig

# Other logging continues the same run; any other change makes another one.
_FREE = {"out", "validate_every", "sample_every", "sample_prompts", "checkpoint_every"}
_FREE |= {"keep_checkpoints", "log_every", "trackers", "export"}


def remember(out: Path, settings: dict[str, dict[str, Any]], main: bool) -> None:
    """Save the resolved settings, by group, as config.json.

    Raises ValueError for a folder of a run with other settings. More steps continue a run if its
    learning rate does not depend on their number.
    """
    settings = json.loads(json.dumps(settings, default=str))
    path = out / "config.json"
    if path.is_file():
        before = json.loads(path.read_text())
        free = _FREE
        if settings["train"]["lr_schedule"].startswith("constant"):
            free = _FREE | {"steps"}
        changed = [
            f"{key}: {before[group].get(key)} -> {value}"
            for group, values in settings.items()
            for key, value in values.items()
            if key not in free and before[group].get(key) != value
        ]
        if changed:
            raise ValueError(
                f"{out} holds a run with other settings ({'; '.join(changed)}); resume "
                "with the old ones, or give a new --out"
            )
    if main:
        write_text(path, json.dumps(settings, indent=2) + "\n")


class Log:
    """metrics.jsonl, the console, and the trackers. A resumed run drops what it will repeat."""

    def __init__(
        self, config: TrainConfig, accelerator: Accelerator, console: Console, done: int
    ) -> None:
        self.accelerator, self.console, self.steps = accelerator, console, config.steps
        self.path = config.out / "metrics.jsonl"
        if config.trackers:
            accelerator.init_trackers("videojam", config=None)
        if accelerator.is_main_process and self.path.is_file():
            lines = self.path.read_text().splitlines()
            kept = itertools.takewhile(lambda line: _step_of(line) <= done, lines)
            write_text(self.path, "".join(f"{line}\n" for line in kept))

    def write(self, step: int, values: dict[str, float]) -> None:
        if not self.accelerator.is_main_process:
            return
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        shown = (f"{key} {value:.4g}" for key, value in values.items() if "@" not in key)
        self.console.print(f"step {step}/{self.steps}  " + "  ".join(shown), soft_wrap=True)
        self.accelerator.log(values, step=step)

    def close(self) -> None:
        self.accelerator.end_training()


def _step_of(line: str) -> float:
    """A line cut short by a kill belongs to no step."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return math.inf
