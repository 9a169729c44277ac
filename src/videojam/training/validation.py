"""A loss that can be compared between steps and runs: fixed noises at fixed noise levels."""

from collections.abc import Iterable
from typing import Any

import torch

from videojam.joint.denoiser import Denoiser
from videojam.training.step import MicroBatch, losses_at


def validation_losses(
    transformer: Any,
    batches: Iterable[MicroBatch],
    sigmas: tuple[float, ...],
    denoiser: Denoiser,
    joint: bool = True,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Mean losses over held-out samples: appearance and motion, per noise level and in the mean.

    Noise is keyed by (sample number, level) with a seed of its own, not the run's: any two runs
    on the same data can be compared. No dropouts. Keys: "appearance", "motion",
    "appearance@0.5", ...
    """
    sums: dict[str, float] = {}
    count = 0
    training = transformer.training
    transformer.eval()
    with torch.no_grad():
        for batch in batches:
            size = len(batch.numbers)
            count += size
            for level, sigma in enumerate(sigmas):
                levels = torch.full((size,), sigma, device=device)
                parts = losses_at(
                    transformer, batch, levels, denoiser,
                    seed=level, stream="validation", joint=joint, device=device,
                )  # fmt: skip
                for half in ("appearance", "motion") if joint else ("appearance",):
                    key = f"{half}@{sigma:g}"
                    sums[key] = sums.get(key, 0.0) + getattr(parts, half).item() * size
    transformer.train(training)
    means = {key: value / count for key, value in sums.items()}
    for half in ("appearance", "motion"):
        levels = [value for key, value in means.items() if key.startswith(f"{half}@")]
        if levels:
            means[half] = sum(levels) / len(levels)
    return means
