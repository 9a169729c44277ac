"""The table of model families: all that differs between open video models is data.

A row says where a transformer's input and output projections are and in which order their rows
hold channels and patch positions. "fast" means that the channel index runs fastest in a
flattened patch, (patch, channel); "slow" means (channel, patch). It also says how the family's
pipeline lays latents out, how the model was taught to denoise, and how it is guided. Adding a
model is adding a row that passes tests/conformance (docs/adding_a_model.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from videojam.joint.layouts import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    FRAMES_FIRST,
    TOKENS,
    Layout,
)
from videojam.joint.noising import (
    Noising,
    edm,
    flow_matching,
    noise_prediction,
    reversed_flow_matching,
    v_prediction,
)

Order = Literal["fast", "slow"]
Passes = Literal["named", "in_turn", "batched", "guider"]


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
    """One row: one transformer class of diffusers and its text-to-video pipeline."""

    transformer: str
    "Class name in diffusers."
    pipelines: tuple[str, ...]
    "Class names of the pipelines that prepare, train and generate drive; () if none can be."
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

    layout: Layout = CHANNELS_FIRST
    "Of the latents that the transformer takes and the pipeline works on."
    text_inputs: tuple[str, ...] = ("encoder_hidden_states",)
    "Arguments of the transformer that come from the prompt; kept in prepared datasets."
    fixed_inputs: Mapping[str, Any] = field(default_factory=dict)
    "Arguments of the transformer that training sets otherwise than the pipeline."
    untrained: tuple[str, ...] = ()
    "Beginnings of names of modules that the video does not go through."
    noising: Noising = flow_matching
    density: Literal["uniform", "logit_normal"] = "logit_normal"
    "Of noise levels in training, before the shift."

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
    pass_latents: bool = False
    "The pipeline takes the number of channels from the VAE, so noise has to be given."
    undoes_normalisation: bool = False
    "Final latents come as the VAE takes them, (b, c, t, h, w), even when latents were asked for."
    pixel_multiple: int = 1
    "Heights and widths have to be a multiple of it, beside what VAE and patches ask."
    limits: str = ""
    "What does not work, and why."

    @property
    def channel_dim(self) -> int:
        """Channel axis of the latents that the transformer takes."""
        return self.layout.channel_dim


FAMILIES: tuple[ModelFamily, ...] = (
    ModelFamily(  # Wan 2.1; Wan 2.2 A14B (two of them) and TI2V-5B (C = 48, a time per token)
        transformer="WanTransformer3DModel",
        pipelines=("WanPipeline",),
        latent_channels=(16, 48, 3),  # 3: pixels, of the scanline experiments
        in_modules=("patch_embedding",),
        out_module="proj_out",
        out_order="fast",
    ),
    ModelFamily(  # the paper's own (models/moviegen.py)
        transformer="MovieGenTransformer3DModel",
        pipelines=("WanPipeline",),
        latent_channels=(16,),
        in_modules=("patch_embedding",),
        out_module="proj_out",
        out_order="fast",
    ),
    ModelFamily(
        transformer="SkyReelsV2Transformer3DModel",
        pipelines=("SkyReelsV2Pipeline",),
        latent_channels=(16,),
        in_modules=("patch_embedding",),
        out_module="proj_out",
        out_order="fast",
    ),
    ModelFamily(  # CogVideoX 2B and 5B (a convolution), 1.5 (a Linear, patches of two frames)
        transformer="CogVideoXTransformer3DModel",
        pipelines=("CogVideoXPipeline",),
        latent_channels=(16,),
        in_modules=("patch_embed.proj",),
        out_module="proj_out",
        in_order="slow",
        out_order="slow",
        layout=FRAMES_FIRST,
        noising=v_prediction,
        density="uniform",
        passes="batched",
    ),
    ModelFamily(
        transformer="MochiTransformer3DModel",
        pipelines=("MochiPipeline",),
        latent_channels=(12,),
        in_modules=("patch_embed.proj",),
        out_module="proj_out",
        out_order="fast",
        text_inputs=("encoder_hidden_states", "encoder_attention_mask"),
        noising=reversed_flow_matching,
        passes="batched",
    ),
    ModelFamily(  # distilled guidance as an input, and a true one beside it
        transformer="HunyuanVideoTransformer3DModel",
        pipelines=("HunyuanVideoPipeline",),
        latent_channels=(16,),
        in_modules=("x_embedder.proj",),
        out_module="proj_out",
        out_order="slow",
        text_inputs=("encoder_hidden_states", "encoder_attention_mask", "pooled_projections"),
        scale_argument="true_cfg_scale",
    ),
    ModelFamily(
        transformer="HunyuanVideo15Transformer3DModel",
        pipelines=("HunyuanVideo15Pipeline",),
        latent_channels=(32,),
        in_modules=("x_embedder.proj",),
        out_module="proj_out",
        out_order="slow",
        in_layout=(LATENT, CONDITION, MASK),
        text_inputs=(
            "encoder_hidden_states",
            "encoder_attention_mask",
            "encoder_hidden_states_2",
            "encoder_attention_mask_2",
        ),
        passes="guider",
        scale_argument=None,
        pass_latents=True,
    ),
    ModelFamily(
        transformer="LTXVideoTransformer3DModel",
        pipelines=("LTXPipeline",),
        latent_channels=(128,),
        in_modules=("proj_in",),
        out_module="proj_out",
        in_order="slow",
        out_order="slow",
        layout=TOKENS,
        text_inputs=("encoder_hidden_states", "encoder_attention_mask"),
        passes="batched",
        arguments={"fps": "frame_rate"},
    ),
    ModelFamily(
        transformer="AllegroTransformer3DModel",
        pipelines=("AllegroPipeline",),
        latent_channels=(4,),
        in_modules=("pos_embed.proj",),
        out_module="proj_out",
        out_order="fast",
        text_inputs=("encoder_hidden_states", "encoder_attention_mask"),
        noising=noise_prediction,
        density="uniform",
        passes="batched",
        constants={"clean_caption": False},
        limits=(
            "its VAE works in tiles alone: clips of 24 + 16n frames, and heights and widths that "
            "its tiles of 320 pixels fill"
        ),
    ),
    ModelFamily(
        transformer="SanaVideoTransformer3DModel",
        pipelines=("SanaVideoPipeline",),
        latent_channels=(16, 128),
        in_modules=("patch_embedding",),
        out_module="proj_out",
        out_order="fast",
        text_inputs=("encoder_hidden_states", "encoder_attention_mask"),
        passes="batched",
        arguments={"num_frames": "frames"},
        constants={"use_resolution_binning": False},
        pixel_multiple=32,
    ),
    ModelFamily(
        transformer="MotifVideoTransformer3DModel",
        pipelines=("MotifVideoPipeline",),
        latent_channels=(16,),
        in_modules=("x_embedder.proj",),
        out_module="proj_out",
        out_order="slow",
        in_layout=(LATENT, CONDITION, MASK),
        text_inputs=("encoder_hidden_states", "encoder_attention_mask"),
        passes="guider",
        scale_argument=None,
        pass_latents=True,
    ),
    ModelFamily(
        transformer="Kandinsky5Transformer3DModel",
        pipelines=("Kandinsky5T2VPipeline",),
        latent_channels=(16,),
        in_modules=("visual_embeddings.in_layer",),
        out_module="out_layer.out_layer",
        in_order="fast",
        out_order="slow",
        in_layout=(LATENT, CONDITION, MASK),
        in_key="in_visual_dim",
        out_key="out_visual_dim",
        key_counts_latents=True,
        layout=CHANNELS_LAST,
        text_inputs=("encoder_hidden_states", "pooled_projections"),
        passes="in_turn",
        limits=(
            "prompts are not masked, so train with batch_size 1 and gradient_accumulation, and a "
            "clip depends on the prompts that are sampled beside it"
        ),
    ),
    ModelFamily(
        transformer="LTX2VideoTransformer3DModel",
        pipelines=("LTX2Pipeline",),
        latent_channels=(128,),
        in_modules=("proj_in",),
        out_module="proj_out",
        in_order="slow",
        out_order="slow",
        layout=TOKENS,
        text_inputs=(
            "encoder_hidden_states",
            "encoder_attention_mask",
            "audio_encoder_hidden_states",
            "audio_encoder_attention_mask",
        ),
        fixed_inputs={"isolate_modalities": True},
        untrained=("audio_", "video_to_audio", "video_a2v_cross_attn", "av_cross_attn"),
        passes="batched",
        arguments={"fps": "frame_rate"},
        constants={
            "audio_guidance_scale": 1.0,
            "guidance_rescale": 0.0,
            "audio_guidance_rescale": 0.0,
            "stg_scale": 0.0,
            "audio_stg_scale": 0.0,
            "modality_scale": 1.0,
            "audio_modality_scale": 1.0,
            "spatio_temporal_guidance_blocks": None,
        },
        undoes_normalisation=True,
        limits=(
            "the video half alone: trained without sound, sampled beside an unguided one; "
            "through videojam.VideoJAM, as its own pipeline undoes a normalisation of C channels"
        ),
    ),
    ModelFamily(  # Cosmos 1 text to world; Cosmos 2 and 2.5 start from an image or a video
        transformer="CosmosTransformer3DModel",
        pipelines=("CosmosTextToWorldPipeline",),
        latent_channels=(16,),
        in_modules=("patch_embed.proj",),
        out_module="proj_out",
        in_order="slow",
        out_order="fast",
        in_layout=(LATENT, MASK),
        key_counts_latents=True,
        noising=edm,
        passes="in_turn",
        scale_offset=1.0,
        arguments={"fps": "fps"},
    ),
    ModelFamily(
        transformer="LatteTransformer3DModel",
        pipelines=("LattePipeline",),
        latent_channels=(4,),
        in_modules=("pos_embed.proj",),
        out_module="proj_out",
        out_order="fast",
        out_layout=(LATENT, Part("variance")),
        noising=noise_prediction,
        density="uniform",
        passes="batched",
        arguments={"num_frames": "video_length"},
        constants={"clean_caption": False},
        limits=(
            "clips of exactly the 16 frames that it was made for; prompts are not masked, so train "
            "with batch_size 1 and gradient_accumulation; its pipeline cuts the null text to the "
            "length of the prompt, so a clip depends on the prompts that are sampled beside it"
        ),
    ),
    ModelFamily(
        transformer="EasyAnimateTransformer3DModel",
        pipelines=(),
        latent_channels=(16,),
        in_modules=("proj",),
        out_module="proj_out",
        out_order="slow",
        passes="batched",
        limits=(
            "widened only: its pipeline takes a prediction of 2C channels for a learned variance, "
            "and drops the motion half"
        ),
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
