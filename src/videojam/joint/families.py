"""The table of model families: all that differs between open video models is data.

A row (`family.py` says what it holds) is found by the class of a transformer and its layout of
channels. Adding a model is adding a row that passes tests/conformance (docs/adding_a_model.md), in
this table or, by `register_family`, from outside.
"""

import functools
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

from videojam.joint.family import CHANNELS, CONDITION, LATENT, MASK, ModelFamily, Part
from videojam.joint.first_frames import concatenated, hunyuan, ltx, ltx_2, lucy, wan
from videojam.joint.layouts import CHANNELS_FIRST, CHANNELS_LAST, FRAMES_FIRST, TOKENS
from videojam.joint.noising import edm, noise_prediction, reversed_flow_matching, v_prediction

_WAN_IMAGE = ModelFamily(  # [x | mask | condition], of which x alone gets a motion twin
    transformer="WanTransformer3DModel",
    pipelines=("WanImageToVideoPipeline",),
    latent_channels=(16,),
    in_modules=("patch_embedding",),
    out_module="proj_out",
    out_order="fast",
    in_layout=(LATENT, Part("mask", 4, double=False), Part("condition", double=False)),
    pass_latents=True,
    image="concatenated",
    image_inputs=("encoder_hidden_states_image",),
)
_COGVIDEOX = ModelFamily(  # 2B and 5B (a convolution), 1.5 (a Linear, patches of two frames)
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
)

_HUNYUAN = ModelFamily(  # distilled guidance as an input, and a true one beside it
    transformer="HunyuanVideoTransformer3DModel",
    pipelines=("HunyuanVideoPipeline",),
    latent_channels=(16,),
    in_modules=("x_embedder.proj",),
    out_module="proj_out",
    out_order="slow",
    text_inputs=("encoder_hidden_states", "encoder_attention_mask", "pooled_projections"),
    scale_argument="true_cfg_scale",
)
_HUNYUAN_15 = ModelFamily(
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
)
_HALF_IS_THE_IMAGE: dict[str, Any] = {  # [x | latents of the image, and zeros]
    "in_layout": (LATENT, Part("condition", double=False)),
    "pass_latents": True,
    "one_at_a_time": True,
    "image": "concatenated",
    "first_frame": concatenated,
    "limits": (
        "through videojam.VideoJAM or inner_guidance(), as its own pipeline takes half of the "
        "input's channels for those of the image"
    ),
}

FAMILIES: tuple[ModelFamily, ...] = (
    ModelFamily(  # Wan 2.1; Wan 2.2 A14B (two of them) and TI2V-5B (C = 48, a time per token)
        transformer="WanTransformer3DModel",
        pipelines=("WanPipeline",),
        latent_channels=(16, 48, 3),  # 3: pixels, of the scanline experiments
        in_modules=("patch_embedding",),
        out_module="proj_out",
        out_order="fast",
        image="blended",
        image_if="expand_timesteps",  # of TI2V-5B
        image_pipeline="WanImageToVideoPipeline",
        first_frame=wan,
    ),
    # Wan image to video: with two images' embeddings (FLF2V), with one's (2.1), with none (2.2).
    replace(_WAN_IMAGE, marks=("image_dim", "pos_embed_seq_len"), last_image="must"),
    replace(_WAN_IMAGE, marks=("image_dim",)),
    replace(_WAN_IMAGE, last_image="may"),
    replace(
        _WAN_IMAGE,
        transformer="SkyReelsV2Transformer3DModel",
        pipelines=("SkyReelsV2ImageToVideoPipeline",),
    ),
    replace(
        _WAN_IMAGE,  # an editor: the way from an image to what it becomes
        transformer="ChronoEditTransformer3DModel",
        pipelines=("ChronoEditPipeline",),
        passes="in_turn",
        constants={"enable_temporal_reasoning": True, "num_temporal_reasoning_steps": 1_000_000},
        limits=(
            "the whole way from the image to the edited one is made, at full length in all steps; "
            "its shortcut, which goes on with the two ends alone, is off"
        ),
    ),
    ModelFamily(  # Lucy-Edit: [x | latents of the clip to be edited]
        transformer="WanTransformer3DModel",
        pipelines=("LucyEditPipeline",),
        latent_channels=(48,),
        in_modules=("patch_embedding",),
        out_module="proj_out",
        out_order="fast",
        in_layout=(LATENT, Part("condition", double=False)),
        pass_latents=True,
        one_at_a_time=True,
        control_inputs=(CHANNELS,),
        control_arguments=("video", ""),
        control_always=True,
        first_frame=lucy,
        limits=(
            "trained on pairs: the column control of the captions names the clip that a clip is an "
            "edit of; through videojam.VideoJAM or inner_guidance(), as its own pipeline expects "
            "as many channels of the clip as of latents"
        ),
    ),
    # What a control becomes has no motion twin, so the projection that reads it stays as it is. The
    # blocks behind it see it together with the tokens of [x, d], and what they say is added to
    # these tokens: a control acts on both halves, and the base's answer to it is left as it was.
    ModelFamily(
        transformer="WanVACETransformer3DModel",
        pipelines=("WanVACEPipeline",),
        latent_channels=(16,),
        in_modules=("patch_embedding",),
        out_module="proj_out",
        out_order="fast",
        one_at_a_time=True,
        control_inputs=("control_hidden_states",),
        control_arguments=("video", "mask"),
        for_all_samples=("control_hidden_states_scale",),
        refused={
            "reference_images": "they are frames before the clip, for which there is no motion half"
        },
    ),
    ModelFamily(  # a flow map: told where from and where to; trained with both times equal
        transformer="AnyFlowTransformer3DModel",
        pipelines=("AnyFlowPipeline",),
        latent_channels=(16,),
        in_modules=("patch_embedding",),
        out_module="proj_out",
        out_order="fast",
        layout=FRAMES_FIRST,
        own_pipeline_layout=CHANNELS_FIRST,
        time_inputs=("timestep", "r_timestep"),
        passes="batched",
        limits=(
            "training with equal times fits the velocity; what it does to the map over long steps "
            "was not measured"
        ),
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
    _COGVIDEOX,
    replace(_COGVIDEOX, pipelines=("CogVideoXImageToVideoPipeline",), **_HALF_IS_THE_IMAGE),
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
    _HUNYUAN,
    replace(
        _HUNYUAN,  # image to video by a first frame that is replaced
        marks=("image_condition_type",),
        pipelines=("HunyuanVideoImageToVideoPipeline",),
        passes="in_turn",
        pass_latents=True,
        one_at_a_time=True,
        image="blended",
        first_frame=hunyuan,
        token_times=False,
        text_with_image=True,
        null_arguments={"image_embed_interleave": 2},
        limits="one caption a video, and prepared anew where captions are corrected",
    ),
    replace(
        _HUNYUAN,
        marks=("image_condition_type",),
        pipelines=(),
        in_layout=(LATENT, Part("condition", double=False), MASK),
        limits=(
            "widened only: its pipeline cuts off the first latent frame of what it gives; the "
            "newer HunyuanVideo-I2V, whose first frame is replaced, can be run"
        ),
    ),
    replace(
        _HUNYUAN,  # SkyReels V1
        pipelines=("HunyuanSkyreelsImageToVideoPipeline",),
        passes="in_turn",
        **_HALF_IS_THE_IMAGE,
    ),
    _HUNYUAN_15,
    replace(
        _HUNYUAN_15,
        marks=("task_type=i2v",),
        pipelines=("HunyuanVideo15ImageToVideoPipeline",),
        in_layout=(LATENT, Part("condition", double=False), MASK),
        image="concatenated",
        image_inputs=("image_embeds",),
        size_of_image=True,
        limits=(
            "its pipeline takes a size from a list by the image's shape; through videojam.VideoJAM "
            "it is any. With image dropout train with micro_batch_size 1: the transformer knows a "
            "batch without any image from one with some"
        ),
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
        pass_latents=True,
        image="blended",
        image_pipeline="LTXImageToVideoPipeline",
        first_frame=ltx,
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
            "prompts are not masked, so train with micro_batch_size 1, and a "
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
        sample_times=("sigma", "audio_timestep"),
        untrained=("audio_", "video_to_audio", "video_a2v_cross_attn", "av_cross_attn"),
        image="blended",
        image_pipeline="LTX2ImageToVideoPipeline",
        image_layout=CHANNELS_FIRST,
        first_frame=ltx_2,
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
            "with micro_batch_size 1; its pipeline cuts the null text to the "
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

_registered: list[ModelFamily] = []


def register_family(family: ModelFamily) -> None:
    """Add a row for a model of your own; it goes before those of the table.

    So that the commands know it too, name it as an entry point "videojam.families" of your package.
    """
    if family not in _registered:
        _registered.insert(0, family)


def families() -> tuple[ModelFamily, ...]:
    """All rows: registered ones, those of installed packages, the table."""
    return (*_registered, *_installed(), *FAMILIES)


@functools.cache
def _installed() -> tuple[ModelFamily, ...]:
    return tuple(point.load() for point in entry_points(group="videojam.families"))
