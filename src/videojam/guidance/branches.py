"""Branches: the predictions that guidance is a weighted sum of.

One joint model gives four predictions at a step, each with or without the text y and with or
without its own motion input d. Every guidance of the paper is a sum of them whose weights add up
to 1; so all of them share one guider and one pipeline hook, and an ablation is a row of weights.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import torch
from diffusers.hooks import ModelHook
from jaxtyping import Float
from torch import Tensor

from videojam.joint.family import ModelFamily
from videojam.joint.find_family import family_of, unwrapped
from videojam.joint.widen import is_widened


class Branch(StrEnum):
    """One prediction. The value also names the cache context that the branch runs under."""

    JOINT = "joint"
    "u([x, d], y)"
    NO_TEXT = "no_text"
    "u([x, d], 0)"
    NO_MOTION = "no_motion"
    "u([x, 0], y)"
    NEITHER = "neither"
    "u([x, 0], 0)"

    @property
    def has_text(self) -> bool:
        return self in (Branch.JOINT, Branch.NO_MOTION)

    @property
    def has_motion(self) -> bool:
        return self in (Branch.JOINT, Branch.NO_TEXT)


Number = float | int  # beartype, in the tests, does not take an int for a float
Weights = dict[Branch, Number]


def nonzero(weights: Weights) -> Weights:
    """Without the branches that need not be run."""
    return {branch: weight for branch, weight in weights.items() if weight}


@torch.compiler.disable()
def combine(
    predictions: Mapping[Branch, Float[Tensor, "*latent"]], weights: Weights
) -> Float[Tensor, "*latent"]:
    """The weighted sum of predictions, in float32 at least: weights of 9 and -5 cost bf16 bits.

    Raises ValueError if the predictions are not those that the weights name, or there is none.
    """
    if not weights or predictions.keys() != weights.keys():
        raise ValueError(
            f"predictions of {[*map(str, predictions)]} came for weights of "
            f"{[*map(str, weights)]}; run every branch that has a weight, and no other"
        )
    return torch.stack(
        [
            weight * predictions[branch].to(at_least_float32(predictions[branch].dtype))
            for branch, weight in weights.items()
        ]
    ).sum(0)


@torch.compiler.disable()
def without_motion(latents: Float[Tensor, "*latent"], transformer: Any) -> Tensor:
    """[x, d] -> [x, 0]: a copy with the motion channels of the transformer's input at zero.

    Latents come first in every family's input, so motion is channels C to 2C; the condition and
    mask channels that some families have after them stay.
    """
    family, C = joint_channels(transformer)
    zeroed = latents.clone()
    zeroed.narrow(family.channel_dim, C, C).zero_()
    return zeroed


class WithoutMotion(ModelHook):
    """Zeroes the motion channels of a transformer's next input, once.

    Once, so that a call that fails before the hook is removed leaves later calls untouched.
    """

    def __init__(self) -> None:
        super().__init__()
        self._armed = True

    def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        if self._armed:
            self._armed = False
            kwargs["hidden_states"] = without_motion(kwargs["hidden_states"], module)
        return args, kwargs


@torch.compiler.disable()
def joint_channels(transformer: Any) -> tuple[ModelFamily, int]:
    """The family of a joint transformer, and C, the channels of each half of its latents.

    Raises ValueError for a transformer of no known family, or one that is not widened.
    """
    if transformer is None:
        raise ValueError("the pipeline has no transformer; load it with one")
    transformer = unwrapped(transformer)
    family = family_of(transformer)
    if not is_widened(transformer, family):
        raise ValueError(
            f"this {type(transformer).__name__} is a base model, it predicts no motion; "
            "Inner-Guidance needs a joint one: load a VideoJAM folder, or train "
            "videojam.widen(transformer) first"
        )
    return family, transformer.config[family.out_key] // 2 // len(family.out_layout)


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The type that sums of predictions are made in."""
    return torch.promote_types(dtype, torch.float32)
