"""Several passes of a transformer in one batch, and its output in parts again."""

from typing import Any

import torch
from torch import Tensor


@torch.compiler.disable()
def in_one_batch(
    passes: list[dict[str, Any]], several: tuple[str, ...] = (), shared: tuple[str, ...] = ()
) -> dict[str, Any] | None:
    """The passes' inputs one after the other along the batch; None if their shapes differ.

    Tensors that are not of the batch (tables, scalars) are the same in all passes. several: names
    of those that may have several rows for each sample. shared: of those that are not of the batch,
    whatever their length.
    """
    count = len(passes[0]["hidden_states"])
    merged: dict[str, Any] = {}
    for name, value in passes[0].items():
        values = [one[name] for one in passes]
        of_batch = isinstance(value, Tensor) and value.ndim and len(value) == count
        of_batch = of_batch and name not in shared
        if not of_batch and not (isinstance(value, Tensor) and name in several):
            merged[name] = value
        elif len({one.shape for one in values}) > 1:
            return None
        else:
            merged[name] = torch.cat(values)
    return merged


@torch.compiler.disable()
def parts_of(
    prediction: Tensor, others: tuple[Any, ...], count: int
) -> list[tuple[Tensor, tuple[Any, ...]]]:
    """The output of one batch as that of `count` passes."""
    size = len(prediction)
    parts = [
        other.chunk(count) if isinstance(other, Tensor) and len(other) == size else [other] * count
        for other in others
    ]
    return [
        (part, tuple(other[place] for other in parts))
        for place, part in enumerate(prediction.chunk(count))
    ]
