"""What a step costs: model FLOPs, utilisation, memory.

Model FLOPs are counted, not estimated: torch's FLOP counter over one forward pass (matrix
products, convolutions, attention). The backward pass takes as much again for the gradients of
inputs, and for the gradients of weights as much as the modules whose weights are trained: three
times the forward pass in full training, near twice with LoRA. Recomputed activations do not count,
so gradient checkpointing lowers the utilisation, as it should. The peak is measured
on this machine with a large matrix product in the run's precision; data-sheet peaks are higher.
"""

import contextlib
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from videojam.models.needs import sustained

_SHORT_SEQUENCE = 512  # tokens


@contextlib.contextmanager
def attention_kernel(device: torch.device, tokens: int) -> Iterator[None]:
    """Within, short sequences on a CPU attend by plain products.

    There the fused kernel's backward pass takes several times as long (docs/log.md).
    """
    if device.type == "cpu" and tokens <= _SHORT_SEQUENCE:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    else:
        yield


def training_flops(forward: Callable[[], object], model: torch.nn.Module) -> int:
    """Model FLOPs of one forward and backward pass; runs `forward` twice without gradients.

    forward: calls `model`, whose parameters say by requires_grad what is trained. The first of two
    calls may ask a text encoder what its inputs look like (first_call.py), no part of a step.
    Frozen modules that no trained one comes before are counted with a gradient, which they do not
    need.
    """
    with torch.no_grad():
        forward()
    frozen = 0
    counter = FlopCounterMode(display=False, custom_mapping=_quantised_products())

    def before(*_: object) -> None:
        started.append(counter.get_total_flops())

    def after(*_: object) -> None:
        nonlocal frozen
        frozen += counter.get_total_flops() - started.pop()

    started: list[int] = []
    hooks = []
    for module in model.modules():
        weights = [*module.parameters(recurse=False)]
        leaf = next(module.children(), None) is None
        if leaf and weights and not any(weight.requires_grad for weight in weights):
            hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        with torch.no_grad(), counter:
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return 3 * counter.get_total_flops() - frozen


def _quantised_products() -> dict[Any, Any]:
    """FLOPs of bitsandbytes' kernels (frozen.py), which torch does not know, where it is in use."""
    if "bitsandbytes" not in sys.modules:
        return {}
    names = ("gemm_4bit", "gemv_4bit", "int8_linear_matmul", "int8_scaled_mm")
    return {getattr(torch.ops.bitsandbytes, name): _product_flops for name in names}


def _product_flops(left: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
    """2 m k n of an (m, k) by (k, n) product."""
    return 2 * math.prod(left) * out_shape[-1]


def peak_flops(device: torch.device, dtype: torch.dtype, seconds: float = 0.3) -> float:
    """The best FLOP/s of a square matrix product found in this time."""
    size = 8192 if device.type == "cuda" else 1024
    a = torch.randn(size, size, device=device).to(dtype)
    best, deadline = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < deadline or best == float("inf"):
        start = time.perf_counter()
        torch.matmul(a, a)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def sustained_flops(
    tflops: float | None, device: torch.device, dtype: torch.dtype, share: float
) -> tuple[float, str]:
    """FLOP/s that the device is taken to sustain, and in words where that is from.

    tflops: stated; None for a share of a matrix product's rate, measured now.
    """
    if tflops is not None:
        return sustained(tflops), "stated"
    words = f"{share:.0%} of a matrix product's on this {device.type}"
    return share * peak_flops(device, dtype), words


def peak_memory_gib(device: torch.device) -> float:
    """Highest memory of this process so far: allocated on the GPU, resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one optimiser step on one process."""

    flops: int
    tokens: int
    peak: float
    processes: int

    @classmethod
    def measure(
        cls,
        forward: Callable[[], object],
        model: torch.nn.Module,
        tokens: int,
        micro_batches: int,
        device: torch.device,
        dtype: torch.dtype,
        processes: int,
    ) -> "Cost":
        """forward: of one micro-batch of `tokens` video tokens, by `model`."""
        return cls(
            training_flops(forward, model) * micro_batches,
            tokens * micro_batches,
            peak_flops(device, dtype),
            processes,
        )

    def figures(self, seconds: float, device: torch.device) -> dict[str, float]:
        return {
            "steps_per_s": 1 / seconds,
            "tokens_per_s": self.tokens * self.processes / seconds,
            "model_flop_utilisation": self.flops / seconds / self.peak,
            "peak_memory_gib": peak_memory_gib(device),
        }
