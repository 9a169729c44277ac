"""A stock pipeline that starts in the middle: from a noised clip at step k of N.

The pipelines take no time steps, but they ask their scheduler for them. For the length of a call
the scheduler is a copy of the stock one whose schedule has lost its first k steps; the loop, the
solver and the guidance are the pipeline's own.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from videojam.guidance.pipelines import inner_guidance
from videojam.joint.find_family import family_of
from videojam.joint.first_call import blank_latents, first_call
from videojam.joint.noising import flow_matching
from videojam.joint.sizes import Size
from videojam.sampling.pipeline import Sampling, sample_latents


def continue_from(
    pipe: Any,
    clean: Float[Tensor, "b c t h w"],
    noise: Float[Tensor, "b c t h w"],
    prompts: Sequence[str],
    step: int,
    sampling: Sampling,
    joint: bool,
) -> Float[Tensor, "b c t h w"]:
    """Noise clean latents to `step` of sampling.num_inference_steps and sample the rest.

    clean, noise: of a joint pipeline both halves, which get the same noise level. Step 0 starts
    from the noise alone, as all of sampling does; the last one gives the clean latents back.
    Raises ValueError for a step outside of the schedule.
    """
    sigmas = schedule(pipe, sampling)
    if not 0 <= step < len(sigmas):
        raise ValueError(f"step is {step}, expected from 0 to {len(sigmas) - 1}")
    noised = flow_matching(sigmas[step].expand(len(clean)).to(clean)).seen(clean, noise)
    if step == len(sigmas) - 1:
        return noised
    guided = inner_guidance(pipe, remaining(sampling, step)) if joint else nullcontext()
    with starting_at(pipe, step), guided:
        return sample_latents(
            pipe,
            [(prompt, 0) for prompt in prompts],
            sampling,
            1 + sampling.text_scale,
            motion=joint,
            latents=noised,
        )


def schedule(pipe: Any, sampling: Sampling) -> Float[Tensor, "n"]:
    """Noise levels before each step, and the last one, 0, as the pipeline asks for them.

    sampling: with sizes set; some pipelines' schedules depend on them. Raises ValueError for a
    scheduler that does not take one step per level.
    """
    scheduler, stock, family = _copy(pipe.scheduler), pipe.scheduler, family_of(pipe.transformer)
    _check(pipe, scheduler)
    size = Size(**sampling.size)
    pipe.scheduler = _asked(scheduler, lambda _: None)
    try:
        start = blank_latents(pipe, family, pipe.transformer, 1, size)
        steps = {"num_inference_steps": sampling.num_inference_steps}
        first_call(pipe, family, pipe.transformer, [""], size, latents=start, **steps)
    finally:
        pipe.scheduler = stock
    return _levels(scheduler)


def schedule_of_steps(pipe: Any, num_inference_steps: int) -> Float[Tensor, "n"]:
    """The same of a pipeline that tells its scheduler the number of steps alone, without a call."""
    scheduler = _copy(pipe.scheduler)
    _check(pipe, scheduler)
    scheduler.set_timesteps(num_inference_steps)
    return _levels(scheduler)


def _check(pipe: Any, scheduler: Any) -> None:
    if not hasattr(scheduler, "sigmas") or family_of(pipe.transformer).noising is not flow_matching:
        raise _refused(scheduler)


def _levels(scheduler: Any) -> Tensor:
    sigmas = scheduler.sigmas
    one_each = scheduler.order == 1 and len(sigmas) == len(scheduler.timesteps) + 1
    if not (one_each and 0.9 < sigmas[0] <= 1 and sigmas[-1] == 0):
        raise _refused(scheduler)
    return sigmas


def _refused(scheduler: Any) -> ValueError:
    return ValueError(
        f"{type(scheduler).__name__} does not take one step for each noise level from 1 to 0; use "
        "a pipeline with a flow matching scheduler of order 1, such as UniPC or Euler"
    )


@contextmanager
def starting_at(pipe: Any, step: int) -> Iterator[None]:
    """Every call of the pipeline in the block leaves the first `step` steps out."""

    def leave_out(scheduler: Any) -> None:
        scheduler.timesteps = scheduler.timesteps[step:]
        scheduler.sigmas = scheduler.sigmas[step:]
        scheduler.num_inference_steps = len(scheduler.timesteps)

    stock, scheduler = pipe.scheduler, _asked(_copy(pipe.scheduler), leave_out)
    pipe.scheduler = scheduler
    try:
        yield
    finally:
        pipe.scheduler = stock


def remaining(sampling: Sampling, step: int) -> Sampling:
    """Guidance windows as shares of the steps that are left.

    The pipeline counts its steps from 0 again; each is guided as it is in a whole run. Raises
    ValueError for terms that are kept from steps before, which a part of a run has not.
    """
    if sampling.reuses:
        raise ValueError(
            "a run that begins in the middle has no terms of the steps before; leave text_every, "
            "motion_every and settled_cosine out"
        )
    total = sampling.num_inference_steps
    names = ("text_start", "text_stop", "motion_start", "motion_stop")
    # The rounding is that of GuidanceSettings.weights.
    ends = {name: math.floor(getattr(sampling, name) * total + 1e-9) for name in names}
    left = total - step
    return replace(sampling, **{k: min(1.0, max(0.0, (v - step) / left)) for k, v in ends.items()})


def _asked(scheduler: Any, then: Callable[[Any], None]) -> Any:
    """A scheduler that does something more whenever its time steps are set.

    Pipelines look at which arguments set_timesteps takes, so it keeps its signature. A deepcopy
    sets the steps of this one too.
    """
    set_timesteps = scheduler.set_timesteps

    @functools.wraps(set_timesteps)
    def asked(*args: Any, **options: Any) -> None:
        set_timesteps(*args, **options)
        then(scheduler)

    scheduler.set_timesteps = asked
    return scheduler


def _copy(scheduler: Any) -> Any:
    return type(scheduler).from_config(scheduler.config)
