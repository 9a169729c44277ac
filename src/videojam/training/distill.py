"""Distilled guidance: one pass gives what guidance takes two or three for.

    L = E || u_s([x_u, d_u], y) - u~_t([x_u, d_u], y) ||^2 / || u~_t - u_t ||^2, of x and of d apart

The teacher is the joint model that the run begins with, under guidance at fixed scales; the student
the same model with its LoRA on. It is then sampled with text_scale = motion_scale = 0, half of
plain classifier-free guidance's passes. After Meng et al. 2023 (arXiv 2210.03142), their first
stage, for Inner-Guidance.

The loss is the share of the guidance that the student misses: 1 where it begins, 0 where one pass
gives all of it. Without the division nearly all of it is the motion half at high noise, where
guidance adds the predicted motion's own noise several times over, and appearance is not learned.
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
from videojam.training.step import MicroBatch, inputs_of, on_device, sample_noise

_STEPS = 1000  # that a share of the sampling steps is read in
_LEAST = 1e-3  # that guidance counts as adding, of the prediction's mean square


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
    """Shares of the guidance that are missed, at noise levels and noises of the training.

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
    noised, text = join(x, d), inputs_of(teacher, batch, denoiser, device=device)
    nothing = text | on_device([null_text] * len(batch.text), device)
    steps = [step_of(float(one), shift if objective.flow_shift is None else objective.flow_shift)
             for one in sigma]  # fmt: skip
    with torch.no_grad(), lora_off(teacher):
        joint, target = guided(denoiser.of(teacher), noised, level, text, nothing, guidance, steps)
    return share_missed(denoiser.of(student)(noised, level, text).float(), target, joint)


def share_missed(
    found: Float[Tensor, "b c2 t h w"],
    target: Float[Tensor, "b c2 t h w"],
    joint: Float[Tensor, "b c2 t h w"],
) -> LossParts:
    """|found - target|^2 / |target - joint|^2 of each half, the mean over samples."""
    halves = zip(split(found), split(target), split(joint), strict=True)
    parts = [
        torch.mean(_square(own - wanted) / _square(wanted - plain).clamp(_LEAST * _square(plain)))
        for own, wanted, plain in halves
    ]
    return LossParts((parts[0] + parts[1]) / 2, *parts)


def _square(z: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b"]:
    return z.square().mean((1, 2, 3, 4))


def guided(
    predict: Predict,
    noised: Float[Tensor, "b c2 t h w"],
    level: Level,
    text: Text,
    null_text: Text,
    guidance: GuidanceSettings,
    steps: list[int],
) -> tuple[Float[Tensor, "b c2 t h w"], Float[Tensor, "b c2 t h w"]]:
    """The joint and the guided prediction of a batch whose samples are at different steps, of
    1000."""
    halves = split(noised)
    without = join(halves.x, torch.zeros_like(halves.d))
    weights = [guidance.weights(step, _STEPS) for step in steps]
    predictions = {
        branch: predict(
            noised if branch.has_motion else without, level, text if branch.has_text else null_text
        )
        for branch in Branch
        if branch is Branch.JOINT or any(branch in own for own in weights)
    }
    found = [
        combine({branch: predictions[branch][place] for branch in own}, own)
        for place, own in enumerate(weights)
    ]
    return predictions[Branch.JOINT].float(), torch.stack(found)


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
