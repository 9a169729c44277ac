"""A loss that can be compared between steps and runs: fixed noises at fixed noise levels."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.joint.families import ModelFamily
from videojam.joint.text import pad_text
from videojam.objective import joint_loss, plain_loss
from videojam.training.step import MicroBatch, predict_with, sample_noise


def validation_losses(
    transformer: Any,
    batches: Iterable[MicroBatch],
    sigmas: tuple[float, ...],
    family: ModelFamily,
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
    predict = predict_with(transformer)
    with torch.no_grad():
        for batch in batches:
            count += len(batch.numbers)
            text = pad_text(batch.text, family.text_length).to(device)
            for level, sigma in enumerate(sigmas):
                for name, value in _losses(
                    predict, batch, text, sigma, level, family, joint, device
                ).items():
                    key = f"{name}@{sigma:g}"
                    sums[key] = sums.get(key, 0.0) + value * len(batch.numbers)
    transformer.train(training)
    if count == 0:
        return {}
    means = {key: value / count for key, value in sums.items()}
    for half in ("appearance", "motion"):
        levels = [value for key, value in means.items() if key.startswith(f"{half}@")]
        if levels:
            means[half] = sum(levels) / len(levels)
    return means


def _losses(
    predict: Any,
    batch: MicroBatch,
    text: Float[Tensor, "b length width"],
    sigma: float,
    level: int,
    family: ModelFamily,
    joint: bool,
    device: torch.device | str,
) -> dict[str, float]:
    x = batch.x.to(device)
    levels = torch.full((x.shape[0],), sigma, device=device)
    noise_x = sample_noise(batch.x, level, "validation-x", batch.numbers).to(device)
    if not joint:
        loss = plain_loss(predict, x, text, sigma=levels, noise_x=noise_x)
        return {"appearance": loss.item()}
    parts = joint_loss(
        predict,
        x,
        batch.d.to(device),
        text,
        sigma=levels,
        noise_x=noise_x,
        noise_d=sample_noise(batch.d, level, "validation-d", batch.numbers).to(device),
        channel_dim=family.channel_dim,
    )
    return {"appearance": parts.appearance.item(), "motion": parts.motion.item()}
