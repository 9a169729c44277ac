"""How the frozen weights of a LoRA training lie in memory, so that a large base fits a small card.

int8 and nf4 are bitsandbytes' own layers, which PEFT puts LoRA on. float8 and offloading keep each
weight elsewhere, in another type or place, but while its block is at work. The backward pass keeps
weights as they were used, so the latter two need gradient checkpointing, which uses blocks again.

diffusers' layerwise casting and group offloading do as much for inference. In training the first
casts the trained projections too, and the second moves trained weights away from their gradients.
"""

import importlib.util
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from videojam.training.config import TrainConfig


def check_storage(config: TrainConfig, device: torch.device) -> None:
    """ValueError for a setting that this machine cannot do, before anything is made."""
    needs = [
        f"frozen_storage {config.frozen_storage}" * (config.frozen_storage in ("int8", "nf4")),
        "optimiser adamw8bit" * (config.optimiser == "adamw8bit"),
    ]
    for need in filter(None, needs):
        if importlib.util.find_spec("bitsandbytes") is None:
            raise ValueError(f'{need} needs bitsandbytes; pip install "videojam[small]"')
    if device.type != "cpu":
        return
    for asked, name in (
        (config.offload_blocks, "offload_blocks"),
        (config.optimiser_on_cpu, "optimiser_on_cpu"),
    ):
        if asked:
            raise ValueError(f"{name} is for a device with memory of its own, and this run is on a "
                             "CPU: everything is there already; leave it out")  # fmt: skip


def is_apart(config: TrainConfig) -> bool:
    """True if the base is not simply moved to the device as it was loaded."""
    return config.frozen_storage != "stored" or config.offload_blocks


def quantise(model: torch.nn.Module, storage: str, device: torch.device) -> None:
    """The Linear layers inside the blocks in 8 or 4 bits, in place, one after the other.

    storage: int8 (a scale for each row) or nf4 (a scale for each 64).
    """
    for block in blocks_of(model):
        for parent in [*block.modules()]:
            for name, child in [*parent.named_children()]:
                if type(child) is torch.nn.Linear:
                    setattr(parent, name, _quantised(child, storage).to(device))


def _quantised(linear: torch.nn.Linear, storage: str) -> torch.nn.Module:
    import bitsandbytes

    bnb: Any = bitsandbytes  # whose classes are not typed
    sizes = (linear.in_features, linear.out_features, linear.bias is not None)
    # Both quantise when they are moved to a device, the CPU included.
    if storage == "int8":
        made: Any = bnb.nn.Linear8bitLt(*sizes, has_fp16_weights=False)
        made.weight = bnb.nn.Int8Params(
            linear.weight.data, requires_grad=False, has_fp16_weights=False
        )
    else:
        made = bnb.nn.Linear4bit(*sizes, compute_dtype=torch.bfloat16, quant_type="nf4")
        made.weight = bnb.nn.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4")
    if linear.bias is not None:
        made.bias = torch.nn.Parameter(linear.bias.data, requires_grad=False)
    return made


def keep_apart(
    model: torch.nn.Module,
    device: torch.device,
    matrix_dtype: torch.dtype | None = None,
    offload: bool = False,
) -> None:
    """Move the model to a device, but for frozen weights of blocks that are not at work.

    matrix_dtype: of frozen matrices between uses, None as they are. offload: all frozen weights of
    the blocks lie in the machine's memory between uses. A block computes in the types it had.
    """
    apart: set[Tensor] = set()
    for block in blocks_of(model):
        apart |= _keep_block(block, device, matrix_dtype, offload)
    for module in model.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor not in apart:
                tensor.data = tensor.data.to(device)


def _keep_block(
    block: torch.nn.Module, device: torch.device, matrix_dtype: torch.dtype | None, offload: bool
) -> set[Tensor]:
    matrices = {m.weight for m in block.modules() if isinstance(m, torch.nn.Linear)}
    frozen = [p for p in block.parameters() if not p.requires_grad]
    kept: list[tuple[Tensor, Tensor, torch.dtype]] = []
    for weight in frozen:
        dtype = matrix_dtype if matrix_dtype and weight in matrices else weight.dtype
        value = weight.data.to("cpu" if offload else device, dtype)
        pinned = value.pin_memory() if offload and device.type == "cuda" else value
        kept.append((weight, pinned, weight.dtype))

    def bring(*_: Any) -> None:
        for weight, value, dtype in kept:
            weight.data = value.to(device, non_blocking=True).to(dtype)

    def put_away(*_: Any) -> None:
        for weight, value, _dtype in kept:
            weight.data = value

    put_away()
    block.register_forward_pre_hook(bring)
    block.register_forward_hook(put_away, always_call=True)
    return {*frozen}


def blocks_of(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The transformer's blocks: what its lists of modules hold."""
    for child in model.children():
        if isinstance(child, torch.nn.ModuleList):
            yield from child
