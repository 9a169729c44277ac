"""What a step costs: model FLOPs, utilisation, memory.

Model FLOPs are counted, not estimated: torch's FLOP counter over one forward pass (matrix
products, convolutions, attention), times three for forward and backward. Recomputed activations
do not count, so gradient checkpointing lowers the utilisation, as it should. The peak is measured
on this machine with a large matrix product in the run's precision; data-sheet peaks are higher.
"""

import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

_SHORT_SEQUENCE = 512  # tokens
_BACKWARD_FACTOR = 3  # one forward plus a backward pass of twice its products


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


def training_flops(forward: Callable[[], object]) -> int:
    """Model FLOPs of one forward and backward pass; runs `forward` once without gradients."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        forward()
    return _BACKWARD_FACTOR * counter.get_total_flops()


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
        tokens: int,
        micro_batches: int,
        device: torch.device,
        dtype: torch.dtype,
        processes: int,
    ) -> "Cost":
        """forward: of one micro-batch of `tokens` video tokens."""
        return cls(
            training_flops(forward) * micro_batches,
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
