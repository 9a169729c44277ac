"""The exponential moving average of the trained weights."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from videojam.training.config import TrainConfig


def average(config: TrainConfig, parameters: dict[str, torch.nn.Parameter]) -> Any | None:
    from diffusers.training_utils import EMAModel

    if config.ema_decay is None:
        return None
    return EMAModel(parameters.values(), decay=config.ema_decay)


@contextlib.contextmanager
def averaged(ema: Any | None, parameters: dict[str, torch.nn.Parameter]) -> Iterator[None]:
    """Within, the model holds the averaged weights, if there are any."""
    if ema is None:
        yield
        return
    kept = [parameter.detach().clone() for parameter in parameters.values()]
    ema.copy_to(parameters.values())
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters.values(), kept, strict=True):
                parameter.copy_(value)
