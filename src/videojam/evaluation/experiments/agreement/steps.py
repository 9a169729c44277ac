"""Looking into a run of a stock pipeline: the clean latents that it predicts at its steps."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor


@contextmanager
def clean_predictions(pipe: Any, steps: Collection[int]) -> Iterator[dict[int, Tensor]]:
    """Step -> z - sigma v, for one call of the pipeline in the block; v is noise - data.

    v is what the scheduler is given, after all guidance, z the latents and sigma the noise level
    that it was made at. Float32 on the CPU. For schedulers of flow matching, whose `sigmas` hold
    those of the steps in order. Raises ValueError if a second call starts in the block.
    """
    scheduler = pipe.scheduler
    step = scheduler.step
    seen: dict[int, Tensor] = {}
    number = 0

    def observed(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any):
        nonlocal number
        if number >= len(scheduler.timesteps):
            raise ValueError(
                f"step {number} of a run of {len(scheduler.timesteps)}: clean_predictions sees one "
                "call of the pipeline; use a block for each"
            )
        if number in steps:
            sigma = float(scheduler.sigmas[number])
            seen[number] = (sample.float() - sigma * model_output.float()).cpu()
        number += 1
        return step(model_output, timestep, sample, *args, **kwargs)

    scheduler.step = observed
    try:
        yield seen
    finally:
        del scheduler.step  # the class's own is there again


def spread_steps(num_points: int, num_steps: int) -> list[int]:
    """Steps from the first to the last, evenly spread, without repeats."""
    if num_points < 2:
        return [num_steps - 1]
    places = (place * (num_steps - 1) / (num_points - 1) for place in range(num_points))
    return sorted({round(place) for place in places})
