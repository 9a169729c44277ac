"""Small random pipelines of every family: the published classes and folder layout, tiny sizes.

A row of ROWS says which classes with which sizes. Latent channels are the published ones where that
is cheap.
"""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import diffusers
import small_texts as texts
import torch
from small_texts import LENGTH, TEXT, WORDS, seeded

NO_OPTIONS = "its pipeline has no options of guidance"  # so there is nothing that could go wrong
Part = tuple[str, dict[str, Any]] | Callable[[], Any]
"(class in diffusers, sizes), or a function."


class Small(NamedTuple):
    """A family's pipeline class, and what its components are."""

    pipeline: str
    texts: Callable[[], dict[str, Any]]
    "Tokenizers and text encoders by component."
    vae: Part
    transformer: Part
    scheduler: Part
    others: Callable[[], dict[str, Any]] = dict
    "Further components and arguments of the pipeline."


def make(name: str) -> Any:
    """A new pipeline of a row."""
    row = ROWS[name]
    parts = {key: _made(getattr(row, key)) for key in ("vae", "transformer", "scheduler")}
    return getattr(diffusers, row.pipeline)(**row.texts(), **parts, **row.others())


def _made(part: Part) -> Any:
    if callable(part):
        return part()
    kind, sizes = getattr(diffusers, part[0]), part[1]
    return seeded(kind, **sizes) if issubclass(kind, torch.nn.Module) else kind(**sizes)


def wan(**others: Any) -> Any:
    """Wan 2.1, with its scheduler."""
    from videojam.models.small_wan import SmallWan, small_wan_pipeline

    sizes = SmallWan(
        num_layers=1, num_heads=2, head_dim=16, vae_width=4, vae_multipliers=(1, 1, 1, 1),
        text_width=TEXT, text_layers=1, text_length=LENGTH, words=tuple(WORDS), **others,
    )  # fmt: skip
    return small_wan_pipeline(sizes)


def wan_vae() -> Any:
    return wan().vae


def wan_scheduler(shift: float = 3.0) -> Callable[[], Any]:
    return lambda: wan(flow_shift=shift).scheduler


def wan_transformer(seed: int = 0, **sizes: Any) -> Any:
    return seeded(diffusers.WanTransformer3DModel, seed, **WAN | sizes)


def kandinsky_transformer(visual_cond: bool) -> Any:
    """Its gates are closed at first, to all but x; here they are not."""
    transformer = seeded(
        diffusers.Kandinsky5Transformer3DModel,
        in_visual_dim=16, out_visual_dim=16, in_text_dim=TEXT, in_text_dim2=TEXT, time_dim=32,
        model_dim=32, ff_dim=64, num_text_blocks=1, num_visual_blocks=1, axes_dims=(4, 6, 6),
        visual_cond=visual_cond,
    )  # fmt: skip
    with torch.no_grad():
        for gate in [p for p in transformer.parameters() if not p.any()]:
            gate.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    return transformer


def ltx_2_sound() -> dict[str, Any]:
    from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2Vocoder

    return {
        "connectors": seeded(
            LTX2TextConnectors,
            caption_channels=TEXT, text_proj_in_factor=3, video_connector_num_attention_heads=2,
            video_connector_attention_head_dim=16, video_connector_num_layers=1,
            video_connector_num_learnable_registers=8, audio_connector_num_attention_heads=2,
            audio_connector_attention_head_dim=16, audio_connector_num_layers=1,
            audio_connector_num_learnable_registers=8,
        ),
        "audio_vae": seeded(  # as wide as its latents are: 2 channels of 4 bins
            diffusers.AutoencoderKLLTX2Audio,
            base_channels=8, ch_mult=(1, 1, 1), num_res_blocks=1, latent_channels=2, mel_bins=16,
        ),
        "vocoder": seeded(
            LTX2Vocoder,
            in_channels=32, hidden_channels=32, resnet_kernel_sizes=[3], resnet_dilations=[[1]],
        ),
    }  # fmt: skip


def guider(**options: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"guider": diffusers.ClassifierFreeGuidance(**options)}


def clip_vision() -> dict[str, Any]:
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        image_size=16, patch_size=8,
    )  # fmt: skip
    torch.manual_seed(0)
    sizes = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    return {
        "image_encoder": CLIPVisionModel(config).eval(),
        "image_processor": CLIPImageProcessor(**sizes),
    }


def siglip() -> dict[str, Any]:
    from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

    config = SiglipVisionConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        image_size=16, patch_size=8,
    )  # fmt: skip
    torch.manual_seed(0)
    return {
        "image_encoder": SiglipVisionModel(config).eval(),
        "feature_extractor": SiglipImageProcessor(size={"height": 16, "width": 16}),
        **guider(guidance_scale=6.0)(),
    }


class NoGuardrail:
    """Stands in for Cosmos' safety checker, a package of its own with models of gigabytes."""

    def to(self, device: Any) -> "NoGuardrail":
        return self

    def check_text_safety(self, prompt: str) -> bool:
        return True

    def check_video_safety(self, frames: Any) -> Any:
        return frames


def stand_in_for_packages() -> None:
    """What Cosmos takes from packages that are not installed: its safety checker, and from
    torchvision the resizing of a padding mask."""
    from diffusers.models.transformers import transformer_cosmos
    from diffusers.pipelines.cosmos import pipeline_cosmos_text2world
    from diffusers.utils import is_cosmos_guardrail_available, is_torchvision_available

    def resize(mask: torch.Tensor, size: list[int], interpolation: str) -> torch.Tensor:
        return torch.nn.functional.interpolate(mask, size, mode=interpolation)

    if not is_cosmos_guardrail_available():
        pipeline_cosmos_text2world.CosmosSafetyChecker = NoGuardrail
    if not is_torchvision_available():
        transformer_cosmos.transforms = SimpleNamespace(
            functional=SimpleNamespace(resize=resize),
            InterpolationMode=SimpleNamespace(NEAREST="nearest"),
        )


def cosmos_guardrail() -> dict[str, Any]:
    stand_in_for_packages()
    return {"safety_checker": NoGuardrail()}


def moviegen() -> Any:
    from videojam.models.moviegen import MovieGenTransformer3DModel

    return seeded(
        MovieGenTransformer3DModel,
        num_layers=2, num_attention_heads=2, attention_head_dim=16, ffn_dim=64, text_dim=TEXT,
        freq_dim=32, max_size=(2, 4, 4),
    )  # fmt: skip


def linear_quadratic() -> Any:
    from videojam.models.moviegen import LinearQuadraticScheduler

    return LinearQuadraticScheduler()


HEADS = {"num_attention_heads": 2, "attention_head_dim": 16}
LEVELS = {"block_out_channels": (8, 8, 8, 8)}
BOTH = {"in_channels": 16, "out_channels": 16}
WAN = HEADS | BOTH | {"text_dim": TEXT, "freq_dim": 16, "ffn_dim": 32, "num_layers": 1}
IMAGE_WAN = {"in_channels": 36, "image_dim": 16, "added_kv_proj_dim": 32}
HUNYUAN_VAE = ("AutoencoderKLHunyuanVideo", LEVELS | {
    "latent_channels": 16, "layers_per_block": 1, "norm_num_groups": 4,
    "mid_block_add_attention": False,
})  # fmt: skip
LTX_SCHEDULER = ("FlowMatchEulerDiscreteScheduler", {
    "use_dynamic_shifting": True, "base_shift": 0.95, "max_shift": 2.05,
    "base_image_seq_len": 1024, "max_image_seq_len": 4096, "shift_terminal": 0.1,
})  # fmt: skip
HUNYUAN_AXES = {"num_layers": 1, "text_embed_dim": TEXT, "rope_axes_dim": (4, 6, 6)}


def euler(**options: Any) -> Part:
    return ("FlowMatchEulerDiscreteScheduler", options)


def cogvideox(patch_size_t: int | None = None, image: bool = False) -> Small:
    rotary = {"use_rotary_positional_embeddings": True, "use_learned_positional_embeddings": False}
    given: dict[str, Any] = {"in_channels": 32} if image else {}
    if image and patch_size_t:
        given["ofs_embed_dim"] = 16
    if image and not patch_size_t:  # the published one has both
        given |= rotary | {"use_learned_positional_embeddings": True}
    return Small(
        "CogVideoXImageToVideoPipeline" if image else "CogVideoXPipeline", texts.t5,
        ("AutoencoderKLCogVideoX", LEVELS | {
            "latent_channels": 16, "layers_per_block": 1, "norm_num_groups": 2,
        }),
        ("CogVideoXTransformer3DModel", HEADS | BOTH | (rotary if patch_size_t else {}) | given | {
            "time_embed_dim": 16, "text_embed_dim": TEXT, "num_layers": 2, "sample_width": 4,
            "sample_height": 4, "sample_frames": 9, "patch_size": 2, "patch_size_t": patch_size_t,
            "max_text_seq_length": LENGTH, "patch_bias": patch_size_t is None,
        }),
        ("CogVideoXDDIMScheduler", {
            "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
            "prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
            "snr_shift_scale": 3.0, "timestep_spacing": "trailing", "clip_sample": False,
            "set_alpha_to_one": True,
        }),
    )  # fmt: skip


def hunyuan(pipeline: str, text: Any = texts.llama_and_clip, **sizes: Any) -> Small:
    return Small(
        pipeline, text, HUNYUAN_VAE,
        ("HunyuanVideoTransformer3DModel", HEADS | BOTH | HUNYUAN_AXES | {
            "num_single_layers": 1, "num_refiner_layers": 1, "patch_size": 2, "patch_size_t": 1,
            "guidance_embeds": True, "pooled_projection_dim": TEXT,
        } | sizes),
        euler(shift=7.0),
    )  # fmt: skip


def hunyuan_15(pipeline: str, further: Callable[[], dict[str, Any]], **sizes: Any) -> Small:
    return Small(
        pipeline, texts.qwen_and_glyphs,
        ("AutoencoderKLHunyuanVideo15", {  # its last level: mean and variance of 32 channels
            "block_out_channels": (8, 8, 8, 16, 64), "latent_channels": 32, "layers_per_block": 1,
        }),
        ("HunyuanVideo15Transformer3DModel", HEADS | HUNYUAN_AXES | {
            "in_channels": 65, "out_channels": 32, "num_refiner_layers": 1, "mlp_ratio": 2.0,
            "text_embed_2_dim": TEXT, "image_embed_dim": 8, **sizes,
        }),
        euler(shift=5.0), further,
    )  # fmt: skip


def kandinsky_5(visual_cond: bool = True) -> Small:
    return Small(
        "Kandinsky5T2VPipeline", texts.qwen_2_5_and_clip, HUNYUAN_VAE,
        lambda: kandinsky_transformer(visual_cond), euler(shift=5.0),
    )  # fmt: skip


WAN_48_VAE: Part = ("AutoencoderKLWan", {
    "base_dim": 4, "decoder_base_dim": 4, "z_dim": 48, "dim_mult": [1, 1, 1, 1],
    "num_res_blocks": 1, "temperal_downsample": [False, True, True],
    "latents_mean": [0.0] * 48, "latents_std": [1.0] * 48, "is_residual": True,
    "in_channels": 12, "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16,
})  # fmt: skip

ROWS = {
    "Movie Gen DiT": Small(  # the paper's, in Wan's pipeline, with its own schedule
        "WanPipeline", texts.umt5, wan_vae, moviegen, linear_quadratic
    ),
    "Wan2.1": Small(
        "WanPipeline", texts.umt5, wan_vae, lambda: wan().transformer, wan_scheduler()
    ),
    "Wan2.2-TI2V": Small(
        "WanPipeline", texts.umt5, WAN_48_VAE,
        lambda: wan_transformer(in_channels=48, out_channels=48), wan_scheduler(5.0),
        lambda: {"expand_timesteps": True},
    ),
    "Wan2.2-A14B": Small(
        "WanPipeline", texts.umt5, wan_vae, wan_transformer, wan_scheduler(),
        lambda: {"transformer_2": wan_transformer(seed=1), "boundary_ratio": 0.875},
    ),
    "Wan2.1-I2V": Small(  # an image encoder's embeddings beside it
        "WanImageToVideoPipeline", texts.umt5, wan_vae,
        lambda: wan_transformer(**IMAGE_WAN), wan_scheduler(), clip_vision,
    ),
    "Wan2.1-FLF2V": Small(  # those of two images
        "WanImageToVideoPipeline", texts.umt5, wan_vae,
        lambda: wan_transformer(pos_embed_seq_len=10, **IMAGE_WAN), wan_scheduler(), clip_vision,
    ),
    "ChronoEdit": Small(
        "ChronoEditPipeline", texts.umt5, wan_vae,
        ("ChronoEditTransformer3DModel", WAN | IMAGE_WAN), wan_scheduler(), clip_vision,
    ),
    "Wan2.2-I2V": Small(  # [latents | mask | condition]
        "WanImageToVideoPipeline", texts.umt5, wan_vae,
        lambda: wan_transformer(in_channels=36), wan_scheduler(),
    ),
    "Wan-VACE": Small(
        "WanVACEPipeline", texts.umt5, wan_vae,
        ("WanVACETransformer3DModel", WAN | {"vace_layers": [0], "vace_in_channels": 96}),
        wan_scheduler(),
    ),
    "Lucy-Edit": Small(  # [latents | those of the clip to be edited]
        "LucyEditPipeline", texts.umt5, WAN_48_VAE,
        lambda: wan_transformer(in_channels=96, out_channels=48), wan_scheduler(5.0),
        lambda: {"expand_timesteps": True},
    ),
    "AnyFlow": Small(
        "AnyFlowPipeline", texts.umt5, wan_vae, ("AnyFlowTransformer3DModel", WAN),
        ("FlowMapEulerDiscreteScheduler", {"shift": 5.0}),
    ),
    "SkyReels-V2": Small(
        "SkyReelsV2Pipeline", texts.umt5, wan_vae, ("SkyReelsV2Transformer3DModel", WAN),
        wan_scheduler(8.0),
    ),
    "SkyReels-V2-I2V": Small(
        "SkyReelsV2ImageToVideoPipeline", texts.umt5, wan_vae,
        ("SkyReelsV2Transformer3DModel", WAN | IMAGE_WAN), wan_scheduler(5.0), clip_vision,
    ),
    "CogVideoX": cogvideox(),
    "CogVideoX-1.5": cogvideox(patch_size_t=2),
    "CogVideoX-I2V": cogvideox(image=True),
    "CogVideoX-1.5-I2V": cogvideox(patch_size_t=2, image=True),
    "Mochi": Small(
        "MochiPipeline", texts.t5,
        ("AutoencoderKLMochi", {
            "latent_channels": 12, "encoder_block_out_channels": (32, 32, 32, 32),
            "decoder_block_out_channels": (32, 32, 32, 32), "layers_per_block": (1, 1, 1, 1, 1),
        }),
        ("MochiTransformer3DModel", HEADS | {
            "patch_size": 2, "num_layers": 2, "pooled_projection_dim": 16, "in_channels": 12,
            "text_embed_dim": TEXT, "time_embed_dim": 16, "max_sequence_length": LENGTH,
        }),
        euler(invert_sigmas=True), lambda: {"force_zeros_for_empty_prompt": False},
    ),
    "HunyuanVideo": hunyuan("HunyuanVideoPipeline"),
    "HunyuanVideo-I2V": hunyuan(
        "HunyuanVideoImageToVideoPipeline", texts.llava_and_clip,
        image_condition_type="token_replace",
    ),
    "SkyReels-V1-I2V": hunyuan("HunyuanSkyreelsImageToVideoPipeline", in_channels=32),
    "HunyuanVideo-1.5": hunyuan_15(
        "HunyuanVideo15Pipeline", guider(guidance_scale=6.0), task_type="t2v"
    ),
    "HunyuanVideo-1.5-I2V": hunyuan_15(
        "HunyuanVideo15ImageToVideoPipeline", siglip, task_type="i2v", target_size=64
    ),
    "LTX-Video": Small(
        "LTXPipeline", texts.t5,
        ("AutoencoderKLLTXVideo", LEVELS | {
            "latent_channels": 128, "decoder_block_out_channels": (8, 8, 8, 8),
            "layers_per_block": (1, 1, 1, 1, 1), "decoder_layers_per_block": (1, 1, 1, 1, 1),
        }),
        ("LTXVideoTransformer3DModel", HEADS | {
            "in_channels": 128, "out_channels": 128, "cross_attention_dim": 32, "num_layers": 2,
            "caption_channels": TEXT,
        }),
        LTX_SCHEDULER,
    ),
    "LTX-2": Small(
        "LTX2Pipeline", texts.gemma_3,
        ("AutoencoderKLLTX2Video", LEVELS | {  # the first level is as wide as the latents: empty
            "latent_channels": 128, "layers_per_block": (0, 1, 1, 1, 1),
            "decoder_block_out_channels": (8, 16, 32), "decoder_layers_per_block": (1, 1, 1, 1),
            "spatial_compression_ratio": 32, "temporal_compression_ratio": 8,
        }),
        ("LTX2VideoTransformer3DModel", HEADS | {
            "in_channels": 128, "out_channels": 128, "cross_attention_dim": 32,
            "audio_in_channels": 8, "audio_out_channels": 8, "audio_num_attention_heads": 2,
            "audio_attention_head_dim": 8, "audio_cross_attention_dim": 16, "num_layers": 1,
            "caption_channels": TEXT,
        }),
        LTX_SCHEDULER, ltx_2_sound,
    ),
    "Allegro": Small(
        "AllegroPipeline", texts.t5,
        ("AutoencoderKLAllegro", LEVELS | {  # tiles of 24 frames, which overlap by 120 pixels
            "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2, "sample_size": 128,
        }),
        ("AllegroTransformer3DModel", {
            "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4,
            "out_channels": 4, "num_layers": 1, "cross_attention_dim": 24, "sample_width": 8,
            "sample_height": 8, "sample_frames": 8, "caption_channels": TEXT,
        }),
        ("EulerAncestralDiscreteScheduler", {
            "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
            "prediction_type": "epsilon",
        }),
    ),
    "SANA-Video": Small(
        "SanaVideoPipeline", texts.gemma_2, wan_vae,
        ("SanaVideoTransformer3DModel", HEADS | BOTH | {
            "num_layers": 1, "num_cross_attention_heads": 2, "cross_attention_head_dim": 16,
            "cross_attention_dim": 32, "caption_channels": TEXT,
        }),
        ("DPMSolverMultistepScheduler", {
            "prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 8.0,
        }),
    ),
    "Motif-Video": Small(
        "MotifVideoPipeline", texts.t5_gemma_2, wan_vae,
        ("MotifVideoTransformer3DModel", HEADS | HUNYUAN_AXES | {
            "in_channels": 33, "out_channels": 16, "num_single_layers": 2, "num_decoder_layers": 1,
            "mlp_ratio": 2.0,
        }),
        euler(use_dynamic_shifting=True), guider(),
    ),
    "Kandinsky-5": kandinsky_5(),
    "Kandinsky-5-unconditioned": kandinsky_5(visual_cond=False),
    "Cosmos-1": Small(
        "CosmosTextToWorldPipeline", texts.t5,
        ("AutoencoderKLCosmos", {
            "encoder_block_out_channels": (8, 8, 8, 8), "decode_block_out_channels": (8, 8, 8, 8),
            "num_layers": 1, "latent_channels": 16,
        }),
        ("CosmosTransformer3DModel", HEADS | BOTH | {
            "num_layers": 1, "mlp_ratio": 2.0, "text_embed_dim": TEXT, "adaln_lora_dim": 4,
            "max_size": (4, 16, 16),
        }),
        ("EDMEulerScheduler", {
            "sigma_data": 0.5, "sigma_min": 0.002, "sigma_max": 80.0,
            "final_sigmas_type": "sigma_min",
        }),
        cosmos_guardrail,
    ),
    "Latte": Small(
        "LattePipeline", functools.partial(texts.t5, 120),
        ("AutoencoderKL", LEVELS | {
            "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
        }),
        ("LatteTransformer3DModel", {  # clips of any other length fail: published are 16 frames
            "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4,
            "out_channels": 8, "num_layers": 1, "cross_attention_dim": 24, "attention_bias": True,
            "sample_size": 8, "patch_size": 2, "activation_fn": "gelu-approximate",
            "num_embeds_ada_norm": 1000, "norm_type": "ada_norm_single",
            "norm_elementwise_affine": False, "norm_eps": 1e-6, "caption_channels": TEXT,
            "video_length": 2,
        }),
        ("DDIMScheduler", {
            "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear",
            "clip_sample": False,
        }),
    ),
    "EasyAnimate": Small(
        "EasyAnimatePipeline", texts.qwen_2,
        ("AutoencoderKLMagvit", LEVELS | {
            "latent_channels": 16, "layers_per_block": 1, "norm_num_groups": 2,
        }),
        ("EasyAnimateTransformer3DModel", HEADS | BOTH | {
            "patch_size": 2, "num_layers": 1, "mmdit_layers": 1, "time_embed_dim": 16,
            "text_embed_dim": TEXT, "sample_width": 8, "sample_height": 8,
        }),
        euler(),
    ),
}  # fmt: skip
MODELS = {name: functools.partial(make, name) for name in ROWS}
