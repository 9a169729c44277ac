"""Guidance's predictions in one batch, or one after the other: whichever is faster here.

    if faster_at_once(jam, sampling): sampling = replace(sampling, branches_at_once=True)

Small models are faster in one batch, large ones that fill the device with one clip are not, and it
takes the memory of several. Both ways make one step of the model at the size that is sampled.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from videojam.guidance.pipelines import inner_guidance
from videojam.joint.control import Control
from videojam.sampling.controls import check_controls, fitted_control
from videojam.sampling.generate import (
    VideoJAM,
    fitted_frames,
    guidance_scale,
    pipeline_for,
)
from videojam.sampling.pipeline import Sampling, sample_latents


def faster_at_once(
    jam: VideoJAM,
    sampling: Sampling,
    prompt: str = "",
    images: Sequence[Any] | None = None,
    last: Sequence[Any] | None = None,
    control: Control | None = None,
) -> bool:
    """Whether a step with all branches is faster in one batch, and fits into memory.

    sampling: with sizes set. images, last: one each, that a clip begins and ends with, and control:
    that it follows, where the model takes them.
    Twelve passes of the transformer with three branches: both ways twice, the first time to warm
    up. Raises ValueError as sampling does, for example with a cache, which one batch would mix.
    """
    step = replace(
        sampling, num_inference_steps=1, text_start=0.0, text_stop=1.0, motion_start=0.0,
        motion_stop=1.0, text_every=1, motion_every=1, settled_cosine=None,
    )  # fmt: skip
    if len(step.branches(1)) < 2:
        return False
    apart = min(_seconds(jam, step, prompt, images, last, control) for _ in range(2))
    step = replace(step, branches_at_once=True)
    try:
        return min(_seconds(jam, step, prompt, images, last, control) for _ in range(2)) < apart
    except torch.OutOfMemoryError:
        return False


def _seconds(
    jam: VideoJAM,
    step: Sampling,
    prompt: str,
    images: Sequence[Any] | None,
    last: Sequence[Any] | None,
    control: Control | None,
) -> float:
    count = 1 if images or control else step.batch_size
    pipe, frames = pipeline_for(jam.pipe, images, last, count, step)
    given = fitted_frames(None if frames is None else frames[0], step)
    check_controls(pipe, control and [control], 1, step)
    control = control and fitted_control(control, step)
    start = time.perf_counter()
    with inner_guidance(
        pipe, step, branches_at_once=step.branches_at_once, background=jam.info.background
    ):
        final = sample_latents(
            pipe, [(prompt, 0)] * count, step, guidance_scale(step), True, fps=jam.info.fps,
            given=given, background=jam.info.background, control=control,
        )  # fmt: skip
    final.cpu()  # waits for the device
    return time.perf_counter() - start
