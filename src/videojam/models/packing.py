"""Weights in a quarter of their size: int8 rows with a scale each, for shipping small models.

A matrix W is stored as round(W / s), s = max|row| / 127; vectors stay float16. What is unpacked is
an ordinary state dict.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float, Int8
from safetensors.torch import load_file, save_file
from torch import Tensor

_SCALE = "//scale"  # appended to the name of a packed tensor


def quantise(weight: Float[Tensor, "rows *rest"]) -> tuple[Int8[Tensor, "rows *rest"], Tensor]:
    """int8 values and one float32 scale per row (axis 0): weight = values * scale."""
    flat = weight.detach().float().flatten(1)
    scale = flat.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    values = (flat / scale[:, None]).round().to(torch.int8)
    return values.view(weight.shape), scale


def save_packed(state: Mapping[str, Tensor], path: Path) -> None:
    """Matrices (two axes or more) as int8 rows, the rest as float16."""
    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.ndim >= 2:
            packed[name], packed[name + _SCALE] = quantise(tensor.cpu())
        else:
            packed[name] = tensor.detach().cpu().half() if tensor.is_floating_point() else tensor
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
            tensor = tensor.float() * scale.view(-1, *[1] * (tensor.ndim - 1))
        state[name] = tensor.float() if tensor.is_floating_point() else tensor
    return state
