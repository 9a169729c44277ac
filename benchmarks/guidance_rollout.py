"""Guided sampling of the scanline models step by step, with every branch in the open.

What the stock pipeline under inner_guidance() does (tests/guidance/test_guidance_benchmarks.py):
diffusers' Euler steps, branches in bfloat16 arithmetic.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from jaxtyping import Float, Int
from torch import Tensor

from videojam.evaluation.experiments.scanline.model import NULL_TEXT, predictor, text
from videojam.evaluation.experiments.scanline.settings import Sizes
from videojam.guidance.branches import Branch, combine
from videojam.guidance.inner import GuidanceSettings
from videojam.joint.latents import join, split
from videojam.joint.noising import flow_matching


class Step(NamedTuple):
    """One step of a batch: where it is, and what the model says there."""

    number: int
    sigma: float
    state: Float[Tensor, "n c f 1 w"]
    predictions: dict[Branch, Tensor]
    guided: Float[Tensor, "n c f 1 w"]


@torch.no_grad()
def rollout(
    model: Any,
    sizes: Sizes,
    captions: Int[Tensor, "n 2 3"],
    start: Float[Tensor, "n c f 1 w"],
    guidance: GuidanceSettings,
    num_steps: int,
    driver: Any = None,
    driven: Tensor | None = None,
) -> Iterator[Step]:
    """Steps of guided sampling from noise.

    driver: a model whose one prediction moves the samples that `driven` names, in place of the
    guided one (a student on its own way).
    """
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(num_steps)
    sigmas = [float(one) for one in scheduler.sigmas]
    words = text(sizes, captions)
    nothing = text(sizes, torch.full_like(captions, NULL_TEXT))
    state = start
    for number in range(num_steps):
        weights = guidance.weights(number, num_steps)
        predictions = {b: branch(model, b, state, sigmas[number], words, nothing) for b in weights}
        guided = combine(predictions, weights)
        yield Step(number, sigmas[number], state, predictions, guided)
        moved = guided
        if driver is not None and driven is not None:
            own = branch(driver, Branch.JOINT, state, sigmas[number], words, nothing)
            moved = torch.where(driven.view(-1, 1, 1, 1, 1), own, guided)
        state = state + (sigmas[number + 1] - sigmas[number]) * moved


def branch(
    model: Any, which: Branch, state: Tensor, sigma: float, words: Any, nothing: Any
) -> Float[Tensor, "n c f 1 w"]:
    """One prediction, in bfloat16 arithmetic."""
    halves = split(state)
    seen = state if which.has_motion else join(halves.x, torch.zeros_like(halves.d))
    level = flow_matching(torch.full((len(state),), sigma))
    with torch.autocast("cpu", torch.bfloat16):
        return predictor(model)(seen, level, words if which.has_text else nothing).float()
