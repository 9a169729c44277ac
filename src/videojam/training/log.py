"""The record of a run: its settings, and metrics on the console, in a file and in trackers."""

import hashlib
import importlib.util
import itertools
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from videojam.records.atomic import write_text
from videojam.records.settings import defaults_of, differences
from videojam.training.config import TrainConfig

# Other logging continues the same run, and so does another division of the same global batch. A
# rate may be changed by whoever resumes, as a run that diverged needs it. Anything else is another
# run.
_FREE = {"out", "validate_every", "sample_every", "sample_prompts", "checkpoint_every"}
_FREE |= {"checkpoint_in_background", "keep_checkpoints", "keep_every", "log_every", "trackers"}
_FREE |= {"run_name", "export", "context_parallel"}
_FREE |= {"micro_batch_size", "sharding", "shard_group", "reduce_dtype", "compile"}
_FREE |= {"offload_blocks", "optimiser_on_cpu", "fused"}
_FREE |= {"learning_rate", "projection_rate", "max_grad_norm"}


def remember(out: Path, settings: dict[str, dict[str, Any]], begun: bool) -> None:
    """Save the resolved settings, by group, as config.json, beside what they were before.

    begun: the folder has a checkpoint, which other settings would spoil. Raises ValueError for
    those. More steps continue a run if its learning rate does not depend on their number.
    """
    settings = json.loads(json.dumps(settings, default=str))
    path = out / "config.json"
    history: list[Any] = []
    if begun and path.is_file():
        before = json.loads(path.read_text())
        history = before.get("before", [])
        earlier = {group: before[group] for group in settings}
        if earlier != settings:
            history.append(earlier)
        free = _FREE
        if settings["train"]["lr_schedule"].startswith("constant"):
            free = _FREE | {"steps"}
        defaults = {"train": defaults_of(TrainConfig)}
        changed = [
            difference
            for group, values in settings.items()
            for difference in differences(
                {key: value for key, value in before[group].items() if key not in free},
                {key: value for key, value in values.items() if key not in free},
                defaults.get(group),
            )
        ]
        if changed:
            raise ValueError(
                f"{out} holds a run with other settings ({'; '.join(changed)}); resume "
                "with the old ones, or give a new --out"
            )
    write_text(path, json.dumps(settings | {"before": history}, indent=2) + "\n")


def check_trackers(config: TrainConfig) -> None:
    """ValueError for a tracker that is not installed, which would be left out without a word."""
    for name in config.trackers:
        if importlib.util.find_spec(name) is None:
            raise ValueError(
                f'{name} is not installed; pip install "videojam[track]", or leave --trackers out'
            )


class Log:
    """metrics.jsonl, the console with a bar, and trackers. A resumed run drops what it repeats."""

    def __init__(
        self, config: TrainConfig, accelerator: Accelerator, console: Console, done: int
    ) -> None:
        self.accelerator, self.console, self.steps = accelerator, console, config.steps
        self.path = config.out / "metrics.jsonl"
        if config.trackers:
            _start_trackers(config, accelerator)
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("", total=config.steps, completed=done, losses="")
        self.bar.start()
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

    def step_done(self, step: int, total: float) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=step, losses=f"loss {total:.4f}")

    def close(self) -> None:
        self.bar.stop()
        for tracker in self.accelerator.trackers:
            tracker.finish()


def _start_trackers(config: TrainConfig, accelerator: Accelerator) -> None:
    """The same folder continues the same run, with the settings that it has now."""
    name = config.run_name or config.out.resolve().name
    place = hashlib.blake2b(str(config.out.resolve()).encode(), digest_size=8).hexdigest()
    accelerator.init_trackers(
        config.tracker_project,
        config={key: _plain(value) for key, value in asdict(config).items()},
        init_kwargs={"wandb": {"name": name, "id": place, "resume": "allow"}},
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool) else str(value)


def _step_of(line: str) -> float:
    """A line cut short by a kill belongs to no step."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return math.inf
