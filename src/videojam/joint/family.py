"""What a row of the table of model families says: the schema of `families.py`.

A row says where a transformer's input and output projections are and in which order their rows
hold channels and patch positions. "fast" means that the channel index runs fastest in a
flattened patch, (patch, channel); "slow" means (channel, patch). It also says how the family's
pipeline lays latents out, how the model was taught to denoise, and how it is guided.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from videojam.joint.layouts import CHANNELS_FIRST, Layout
from videojam.joint.noising import Noising, flow_matching

Order = Literal["fast", "slow"]
Passes = Literal["named", "in_turn", "batched", "guider"]
Image = Literal["", "concatenated", "blended"]
Prepare = Callable[..., tuple[Any, ...]]
"A pipeline's own prepare_latents, called as the pipeline calls it."

CHANNELS = "image_channels"
"Beside a text's inputs: channels after the latents (k, t, h, w), in place of the pipeline's own."


class Part(NamedTuple):
    """A group of channels of a projection. `double` ones get a motion twin, others (masks) do not.

    width: number of channels; None means the model's latent channels.
    """

    name: str
    width: int | None = None
    double: bool = True


LATENT = Part("latent")
CONDITION = Part("condition")
MASK = Part("mask", 1, double=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFamily:
    """One row: a transformer class with one layout of channels, and its pipelines."""

    transformer: str
    "Class name. Rows of one class are told apart by their layouts of channels, and by `marks`."
    marks: tuple[str, ...] = ()
    """Keys that are set in the config of this row's models alone, where channels do not tell; or
    "key=value", which it says."""
    pipelines: tuple[str, ...]
    "Class names of the pipelines that prepare, train and generate drive; () if none can be."
    guided_pipelines: tuple[str, ...] = ()
    "Further ones that inner_guidance() guides, called by hand."
    latent_channels: tuple[int, ...]
    "Latent channels C of the published checkpoints; 2C means that the model is already joint."

    in_modules: tuple[str, ...]
    "Full names of the modules that read latents."
    out_module: str
    "Full name of the Linear that writes latents."
    in_order: Order = "slow"
    "Of a Linear's in-features; in a convolution's weight channels are axis 1."
    out_order: Order
    in_layout: tuple[Part, ...] = (LATENT,)
    "Channel groups of the input, in order, e.g. latent, condition, mask."
    out_layout: tuple[Part, ...] = (LATENT,)
    in_key: str = "in_channels"
    out_key: str = "out_channels"
    key_counts_latents: bool = False
    "in_key counts the latents alone, without the other groups of in_layout."
    also_doubled: tuple[str, ...] = ()
    "Further keys of the config that count latent channels."

    layout: Layout = CHANNELS_FIRST
    "Of the latents that the transformer takes."
    own_pipeline_layout: Layout | None = None
    "Of the latents that the pipeline is given and gives back, where that is another."
    text_inputs: tuple[str, ...] = ("encoder_hidden_states",)
    "Arguments of the transformer that come from the prompt; kept in prepared datasets."
    time_inputs: tuple[str, ...] = ("timestep", "sigma")
    "Arguments of the transformer that say how noisy its input is, as far as it has them."
    sample_times: tuple[str, ...] = ()
    "Times that stay one for a sample where the tokens of a given first frame have their own."
    fixed_inputs: Mapping[str, Any] = field(default_factory=dict)
    "Arguments of the transformer that training sets otherwise than the pipeline."
    untrained: tuple[str, ...] = ()
    "Beginnings of names of modules that the video does not go through."
    noising: Noising = flow_matching
    density: Literal["uniform", "logit_normal"] = "logit_normal"
    "Of noise levels in training, before the shift."

    image: Image = ""
    """How a first frame is given: "concatenated" as channels after the latents, always; "blended"
    as the first frame of the latents, at time zero, if wanted. "" if it cannot be."""
    image_if: str = ""
    "Key of the pipeline's config that has to be set for it."
    last_image: Literal["", "may", "must"] = ""
    "Whether a last frame is given beside the first."
    image_pipeline: str = ""
    "The pipeline that takes an image, where `pipelines` take none."
    size_of_image: bool = False
    "The pipeline takes no height and width, and goes by its image's shape."
    image_layout: Layout | None = None
    "Of the latents that it is given, where that is another than the pipeline's."
    first_frame: Callable[[Any, Prepare, Any], Prepare] | None = None
    """What the pipeline's prepare_latents becomes where a frame or a control is given, for latents
    of 2C channels (first_frames.py)."""
    token_times: bool = True
    "A given first frame is told by a time for each token; otherwise the transformer knows of it."
    text_with_image: bool = False
    "The text encoder reads a caption together with the image; the null text is without one."
    null_arguments: Mapping[str, Any] = field(default_factory=dict)
    "Arguments that the pipeline makes the null text with, other than those of a prompt."
    image_inputs: tuple[str, ...] = ()
    "Arguments of the transformer that come from the image, where it takes them."

    control_inputs: tuple[str, ...] = ()
    """Arguments of the transformer that come from a control clip (control.py), or CHANNELS. They
    have no motion twin. () if it takes none."""
    control_arguments: tuple[str, str] = ("", "")
    "The pipeline's own names of a control clip and of its mask; empty where it takes no mask."
    control_always: bool = False
    "It does nothing without a control clip: an editor."

    passes: Passes = "named"
    """How the pipeline runs the pass with the prompt and the one without: one after the other under
    cache contexts "cond" and "uncond", in turn without contexts, in one batch (the one without
    first), or by a guider."""
    scale_argument: str | None = "guidance_scale"
    "The pipeline's argument for the scale of text guidance; None with a guider."
    scale_offset: float = 0.0
    "The pipeline guides with c + s (c - u), not u + s (c - u): 1 less for the same."
    arguments: Mapping[str, str] = field(default_factory=dict)
    "The pipeline's own names of num_frames, and of fps if it takes it."
    constants: Mapping[str, Any] = field(default_factory=dict)
    "Further arguments for the pipeline, always."
    refused: Mapping[str, str] = field(default_factory=dict)
    "Arguments of the pipeline that cannot be given, and why."
    for_all_samples: tuple[str, ...] = ()
    "Arguments of the transformer that are not of the batch, whatever their length."
    one_at_a_time: bool = False
    "The pipeline makes one video a call, and takes no lists of prompts or generators."
    pass_latents: bool = False
    "The pipeline takes the number of channels from the VAE, so noise has to be given."
    undoes_normalisation: bool = False
    "Final latents come as the VAE takes them, (b, c, t, h, w), even when latents were asked for."
    pixel_multiple: int = 1
    "Heights and widths have to be a multiple of it, beside what VAE and patches ask."
    limits: str = ""
    "What does not work, and why."

    @property
    def has_image(self) -> bool:
        """Whether its clips always begin with an image."""
        return bool(self.image) and not self.image_pipeline

    @property
    def runs_alone(self) -> bool:
        """Whether the stock pipeline makes joint latents without any help."""
        given = self.has_image or self.control_always
        return not (self.undoes_normalisation or (given and self.first_frame))

    @property
    def channel_dim(self) -> int:
        """Channel axis of the latents that the transformer takes."""
        return self.layout.channel_dim

    @property
    def pipeline_layout(self) -> Layout:
        """Layout of the latents that the pipeline is given and gives back."""
        return self.own_pipeline_layout or self.layout


def channels_of(config: Mapping[str, Any], family: ModelFamily) -> tuple[int, int]:
    """(in, out) channels that a transformer's config has under the row's keys."""
    return config[family.in_key], config[family.out_key] or config[family.in_key]


def expected_channels(family: ModelFamily, C: int, joint: bool) -> tuple[int, int]:
    """(in, out) channels in the config of a model with latents of C channels."""
    in_layout = (LATENT,) if family.key_counts_latents else family.in_layout
    return total_channels(in_layout, C, joint), total_channels(family.out_layout, C, joint)


def total_channels(layout: tuple[Part, ...], C: int, joint: bool) -> int:
    """Channels of all groups together."""
    return sum((part.width or C) * (2 if joint and part.double else 1) for part in layout)


def _is_marked(config: Mapping[str, Any], mark: str) -> bool:
    key, _, value = mark.partition("=")
    found = config.get(key)
    return found is not None and (not value or found == value)


def fits(config: Mapping[str, Any], family: ModelFamily) -> bool:
    """True if a config has the row's layout of channels, plain or joint, for latents of any C."""
    if family.in_key not in config or family.out_key not in config:
        return False
    if not all(_is_marked(config, mark) for mark in family.marks):
        return False
    found = channels_of(config, family)
    C = found[1] // len(family.out_layout)
    return found in (
        expected_channels(family, C, joint=False),
        expected_channels(family, C // 2, joint=True),
    )
