"""Muon for matrices and convolutions, AdamW for the rest, as one optimiser.

Training small models from nothing on a CPU is a matter of steps, and orthogonalised updates need
several times fewer of them than AdamW (docs/log.md). Both are torch's own; this joins them so that
schedules and checkpoints see a single optimiser whose state is keyed by the model's parameters.
"""

from collections.abc import Iterable

import torch


class Muon(torch.optim.Optimizer):
    """Parameters of two and more axes are stepped by torch.optim.Muon as matrices (axis 0, rest).

    One learning rate serves both: Muon's updates are scaled to the size of AdamW's.
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
        self._matrices = {p: torch.nn.Parameter(_as_matrix(p)) for p in parameters if p.ndim >= 2}
        self._muon = torch.optim.Muon(
            self._matrices.values(),
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
        # The inner optimisers work on this one's state, which checkpoints save and restore.
        for parameter, matrix in self._matrices.items():
            # Views share memory with the parameters, so stepping them steps the model. They are
            # taken anew because wrapping a model for several processes moves its parameters.
            matrix.data = _as_matrix(parameter)
            matrix.grad = None if parameter.grad is None else parameter.grad.reshape(matrix.shape)
            self._muon.state[matrix] = self.state[parameter]
        self._muon.step()
        for matrix in self._matrices.values():
            matrix.grad = None
        if self._adamw is not None:
            for parameter in self._adamw.param_groups[0]["params"]:
                self._adamw.state[parameter] = self.state[parameter]
            self._adamw.step()


def _as_matrix(parameter: torch.Tensor) -> torch.Tensor:
    return parameter.data.view(parameter.shape[0], -1)
