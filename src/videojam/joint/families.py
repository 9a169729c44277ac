"""The table of model families: all that differs between open video models is data.

A row says where a transformer's input and output projections are and in which order their rows
hold channels and patch positions. "fast" means that the channel index runs fastest in a
flattened patch, (patch, channel); "slow" means (channel, patch). Adding a model is adding a row
that passes tests/conformance (docs/adding_a_model.md).
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Order = Literal["conv", "fast", "slow"]


class Part(NamedTuple):
    """A group of channels of a projection. `double` ones get a motion twin, others (masks) do not.

    width: number of channels; None means the model's latent channels.
    """

    name: str
    width: int | None = None
    double: bool = True


LATENT = Part("latent")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFamily:
    """One row: one transformer class of diffusers."""

    transformer: str
    "Class name in diffusers."
    latent_channels: tuple[int, ...]
    "Latent channels C of the published checkpoints; 2C means that the model is already joint."
    in_modules: tuple[str, ...]
    "Full names of the modules that read latents."
    out_module: str
    "Full name of the Linear that writes latents."
    in_order: Order = "conv"
    "conv: channels are axis 1 of a convolution's weight; otherwise the in-features of a Linear."
    out_order: Literal["fast", "slow"]
    in_layout: tuple[Part, ...] = (LATENT,)
    "Channel groups of the input, in order, e.g. latent, condition, mask."
    out_layout: tuple[Part, ...] = (LATENT,)
    in_key: str = "in_channels"
    out_key: str = "out_channels"
    channel_dim: int = 1
    "Channel axis of the latents that the transformer takes."
    text_length: int = 512
    "Tokens to which the pipeline pads its prompts."
    flow_shift: float = 3.0
    "Default time shift in training, the one of the published sampling schedule."


FAMILIES: tuple[ModelFamily, ...] = (
    ModelFamily(  # Wan 2.1; Wan 2.2 A14B (two of them) and TI2V-5B (C = 48, a time per token)
        transformer="WanTransformer3DModel",
        latent_channels=(16, 48),
        in_modules=("patch_embedding",),
        out_module="proj_out",
        out_order="fast",
    ),
    ModelFamily(
        transformer="SkyReelsV2Transformer3DModel",
        latent_channels=(16,),
        in_modules=("patch_embedding",),
        out_module="proj_out",
        out_order="fast",
        flow_shift=8.0,
    ),
)


def family_of(transformer: Any) -> ModelFamily:
    """The row of a transformer, found by its class name. ValueError lists the known families."""
    return family_named(type(transformer).__name__)


def family_named(name: str) -> ModelFamily:
    """The row of a transformer class. ValueError lists the known families."""
    for family in FAMILIES:
        if family.transformer == name:
            return family
    known = ", ".join(family.transformer for family in FAMILIES)
    raise ValueError(
        f"no family is known for {name}; known: {known}. To add it, write one ModelFamily row in "
        "videojam/joint/families.py, or pass family=ModelFamily(...); docs/adding_a_model.md "
        "shows how to find its fields and test them"
    )
