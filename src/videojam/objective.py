"""The joint objective (paper, joint appearance-motion model).

    L = E || u+([x_t, d_t], y, t) - v+ ||^2,  v+ = [v_x, v_d]

One noise level for both halves, independent noises. What a model is shown at a level and what it
has to predict differs between families (joint/noising.py): mostly diffusers' flow matching, with
(1 - sigma) z + sigma noise and noise - z. The paper's t is 1 - sigma, its v has the other sign.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from videojam.joint.denoiser import Predict
from videojam.joint.image import GIVEN
from videojam.joint.latents import join, split
from videojam.joint.noising import Level
from videojam.joint.text import Text


class LossParts(NamedTuple):
    """Mean squared errors: total over all channels, and over each half (0-dim tensors).

    total = (appearance + motion) / 2: both halves have the same number of channels.
    """

    total: Tensor
    appearance: Tensor
    motion: Tensor


_MAX_DRAWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """The choices of the joint objective. Defaults are the paper's where it states them."""

    text_dropout: float = 0.3
    "Probability of the null text in place of the caption (paper)."
    motion_dropout: float = 0.2
    "Probability of zeros in place of the noised motion input (paper)."
    image_dropout: float | None = None
    """Probability of no image. None: 0 for models that always have one; 1, text to video alone, for
    those whose first frame may be given (Wan 2.2 TI2V)."""
    control_dropout: float | None = None
    """Probability of no control clip, for samples that have one. None: 0.1 (ours), so that the
    model goes on working without."""
    sigma_density: Literal["uniform", "logit_normal"] | None = None
    """Density of the noise level before the shift. None takes the family's: logit-normal(0, 1) for
    flow matching, as in Movie Gen, uniform for diffusion by steps."""
    logit_mean: float = 0.0
    logit_std: float = 1.0
    flow_shift: float | None = None
    "Time shift s: sigma -> s sigma / (1 + (s - 1) sigma); None takes that of the model's schedule."

    sigma_range: tuple[float, float] = (0.0, 1.0)
    "Noise levels outside of it are drawn again: an expert's share of them (Wan 2.2 A14B)."

    def __post_init__(self) -> None:
        for name in ("text_dropout", "motion_dropout"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}, expected a probability in [0, 1]")
        for name in ("image_dropout", "control_dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}, expected a probability in [0, 1], or none")
        if self.logit_std <= 0:
            raise ValueError(f"logit_std is {self.logit_std}, expected a positive number")
        low, high = self.sigma_range
        if not 0 <= low < high <= 1:
            raise ValueError(f"sigma_range is {self.sigma_range}, expected 0 <= low < high <= 1")
        if self.flow_shift is not None and self.flow_shift <= 0:
            raise ValueError(f"flow_shift is {self.flow_shift}, expected a positive number")


def sample_sigma(
    objective: Objective,
    density: Literal["uniform", "logit_normal"],
    flow_shift: float,
    draw: torch.Generator,
) -> Float[Tensor, "1"]:
    """One noise level in (0, 1): u of the density, then s u / (1 + (s - 1) u).

    density, flow_shift: the model's, where the objective has none.

    The density is diffusers'; the shift is FlowMatchEulerDiscreteScheduler's linear one.
    """
    from diffusers.training_utils import compute_density_for_timestep_sampling

    name = "none" if (objective.sigma_density or density) == "uniform" else "logit_normal"
    shift, (low, high) = objective.flow_shift or flow_shift, objective.sigma_range
    for _ in range(_MAX_DRAWS):
        u = compute_density_for_timestep_sampling(
            name, 1, objective.logit_mean, objective.logit_std, generator=draw
        )
        sigma = shift * u / (1 + (shift - 1) * u)
        if low <= sigma <= high:
            return sigma
    raise ValueError(
        f"of {_MAX_DRAWS} noise levels none was in sigma_range {objective.sigma_range}; take a "
        "wider range, or another density or shift"
    )


class FirstFrame(NamedTuple):
    """First frames that are given: free of noise, told time zero, and not learned.

    still: latents of no motion, the motion half of a given frame. given: of which samples.
    """

    still: Float[Tensor, "1 c 1 h w"]
    given: Bool[Tensor, "b"]

    def put(
        self, noised: Float[Tensor, "b c t h w"], clean: Float[Tensor, "_ c _ h w"]
    ) -> Float[Tensor, "b c t h w"]:
        """The first frame of clean latents in noised ones."""
        given = self.given.view(-1, 1, 1, 1, 1)
        first = torch.where(given, clean[:, :, :1].to(noised), noised[:, :, :1])
        return torch.cat([first, noised[:, :, 1:]], 2)


def joint_loss(
    predict: Predict,
    x: Float[Tensor, "b c t h w"],
    d: Float[Tensor, "b c t h w"],
    text: Text,
    *,
    level: Level,
    noise_x: Float[Tensor, "b c t h w"],
    noise_d: Float[Tensor, "b c t h w"],
    drop_motion: Bool[Tensor, "b"] | None = None,
    level_d: Level | None = None,
    first_frame: FirstFrame | None = None,
) -> LossParts:
    """The joint loss of one batch. All randomness comes in from outside.

    x, d: clean appearance and motion latents. text: the prompts, the null text where dropped.
    drop_motion: samples whose noised motion input is replaced by zeros; their target stays.
    level_d: noise level of the motion half, where it is another; the model is told that of x.
    first_frame: which samples are given theirs.
    """
    level_d = level_d or level
    noised_x, noised_d = level.seen(x, noise_x), level_d.seen(d, noise_d)
    if first_frame is not None:
        noised_x = first_frame.put(noised_x, x)
        noised_d = first_frame.put(noised_d, first_frame.still)
        text = text | {GIVEN: first_frame.given}
    if drop_motion is not None:
        noised_d = noised_d.masked_fill(drop_motion.view(-1, 1, 1, 1, 1), 0)
    prediction = split(predict(join(noised_x, noised_d), level, text))
    appearance = _mean_square(prediction.x, level.target(x, noise_x), first_frame)
    motion = _mean_square(prediction.d, level_d.target(d, noise_d), first_frame)
    return LossParts((appearance + motion) / 2, appearance, motion)


def plain_loss(
    predict: Predict,
    x: Float[Tensor, "b c t h w"],
    text: Text,
    *,
    level: Level,
    noise_x: Float[Tensor, "b c t h w"],
    first_frame: FirstFrame | None = None,
) -> Tensor:
    """The base model's own objective: what joint training is compared with (0-dim tensor)."""
    noised = level.seen(x, noise_x)
    if first_frame is not None:
        noised = first_frame.put(noised, x)
        text = text | {GIVEN: first_frame.given}
    return _mean_square(predict(noised, level, text), level.target(x, noise_x), first_frame)


def _mean_square(prediction: Tensor, target: Tensor, first_frame: FirstFrame | None) -> Tensor:
    """Mean squared error, in each sample over the frames that it is not given."""
    error = (prediction.float() - target.float()) ** 2
    if first_frame is None:
        return torch.mean(error)
    all_frames, others = error.mean((1, 2, 3, 4)), error[:, :, 1:].mean((1, 2, 3, 4))
    return torch.where(first_frame.given, others, all_frames).mean()
