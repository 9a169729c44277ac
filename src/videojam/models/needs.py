"""What a training takes, by arithmetic: memory by part, disk, time. No weights are read.

Weights, gradients, optimiser and averages are sums over parameters and exact. Activations are an
estimate for blocks like Wan's (self-attention, attention to the text, feed-forward, gates), within
a quarter of what autograd keeps there (tests/models/test_needs.py); other blocks differ more. What
a device's libraries and its fragmented memory take comes on top: FREE of a card is left for them.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

GIB = 2**30
FREE = 0.08  # of a card
# Bytes of a number: of a frozen matrix at rest, without scales, and of an optimiser's moments.
_STORAGE = {"float8": 1.0, "int8": 1.0, "nf4": 0.5}
_MOMENTS = {"adamw": 8.0, "adamw8bit": 2 + 2 * 4 / 256, "muon": 4.0}
# Numbers that a block keeps for its backward pass, in widths of the model for each token, beside
# two of its feed-forward's hidden layer; those of a checkpointed block; what is worked with.
_KEPT = {"full": 35.0, "lora": 26.0}
_CHECKPOINTED, _AT_WORK = 1.0, 12.0


class Counts(NamedTuple):
    """Sizes of a model that is ready to be trained, in numbers."""

    trained: int
    matrices: int  # frozen, in the Linear layers of the blocks
    frozen: int  # all other frozen ones
    blocks: int
    block: int  # of the largest block
    products: int  # of the Linear layers in the blocks, LoRA left out
    width: int
    hidden: int  # of the feed-forward


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """How it is trained; names as in a training's configuration."""

    mode: str = "lora"
    precision: str = "bf16"
    gradient_checkpointing: bool = False
    optimiser: str = "adamw"
    optimiser_on_cpu: bool = False
    average: bool = False
    frozen_storage: str = "stored"
    offload_blocks: bool = False
    micro_batch: int = 1
    processes: int = 1
    sharded: bool = False
    context_parallel: int = 1

    @property
    def bytes(self) -> int:
        """Of a number in arithmetic."""
        return 2 if self.precision == "bf16" else 4


def count(model: torch.nn.Module) -> Counts:
    """The sizes of a model; its parameters say by requires_grad what is trained."""
    blocks = [b for c in model.children() if isinstance(c, torch.nn.ModuleList) for b in c]
    linears = {
        name: module
        for block in blocks
        for name, module in block.named_modules(prefix=str(id(block)))
        if isinstance(module, torch.nn.Linear) and ".lora_" not in name
    }
    widths = [linear.in_features for linear in linears.values()]
    width = max(set(widths), key=widths.count)
    hidden = [m.in_features for m in linears.values() if m.out_features == width]
    matrices = sum(m.weight.numel() for m in linears.values() if not m.weight.requires_grad)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    return Counts(
        trained=trained,
        matrices=matrices,
        frozen=total - trained - matrices,
        blocks=len(blocks),
        block=max(sum(p.numel() for p in block.parameters()) for block in blocks),
        products=sum(m.weight.numel() for m in linears.values()),
        width=width,
        hidden=max(hidden, default=width),
    )


def memory(counts: Counts, setup: Setup, tokens: int) -> dict[str, float]:
    """Bytes on each device by part, with so many video tokens in a sample."""
    parts = 1 / setup.processes if setup.sharded else 1.0
    trained = counts.trained * parts
    return {
        "weights": frozen_bytes(counts, setup) * parts + 4 * trained,
        "gradients": 4 * trained,
        "optimiser": 0.0 if setup.optimiser_on_cpu else moment_bytes(counts, setup) * parts,
        "average": 4 * trained * setup.average,
        "passing": passing_bytes(counts, setup),
        "activations": activation_bytes(counts, setup, tokens) / setup.context_parallel,
    }


def frozen_bytes(counts: Counts, setup: Setup) -> float:
    """matrices (s + scale) + others b: s bytes at rest, b in arithmetic.

    Scales: float32 for each row (int8), one byte for 64 numbers (nf4, scales quantised again).
    """
    b = setup.bytes
    if setup.offload_blocks:
        return float(counts.frozen * b)
    scale = {"int8": 4 / counts.width, "nf4": 1 / 64}.get(setup.frozen_storage, 0.0)
    at_rest = _STORAGE.get(setup.frozen_storage, float(b))
    return counts.matrices * (at_rest + scale) + counts.frozen * b


def moment_bytes(counts: Counts, setup: Setup) -> float:
    """trained m, m = 8 for two float32 moments, 2 and their scales in 8 bits, 4 for Muon's one."""
    return counts.trained * _MOMENTS[setup.optimiser]


def passing_bytes(counts: Counts, setup: Setup) -> float:
    """What is there for a while: blocks as they work, gradients under way, copies in bfloat16.

    Sharded: two gathered blocks, and the gradients of one if it is trained. Copies on every
    process: without checkpointing, bfloat16 copies of trained weights for the backward pass.
    Gradients are sent from where they lie.
    """
    block = float(counts.block * setup.bytes)
    if setup.sharded and setup.processes > 1:
        return 2 * block + (4 * counts.block if setup.mode == "full" else 0)
    copies = setup.precision == "bf16" and not setup.gradient_checkpointing
    apart = setup.frozen_storage == "float8" or setup.offload_blocks
    return 2 * counts.trained * copies + (block if apart else 0.0)


def activation_bytes(counts: Counts, setup: Setup, tokens: int) -> float:
    """tokens width b (n kept + 12), with checkpointing tokens width b (n + kept + 12).

    kept = 35 + 2 hidden / width (LoRA: 26), n blocks, b bytes.
    """
    kept = _KEPT[setup.mode] + 2 * counts.hidden / counts.width
    if setup.gradient_checkpointing:
        widths = _CHECKPOINTED * counts.blocks + kept + _AT_WORK
    else:
        widths = kept * counts.blocks + _AT_WORK
    return setup.micro_batch * tokens * counts.width * setup.bytes * widths


def checkpoint_bytes(counts: Counts, setup: Setup) -> float:
    """On disk: 4 trained (1 + average) + moments."""
    return 4 * counts.trained * (1 + setup.average) + moment_bytes(counts, setup)


def forward_flops(counts: Counts, tokens: int, text_tokens: int) -> float:
    """2 products tokens + 4 n width tokens (tokens + text): Linear layers, attention."""
    attention = 4 * counts.blocks * counts.width * tokens * (tokens + text_tokens)
    return 2.0 * counts.products * tokens + attention


def sample_flops(counts: Counts, setup: Setup, tokens: int, text_tokens: int) -> float:
    """All arithmetic for one sample of a step: three passes in full training, two with LoRA.

    Gradient checkpointing repeats the forward one.
    """
    passes = (3 if setup.mode == "full" else 2) + setup.gradient_checkpointing
    return passes * forward_flops(counts, tokens, text_tokens)


def generate_bytes(counts: Counts, tokens: int) -> float:
    """One pass without gradients in bfloat16: 2 numbers + 2 tokens 12 width."""
    numbers = counts.trained + counts.matrices + counts.frozen
    return 2.0 * numbers + 2 * tokens * _AT_WORK * counts.width


def card_bytes(text: str) -> float:
    """ "24GB" or "24" as bytes; cards' GB are 2^30. ValueError for anything else."""
    number: Any = text.upper().removesuffix("GB").removesuffix("GIB").strip()
    try:
        found = float(number)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ValueError(f"card is {text!r}, expected its memory, such as 24GB")
    return found * GIB


def sustained(tflops: float) -> float:
    """FLOP/s of a device that is said to do so many TFLOP/s. ValueError unless that is positive."""
    if not 0 < tflops < float("inf"):
        raise ValueError(f"tflops is {tflops}, expected a positive number, such as 400")
    return tflops * 1e12


def fits(parts: dict[str, float], card: float) -> bool:
    """True if so much lies on a card of so many bytes."""
    return sum(parts.values()) <= (1 - FREE) * card
