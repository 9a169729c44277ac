"""Weights in a quarter of their size: int8 rows with a scale each, for shipping small models.

A matrix W is stored as round(W / s), s = max|row| / 127; float16 is for vectors, and for matrices
whose rows have a few values much larger than the rest. What is unpacked is an ordinary state dict.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float, Int8
from safetensors.torch import load_file, save_file
from torch import Tensor

_SCALE = "//scale"  # appended to the name of a packed tensor
_LOSS = 0.015  # of the norm of a tensor, at most


def quantise(weight: Float[Tensor, "rows *rest"]) -> tuple[Int8[Tensor, "rows *rest"], Tensor]:
    """int8 values and one float32 scale per row (axis 0): weight = values * scale."""
    flat = weight.detach().float().flatten(1)
    scale = flat.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    values = (flat / scale[:, None]).round().to(torch.int8)
    return values.view(weight.shape), scale


def save_packed(state: Mapping[str, Tensor], path: Path) -> None:
    """Matrices as int8 rows where that loses under 1.5 %, the rest as float16."""
    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point() and tensor.ndim >= 2:
            values, scale = quantise(tensor)
            if (_rows(values, scale) - tensor).norm() <= _LOSS * tensor.norm():
                packed[name], packed[name + _SCALE] = values, scale
                continue
        packed[name] = tensor.half() if tensor.is_floating_point() else tensor
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in packed.items()}, path)


def load_packed(path: Path) -> dict[str, Tensor]:
    """The state dict again, float32."""
    packed = load_file(path)
    state = {}
    for name, tensor in packed.items():
        if name.endswith(_SCALE):
            continue
        scale = packed.get(name + _SCALE)
        if scale is not None:
            tensor = _rows(tensor, scale)
        state[name] = tensor.float() if tensor.is_floating_point() else tensor
    return state


def _rows(values: Tensor, scale: Tensor) -> Tensor:
    return values.float() * scale.view(-1, *[1] * (values.ndim - 1))
