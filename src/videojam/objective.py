"""The joint objective (paper, joint appearance-motion model).

    L = E || u+([x_t, d_t], y, t) - v+ ||^2,  v+ = [v_x, v_d]

One sigma for both halves, independent noises. Inside this project sigma is the noise level of
diffusers' flow matching: z_sigma = (1 - sigma) z + sigma noise, the prediction is noise - z and
the model's time step is 1000 sigma. The paper's t is 1 - sigma and its v has the other sign.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from videojam.joint.latents import join, split

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"(joint noised latents, sigma (B,), text embeddings) -> joint prediction"


class LossParts(NamedTuple):
    """Mean squared errors: total over all channels, and over each half (0-dim tensors).

    total = (appearance + motion) / 2: both halves have the same number of channels.
    """

    total: Tensor
    appearance: Tensor
    motion: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """The choices of the joint objective. Defaults are the paper's where it states them."""

    text_dropout: float = 0.3
    "Probability of the null text in place of the caption (paper)."
    motion_dropout: float = 0.2
    "Probability of zeros in place of the noised motion input (paper)."
    sigma_density: Literal["uniform", "logit_normal"] = "logit_normal"
    "Density of the noise level before the shift; logit-normal(0, 1) as in Movie Gen."
    logit_mean: float = 0.0
    logit_std: float = 1.0
    flow_shift: float | None = None
    "Time shift s: sigma -> s sigma / (1 + (s - 1) sigma); None takes the family's own."

    def __post_init__(self) -> None:
        for name in ("text_dropout", "motion_dropout"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}, expected a probability in [0, 1]")
        if self.logit_std <= 0:
            raise ValueError(f"logit_std is {self.logit_std}, expected a positive number")
        if self.flow_shift is not None and self.flow_shift <= 0:
            raise ValueError(f"flow_shift is {self.flow_shift}, expected a positive number")


def sample_sigma(
    objective: Objective, flow_shift: float, draw: torch.Generator
) -> Float[Tensor, "1"]:
    """One noise level in (0, 1): u of the density, then s u / (1 + (s - 1) u).

    The density is diffusers'; the shift is FlowMatchEulerDiscreteScheduler's linear one.
    """
    from diffusers.training_utils import compute_density_for_timestep_sampling

    density = "none" if objective.sigma_density == "uniform" else objective.sigma_density
    u = compute_density_for_timestep_sampling(
        density, 1, objective.logit_mean, objective.logit_std, generator=draw
    )
    shift = objective.flow_shift or flow_shift
    return shift * u / (1 + (shift - 1) * u)


def add_noise(
    z: Float[Tensor, "b *rest"], noise: Float[Tensor, "b *rest"], sigma: Float[Tensor, "b"]
) -> Float[Tensor, "b *rest"]:
    """z_sigma = (1 - sigma) z + sigma noise (the paper's path with t = 1 - sigma)."""
    sigma = sigma.view(-1, *[1] * (z.ndim - 1))
    return (1 - sigma) * z + sigma * noise


def velocity(
    z: Float[Tensor, "b *rest"], noise: Float[Tensor, "b *rest"]
) -> Float[Tensor, "b *rest"]:
    """The target in diffusers' sign: noise - z (the paper's v with the other sign)."""
    return noise - z


def joint_loss(
    predict: Predict,
    x: Float[Tensor, "b *rest"],
    d: Float[Tensor, "b *rest"],
    text: Float[Tensor, "b length width"],
    *,
    sigma: Float[Tensor, "b"],
    noise_x: Float[Tensor, "b *rest"],
    noise_d: Float[Tensor, "b *rest"],
    drop_motion: Bool[Tensor, "b"] | None = None,
    channel_dim: int = 1,
) -> LossParts:
    """The joint loss of one batch. All randomness comes in from outside.

    x, d: clean appearance and motion latents. text: embeddings, the null text where dropped.
    drop_motion: samples whose noised motion input is replaced by zeros; their target stays.
    """
    noised_x = add_noise(x, noise_x, sigma)
    noised_d = add_noise(d, noise_d, sigma)
    if drop_motion is not None:
        noised_d = torch.where(
            drop_motion.view(-1, *[1] * (d.ndim - 1)), torch.zeros_like(noised_d), noised_d
        )
    prediction = split(predict(join(noised_x, noised_d, channel_dim), sigma, text), channel_dim)
    appearance = torch.mean((prediction.x.float() - velocity(x, noise_x).float()) ** 2)
    motion = torch.mean((prediction.d.float() - velocity(d, noise_d).float()) ** 2)
    return LossParts((appearance + motion) / 2, appearance, motion)


def plain_loss(
    predict: Predict,
    x: Float[Tensor, "b *rest"],
    text: Float[Tensor, "b length width"],
    *,
    sigma: Float[Tensor, "b"],
    noise_x: Float[Tensor, "b *rest"],
) -> Tensor:
    """The base model's own objective: what joint training is compared with (0-dim tensor)."""
    prediction = predict(add_noise(x, noise_x, sigma), sigma, text)
    return torch.mean((prediction.float() - velocity(x, noise_x).float()) ** 2)
