"""Checkpoints of a run: trained weights, optimiser, EMA, step. safetensors and JSON, no pickle.

    step-00000250/weights/*.safetensors, optimiser/, ema/, state.json

PyTorch's distributed checkpoints: every process writes its part, and any number of processes reads
them. A checkpoint is written into a temporary folder and renamed, so it is complete or not there.
Data order and noise are functions of (seed, step), so the step is all they need.
"""

import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor

# A single process is no mistake. Not at each call: filters are not made for several threads.
warnings.filterwarnings("ignore", message="torch.distributed is disabled")

_PREFIX = "step-"
_EIGHT_BIT = ("state1", "state2", "absmax1", "absmax2", "qmap1", "qmap2")  # of bitsandbytes


class Unreadable(Exception):
    """A checkpoint that was damaged after it was written."""


class Snapshot(NamedTuple):
    """What a checkpoint holds: a process's part of one moment."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    "By the folder that they go into, and by name."
    state: dict[str, Any]


def snapshot(
    step: int,
    parameters: dict[str, torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    ema: Any | None,
) -> Snapshot:
    """What there is to save after `step`, not copied; called by every process.

    Raises FloatingPointError for weights that are not finite.
    """
    broken = _together([name for name, value in parameters.items() if not _is_finite(value)])
    if broken:
        raise FloatingPointError(
            f"{len(broken)} of {len(parameters)} trained tensors are not finite at step {step} "
            f"({broken[0]} is one), so they were not saved"
        )
    moments = _moments(parameters, optimiser)
    state: dict[str, Any] = {
        "step": step,
        "schedule": schedule.state_dict(),
        "optimiser_tensors": len(moments),
    }
    tensors: dict[str, dict[str, Tensor]] = {"weights": {**parameters}, "optimiser": moments}
    if ema is not None:
        tensors["ema"] = dict(zip(parameters, ema.shadow_params, strict=True))
        state["ema_step"] = ema.optimization_step
    tensors = {
        folder: {name: value.detach() for name, value in values.items()}
        for folder, values in tensors.items()
    }
    return Snapshot(step, tensors, state)


def write_checkpoint(
    folder: Path,
    taken: Snapshot,
    keep: int,
    keep_every: int = 0,
    group: dist.ProcessGroup | None = None,
) -> Path:
    """Write a checkpoint, then remove all but the newest `keep`; called by every process.

    keep_every: checkpoints of multiples of this many steps stay for good; 0 for none. group: by
    which processes agree, None for that of all. Raises OSError on all of them if one cannot write;
    what was there stays as it is.
    """
    target = folder / f"{_PREFIX}{taken.step:08d}"
    part = folder / f".{target.name}.part"

    def clear() -> None:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)

    def complete() -> None:
        (part / "state.json").write_text(json.dumps(taken.state))
        _flush(part)
        if target.exists():  # a resumed run repeats a step that a failure interrupted
            shutil.rmtree(target)
        part.rename(target)
        steps = [path for path in checkpoints(folder) if not keep_every or _step(path) % keep_every]
        for old in steps[:-keep]:
            shutil.rmtree(old)

    _by_first(clear, group)
    for name, tensors in taken.tensors.items():
        _write(part / name, tensors, group)
    _by_first(complete, group)
    return target


def save_checkpoint(
    folder: Path,
    step: int,
    parameters: dict[str, torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    ema: Any | None,
    keep: int,
) -> Path:
    """`snapshot` and `write_checkpoint`; raises what they do."""
    return write_checkpoint(folder, snapshot(step, parameters, optimiser, schedule, ema), keep)


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
    """Restore everything in place; returns the number of steps done. Called by every process.

    The learning rates are those that `schedule` was made with, at this step. Raises ValueError if
    the checkpoint is of a differently configured model, Unreadable (and nothing is changed) if a
    file of it is damaged.
    """
    state = _state(checkpoint)
    if (ema is not None) != ("ema_step" in state) or _names(checkpoint / "weights") != {
        *parameters
    }:
        raise ValueError(
            f"{checkpoint} was written by a run with another model, mode or EMA setting; resume "
            "with the settings in the run's config.json, or give a new --out"
        )
    weights = _read(checkpoint / "weights", parameters)
    saved = _read_moments(checkpoint / "optimiser", parameters)
    if sum(map(len, saved.values())) != state["optimiser_tensors"]:
        raise Unreadable(
            f"{checkpoint}/optimiser holds {sum(map(len, saved.values()))} tensors, expected "
            f"{state['optimiser_tensors']}"
        )
    shadow = None
    if ema is not None:
        shadow = _read(checkpoint / "ema", parameters)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
            if saved.get(name):
                optimiser.state[parameter] = saved[name]
        if ema is not None and shadow is not None:
            for name, value in zip(parameters, ema.shadow_params, strict=True):
                value.copy_(shadow[name])
            ema.optimization_step = state["ema_step"]
    # A learning rate that was changed since holds from here on.
    schedule.load_state_dict(state["schedule"] | {"base_lrs": schedule.base_lrs})
    with warnings.catch_warnings():  # it would rather be asked for the last rate, which is another
        warnings.simplefilter("ignore")
        rates = schedule.get_lr()
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule._last_lr = rates
    return state["step"]


def load_weights(
    checkpoint: Path,
    parameters: dict[str, torch.nn.Parameter],
    which: Literal["auto", "averaged", "last"] = "auto",
) -> None:
    """The trained weights of a checkpoint in place, for a new run or an export.

    which: averaged ones where there are some, averaged, or as trained last. Raises ValueError for
    another model, no checkpoint, or no averages.
    """
    if not (checkpoint / "state.json").is_file():
        raise ValueError(
            f"{checkpoint} is no checkpoint; give a folder such as RUN/checkpoints/step-00001000"
        )
    averaged = checkpoint / "ema"
    if which == "averaged" and not averaged.is_dir():
        raise ValueError(f"{checkpoint} has no averaged weights: the run had no ema_decay")
    source = averaged if averaged.is_dir() and which != "last" else checkpoint / "weights"
    if _names(source) != {*parameters}:
        raise ValueError(
            f"{checkpoint} has weights of another model, mode or LoRA rank than this run trains"
        )
    for name, value in _read(source, parameters).items():
        with torch.no_grad():
            parameters[name].copy_(value)


def _write(folder: Path, tensors: dict[str, Tensor], group: dist.ProcessGroup | None) -> None:
    writer = dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    alone = not dist.is_initialized()
    try:
        dcp.save(tensors, storage_writer=writer, process_group=group, no_dist=alone)
    except CheckpointException as error:
        raise OSError(f"{folder} cannot be written: {_reason(error)}") from None


def _read(folder: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of these names, divided over processes as `like` is."""
    values = {name: torch.empty_like(tensor).detach() for name, tensor in like.items()}
    reader = dcp.HuggingFaceStorageReader(str(folder))
    try:
        dcp.load(values, storage_reader=reader, no_dist=not dist.is_initialized())
    except CheckpointException as error:
        if "Size mismatch" in _reason(error):
            raise ValueError(
                f"{folder} has weights of another model, mode or LoRA rank than this run trains"
            ) from None
        raise Unreadable(f"{folder} cannot be read: {_reason(error)}") from None
    return values


def _read_moments(
    folder: Path, parameters: dict[str, torch.nn.Parameter]
) -> dict[str, dict[str, Any]]:
    """What an optimiser keeps of each parameter: of its shape, or one number."""
    like: dict[str, Tensor] = {}
    for key in _names(folder):
        name, _, what = key.rpartition("//")
        if name not in parameters:
            continue
        if what in _EIGHT_BIT:  # in a form of its own
            like[key] = _stored(folder, key)
            continue
        if what == "step":  # AdamW keeps it on the CPU
            like[key] = torch.zeros(())
        elif what == "momentum_buffer":  # Muon knows matrices alone
            like[key] = parameters[name].detach().flatten(1)
        else:
            like[key] = parameters[name]
    found: dict[str, dict[str, Any]] = {}
    for key, value in _read(folder, like).items():
        name, _, what = key.rpartition("//")
        # bitsandbytes counts with numbers.
        number = what == "step" and f"{name}//state1" in like
        found.setdefault(name, {})[what] = int(value) if number else value
    return found


def _stored(folder: Path, key: str) -> Tensor:
    """An empty tensor of the type and shape that one has in these files."""
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if key in file.keys():  # noqa: SIM118
                return torch.empty_like(file.get_tensor(key))
    raise Unreadable(f"{folder} has no {key}")


def _moments(
    parameters: dict[str, torch.nn.Parameter], optimiser: torch.optim.Optimizer
) -> dict[str, Tensor]:
    return {  # copied: bitsandbytes' tables are shared by all parameters, which no file can say
        f"{name}//{key}": torch.as_tensor(value).clone() if "map" in key else torch.as_tensor(value)
        for name, parameter in parameters.items()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def _names(folder: Path) -> set[str]:
    """Of all tensors in a folder."""
    from safetensors import SafetensorError, safe_open

    names: set[str] = set()
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                names |= {*file.keys()}
        except SafetensorError as error:
            raise Unreadable(f"{path} cannot be read: {error}") from None
    return names


def _state(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / "state.json"
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise Unreadable(f"{path} cannot be read: {error}") from None


def _reason(error: CheckpointException) -> str:
    """The last line of what went wrong on the first process that failed."""
    cause = next(iter(error.failures.values()))[0]
    return f"{type(cause).__name__}: {cause}"


def _is_finite(value: Tensor) -> bool:
    """Of this process's part."""
    local = value.to_local() if isinstance(value, DTensor) else value
    return bool(torch.isfinite(local.detach()).all())


def _together(names: list[str]) -> list[str]:
    """The names that any process has."""
    if not dist.is_initialized():
        return names
    found: list[list[str]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(found, names)
    return sorted({name for part in found for name in part})


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(_PREFIX))


def _by_first(action: Callable[[], None], group: dist.ProcessGroup | None) -> None:
    """Done by the first process, while the others wait; its OSError is everyone's."""
    if not dist.is_initialized():
        return action()
    failure: list[OSError | None] = [None]
    if dist.get_rank() == 0:
        try:
            action()
        except OSError as error:
            failure[0] = error
    dist.broadcast_object_list(failure, group=group)
    if failure[0] is not None:
        raise failure[0]


def _flush(folder: Path) -> None:
    """To the disk before the rename, so that a power cut cannot leave a named but empty one."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
