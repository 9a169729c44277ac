"""How a model was taught to denoise: what it sees at a noise level, and what it predicts.

    seen(u)      = a z + b noise
    predicted(u) = p z + q noise,    at the model's time t

u in [0, 1] is the noise level that everything else here counts in: 0 is data, 1 is noise, and for
flow matching it is sigma. Each function gives (a, b, p, q, t) for a batch of levels. Both halves
of a joint latent share them. Inner-Guidance's weights add up to 1, so it does not depend on them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Level(NamedTuple):
    """Coefficients (B,) of the clean latents and the noise, and the model's time."""

    seen_clean: Tensor
    seen_noise: Tensor
    target_clean: Tensor
    target_noise: Tensor
    time: Tensor

    def seen(self, z: Tensor, noise: Tensor) -> Tensor:
        """The noised sample that the model is given."""
        return _mix(self.seen_clean, z, self.seen_noise, noise)

    def target(self, z: Tensor, noise: Tensor) -> Tensor:
        """The target that the model has to predict."""
        return _mix(self.target_clean, z, self.target_noise, noise)

    def clean(self, seen: Tensor, predicted: Tensor) -> Tensor:
        """The clean latents that a prediction stands for.

        Two equations, two unknowns. Not defined where both say the same, as for noise prediction
        at pure noise.
        """
        a, b, p, q = (_like(c, seen) for c in self[:4])
        return (q * seen - b * predicted) / (q * a - b * p)


Noising = Callable[[Float[Tensor, "b"], Any], Level]
"(noise levels u, the pipeline's scheduler) -> coefficients"


def flow_matching(u: Float[Tensor, "b"], scheduler: Any = None) -> Level:
    """diffusers' flow matching: (1 - u) z + u noise, predicts noise - z at time 1000 u.

    The paper's with t = 1 - u and the other sign.
    """
    return Level(1 - u, u, -torch.ones_like(u), torch.ones_like(u), 1000 * u)


def reversed_flow_matching(u: Float[Tensor, "b"], scheduler: Any = None) -> Level:
    """Mochi: the same path, predicts z - noise at time 1000 (1 - u)."""
    return Level(1 - u, u, torch.ones_like(u), -torch.ones_like(u), 1000 * (1 - u))


def v_prediction(u: Float[Tensor, "b"], scheduler: Any) -> Level:
    """CogVideoX: sqrt(A) z + sqrt(1 - A) noise, predicts sqrt(A) noise - sqrt(1 - A) z.

    A is the scheduler's alphas_cumprod at the whole time step floor(u n), n - 1 for u = 1.
    """
    a, b, time = _of_scheduler(u, scheduler)
    return Level(a, b, -b, a, time)


def noise_prediction(u: Float[Tensor, "b"], scheduler: Any) -> Level:
    """Allegro, Latte: sqrt(A) z + sqrt(1 - A) noise, predicts the noise (DDPM)."""
    a, b, time = _of_scheduler(u, scheduler)
    return Level(a, b, torch.zeros_like(a), torch.ones_like(a), time)


def edm(u: Float[Tensor, "b"], scheduler: Any) -> Level:
    """Cosmos 1: EDM's preconditioning of z + s noise, with s = u / (1 - u) of the data's size.

    So u stands for the same signal-to-noise ratio as in flow matching; the ends, where the time and
    the target are not defined, stand for what is just beside them.
    """
    data = scheduler.config.sigma_data
    s = data * u.clamp(min=1e-4) / (1 - u).clamp(min=1e-4)
    size = (s**2 + data**2).sqrt()
    skip, out = data**2 / size**2, s * data / size
    return Level(1 / size, s / size, (1 - skip) / out, -skip * s / out, 0.25 * s.log())


def _of_scheduler(u: Tensor, scheduler: Any) -> tuple[Tensor, Tensor, Tensor]:
    alphas = scheduler.alphas_cumprod.to(u.device, torch.float32)
    time = (u * len(alphas)).long().clamp(max=len(alphas) - 1)
    return alphas[time].sqrt(), (1 - alphas[time]).sqrt(), time


def _like(coefficient: Tensor, z: Tensor) -> Tensor:
    return coefficient.view(-1, *[1] * (z.ndim - 1))


def _mix(a: Tensor, z: Tensor, b: Tensor, noise: Tensor) -> Tensor:
    return _like(a, z) * z + _like(b, noise) * noise
