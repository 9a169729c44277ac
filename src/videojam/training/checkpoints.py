"""Checkpoints of a run: trained weights, optimiser, EMA, step. safetensors and JSON, no pickle.

A checkpoint is written into a temporary folder and renamed, so it is complete or not there.
Data order and noise are functions of (seed, step), so the step is all they need.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

_PREFIX = "step-"


def save_checkpoint(
    folder: Path,
    step: int,
    parameters: dict[str, torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    ema: Any | None,
    keep: int,
) -> Path:
    """Write checkpoint `step`, then remove all but the newest `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{_PREFIX}{step:08d}"
    part = folder / f".{target.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    save_file(_contiguous(parameters), part / "weights.safetensors")
    save_file(_optimiser_tensors(parameters, optimiser), part / "optimiser.safetensors")
    state: dict[str, Any] = {"step": step, "schedule": schedule.state_dict()}
    if ema is not None:
        shadow = dict(zip(parameters, ema.shadow_params, strict=True))
        save_file(_contiguous(shadow), part / "ema.safetensors")
        state["ema_step"] = ema.optimization_step
    (part / "state.json").write_text(json.dumps(state))
    _flush(part)
    if target.exists():  # a resumed run repeats a step that a failure interrupted
        shutil.rmtree(target)
    part.rename(target)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if (path / "state.json").is_file())


def load_checkpoint(
    checkpoint: Path,
    parameters: dict[str, torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    ema: Any | None,
) -> int:
    """Restore everything in place; returns the number of steps done.

    Raises ValueError if the checkpoint is of a differently configured model.
    """
    state = json.loads((checkpoint / "state.json").read_text())
    weights = load_file(checkpoint / "weights.safetensors")
    if set(weights) != set(parameters) or (ema is not None) != ("ema_step" in state):
        raise ValueError(
            f"{checkpoint} was written by a run with another model, mode or EMA setting; resume "
            "with the settings in the run's config.json, or give a new --out"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
        if ema is not None:
            shadow = load_file(checkpoint / "ema.safetensors")
            for name, value in zip(parameters, ema.shadow_params, strict=True):
                value.copy_(shadow[name])
            ema.optimization_step = state["ema_step"]
    saved = load_file(checkpoint / "optimiser.safetensors")
    for name, parameter in parameters.items():
        moments = {
            key.rpartition("//")[2]: value.clone()
            for key, value in saved.items()
            if key.startswith(f"{name}//")
        }
        if moments:
            optimiser.state[parameter] = {
                # AdamW keeps its step count on the CPU.
                key: value if key == "step" else value.to(parameter.device)
                for key, value in moments.items()
            }
    schedule.load_state_dict(state["schedule"])
    for group, rate in zip(optimiser.param_groups, schedule.get_last_lr(), strict=True):
        group["lr"] = rate
    return state["step"]


def _contiguous(tensors: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _optimiser_tensors(
    parameters: dict[str, torch.nn.Parameter], optimiser: torch.optim.Optimizer
) -> dict[str, Tensor]:
    return {
        f"{name}//{key}": torch.as_tensor(value).detach().cpu().contiguous()
        for name, parameter in parameters.items()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def _flush(folder: Path) -> None:
    """To the disk before the rename, so that a power cut cannot leave a named but empty one."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
