"""A loss that can be compared between steps and runs: fixed noises at fixed noise levels."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import Accelerator

from videojam.joint.denoiser import Denoiser
from videojam.training.step import MicroBatch, losses_at


def validation_losses(
    transformer: Any,
    held_out: Sequence[Callable[[], MicroBatch]],
    sigmas: tuple[float, ...],
    denoiser: Denoiser,
    joint: bool = True,
    device: torch.device | str = "cpu",
    engine: Accelerator | None = None,
    reader: tuple[int, int] = (0, 1),
) -> dict[str, float]:
    """Mean losses over held-out samples: appearance and motion, per noise level and in the mean.

    held_out: reads a batch; readers take turns. engine: of a run of several processes. reader:
    which of how many this process is one of. All call the model equally often, as a sharded one
    needs, so some repeat a batch, which then does not count.

    Noise is keyed by (sample number, level) with a seed of its own, not the run's: any two runs
    on the same data can be compared. No dropouts. Keys: "appearance", "motion",
    "appearance@0.5", ...
    """
    halves = ("appearance", "motion") if joint else ("appearance",)
    me, readers = reader
    sums = torch.zeros(len(sigmas), len(halves), dtype=torch.float64)
    count = 0
    training = transformer.training
    transformer.eval()
    with torch.no_grad():
        for turn in range(0, len(held_out), readers):
            mine = turn + me
            batch = held_out[min(mine, len(held_out) - 1)]()
            size = len(batch.numbers)
            counts = size if mine < len(held_out) else 0
            count += counts
            for level, sigma in enumerate(sigmas):
                levels = torch.full((size,), sigma, device=device)
                parts = losses_at(
                    transformer, batch, levels, denoiser,
                    seed=level, stream="validation", joint=joint, device=device,
                )  # fmt: skip
                for place, half in enumerate(halves):
                    sums[level, place] += getattr(parts, half).item() * counts
    transformer.train(training)
    totals = torch.cat([sums.flatten(), torch.tensor([float(count)])])
    if engine is not None:
        reduced: Any = engine.reduce(totals.float().to(engine.device), "sum")
        totals = reduced.double().cpu()
    if not totals[-1]:
        return {}
    means = (totals[:-1] / totals[-1]).view(sums.shape)
    found = {
        f"{half}@{sigma:g}": float(means[level, place])
        for level, sigma in enumerate(sigmas)
        for place, half in enumerate(halves)
    }
    return found | {half: float(means[:, place].mean()) for place, half in enumerate(halves)}
