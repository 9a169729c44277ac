"""Optimisers and schedules by their names in the configuration."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from videojam.joint.family import ModelFamily
from videojam.joint.widen import projection_names
from videojam.training.config import TrainConfig
from videojam.training.muon import Muon


def make_optimiser(
    config: TrainConfig, parameters: dict[str, torch.nn.Parameter], family: ModelFamily
) -> torch.optim.Optimizer:
    """The projections are a group of their own where they have a rate of their own."""
    settings: dict[str, Any] = {"lr": config.rate, "weight_decay": config.weight_decay}
    if config.optimiser == "muon":
        return Muon(parameters.values(), **settings)
    groups: list[dict[str, Any]] = [{"params": [], "lr": config.rate}]
    names = projection_names(family) if config.projection_rate != 1 else ()
    if names:
        groups.append({"params": [], "lr": config.rate * config.projection_rate})
    for name, parameter in parameters.items():
        groups[name.startswith(tuple(f"{n}." for n in names))]["params"].append(parameter)
    if config.optimiser == "adamw8bit":
        from bitsandbytes.optim import AdamW8bit

        return AdamW8bit(groups, **settings)
    if config.optimiser_on_cpu:
        return AdamWOnCPU(groups, fused=config.fused, **settings)
    return torch.optim.AdamW(groups, fused=config.fused or None, **settings)


def make_schedule(config: TrainConfig, optimiser: torch.optim.Optimizer) -> Any:
    from diffusers.optimization import get_scheduler

    return get_scheduler(
        config.lr_schedule,
        optimiser,
        num_warmup_steps=config.warmup_steps,
        num_training_steps=config.steps,
    )


class AdamWOnCPU(torch.optim.Optimizer):
    """AdamW whose moments and arithmetic are on the CPU, for parameters on a device.

    A step moves gradients there and weights both ways. Its state is keyed by the model's
    parameters, as checkpoints expect it.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], **settings: Any) -> None:
        super().__init__(groups, {"lr": settings["lr"]})
        self._copies = {
            parameter: torch.nn.Parameter(parameter.detach().to("cpu", copy=True))
            for group in self.param_groups
            for parameter in group["params"]
        }
        inner = [
            group | {"params": [self._copies[p] for p in group["params"]]}
            for group in self.param_groups
        ]
        self._adamw = torch.optim.AdamW(inner, **settings)

    @torch.no_grad()
    def step(self, closure=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step at the current learning rates. Closures are not supported."""
        if closure is not None:
            raise ValueError("AdamWOnCPU takes no closure; call backward() before step()")
        for group, inner in zip(self.param_groups, self._adamw.param_groups, strict=True):
            inner["lr"] = group["lr"]
        for parameter, copy in self._copies.items():
            copy.copy_(parameter)  # as it is now: a checkpoint may have been loaded
            copy.grad = None if parameter.grad is None else parameter.grad.to("cpu")
            state = {key: _on_cpu(value) for key, value in self.state[parameter].items()}
            self.state[parameter] = self._adamw.state[copy] = state
        self._adamw.step()
        for parameter, copy in self._copies.items():
            parameter.copy_(copy)
            copy.grad = None


def _on_cpu(value: Any) -> Any:
    return value.to("cpu") if isinstance(value, Tensor) else value
