"""Muon for matrices and convolutions, AdamW for the rest, as one optimiser.

Training small models from nothing on a CPU is a matter of steps, and orthogonalised updates need
several times fewer of them than AdamW (docs/log.md). Both are torch's own; this joins them so that
schedules and checkpoints see a single optimiser whose state is keyed by the model's parameters.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


class Muon(torch.optim.Optimizer):
    """Parameters of two and more axes are stepped by torch.optim.Muon as matrices (axis 0, rest).

    One learning rate serves both: Muon's updates are scaled to the size of AdamW's. A matrix is
    orthogonalised as a whole, so one that is divided over processes is gathered for its update,
    alone; its momentum stays divided.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
    ) -> None:
        parameters = list(parameters)
        super().__init__(parameters, {"lr": lr})
        vectors = [p for p in parameters if p.ndim < 2]
        self._matrices = [p for p in parameters if p.ndim >= 2]
        self._matrix = torch.nn.Parameter(torch.zeros(1, 1))  # the one at work
        self._muon = torch.optim.Muon(
            [self._matrix],
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        self._adamw = torch.optim.AdamW(vectors, lr=lr, weight_decay=0.0) if vectors else None

    @torch.no_grad()
    def step(self, closure=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step of both at the current learning rate. Closures are not supported."""
        if closure is not None:
            raise ValueError("Muon takes no closure; call backward() before step()")
        rate = self.param_groups[0]["lr"]
        for inner in (self._muon, self._adamw):
            for group in inner.param_groups if inner is not None else ():
                group["lr"] = rate
        for parameter in self._matrices:
            if parameter.grad is not None:
                self._step_matrix(parameter)
        self._matrix.data, self._matrix.grad = torch.zeros(1, 1), None
        if self._adamw is not None:
            # The inner optimiser works on this one's state, which checkpoints save and restore.
            for parameter in self._adamw.param_groups[0]["params"]:
                self._adamw.state[parameter] = self.state[parameter]
            self._adamw.step()

    def _step_matrix(self, parameter: torch.nn.Parameter) -> None:
        gradient: Any = parameter.grad
        value = _whole(parameter.data)  # undivided, a view: stepping it steps the model
        self._matrix.grad = None
        self._matrix.data = value.view(value.shape[0], -1)
        self._matrix.grad = _whole(gradient).reshape(self._matrix.shape)
        state = {key: _whole(value) for key, value in self.state[parameter].items()}
        self._muon.state[self._matrix] = state
        self._muon.step()
        if isinstance(parameter.data, DTensor):
            parameter.data.copy_(_divided(value, parameter.data))
            state = {key: _divided(whole, parameter.data) for key, whole in state.items()}
        self.state[parameter] = state


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _divided(whole: Tensor, like: DTensor) -> DTensor:
    """This process's part of what all of them have, divided along axis 0 as `like` is."""
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)
