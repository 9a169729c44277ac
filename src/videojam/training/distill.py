"""Distilled guidance: one pass gives what guidance takes two or three for.

    L = E || u_s([x_u, d_u], y) - u~_t([x_u, d_u], y) ||^2

The teacher is the joint model that the run begins with, under guidance at fixed scales; the student
the same model with its LoRA on. It is then sampled with text_scale = motion_scale = 0, half of
plain classifier-free guidance's passes. After Meng et al. 2023 (arXiv 2210.03142), their first
stage, for Inner-Guidance.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.guidance.branches import Branch, combine
from videojam.guidance.inner import GuidanceSettings
from videojam.joint.denoiser import Denoiser, Predict
from videojam.joint.latents import join, split
from videojam.joint.noising import Level
from videojam.joint.text import Text
from videojam.objective import LossParts, Objective, sample_sigma
from videojam.rng import generator
from videojam.training.step import MicroBatch, on_device, sample_noise

_STEPS = 1000  # that a share of the sampling steps is read in


def distilled_loss(
    student: Any,
    teacher: Any,
    batch: MicroBatch,
    null_text: Text,
    guidance: GuidanceSettings,
    objective: Objective,
    denoiser: Denoiser,
    seed: int,
    device: torch.device | str = "cpu",
) -> LossParts:
    """Mean squared errors to the guided prediction, at noise levels and noises of the training.

    student: what `teacher` is to the optimiser (wrapped for several processes); teacher: the model
    itself, whose LoRA is off while it teaches.
    """
    density, shift = denoiser.family.density, denoiser.shift(batch.x.shape[2:])
    draws = [generator(seed, "sigma", number) for number in batch.numbers]
    sigma = torch.cat([sample_sigma(objective, density, shift, draw) for draw in draws])
    level = denoiser.level(sigma.to(device))
    x, d = (
        level.seen(
            half.to(device), sample_noise(half, seed, f"noise-{name}", batch.numbers).to(device)
        )
        for name, half in (("x", batch.x), ("d", batch.d))
    )
    noised, text = join(x, d), on_device(batch.text, device)
    nothing = on_device([null_text] * len(batch.text), device)
    steps = [step_of(float(one), shift if objective.flow_shift is None else objective.flow_shift)
             for one in sigma]  # fmt: skip
    with torch.no_grad(), lora_off(teacher):
        target = guided(denoiser.of(teacher), noised, level, text, nothing, guidance, steps)
    found, wanted = split(denoiser.of(student)(noised, level, text).float()), split(target)
    appearance = torch.mean((found.x - wanted.x) ** 2)
    motion = torch.mean((found.d - wanted.d) ** 2)
    return LossParts((appearance + motion) / 2, appearance, motion)


def guided(
    predict: Predict,
    noised: Float[Tensor, "b c2 t h w"],
    level: Level,
    text: Text,
    null_text: Text,
    guidance: GuidanceSettings,
    steps: list[int],
) -> Float[Tensor, "b c2 t h w"]:
    """The guided prediction of a batch whose samples are at different steps, of 1000."""
    halves = split(noised)
    without = join(halves.x, torch.zeros_like(halves.d))
    weights = [guidance.weights(step, _STEPS) for step in steps]
    predictions = {
        branch: predict(
            noised if branch.has_motion else without, level, text if branch.has_text else null_text
        )
        for branch in Branch
        if any(branch in own for own in weights)
    }
    return torch.stack(
        [
            combine({branch: predictions[branch][place] for branch in own}, own)
            for place, own in enumerate(weights)
        ]
    )


def step_of(sigma: float, shift: float) -> int:
    """The sampling step, of 1000, at which a schedule with this shift is at a noise level:
    sigma = s u / (1 + (s - 1) u) at the share 1 - u of the steps."""
    u = sigma / (shift - (shift - 1) * sigma)
    return min(_STEPS - 1, max(0, int((1 - u) * _STEPS)))


@contextmanager
def lora_off(model: Any) -> Iterator[None]:
    """Within, the model is the one that the LoRA was put on."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    # enable_adapters() would also switch requires_grad, which wrappers of the model look at.
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False
