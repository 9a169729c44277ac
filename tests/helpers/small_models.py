"""Small random pipelines of every family: the published classes and folder layout, tiny sizes.

Each function makes one pipeline. Latent channels are the published ones where that is cheap.
"""

import inspect
import string
from types import SimpleNamespace
from typing import Any

import torch

TEXT = 32  # width of text embeddings
NO_OPTIONS = "its pipeline has no options of guidance"  # so there is nothing that could go wrong
LENGTH = 16  # tokens of a prompt at most
WORDS = [
    "a", "red", "blue", "ball", "dog", "jumps", "over", "the", "table", "rolls", "slowly", "left",
    "right", "up", "down",
]  # fmt: skip
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content if m.content is string else m.content[0].text }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)  # how Qwen is spoken to


def seeded(make: Any, seed: int = 0, **config: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make(**config).eval()


def t5(length: int = LENGTH) -> dict[str, Any]:
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    from videojam.models.small_wan import _vocabulary

    tokenizer = T5Tokenizer(vocab=_vocabulary(tuple(WORDS)), extra_ids=0, model_max_length=length)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=TEXT, d_kv=8, d_ff=64, num_layers=1, num_heads=4
    )
    return {"text_encoder": seeded(lambda: T5EncoderModel(config)), "tokenizer": tokenizer}


def words(length: int = LENGTH, **special: str) -> Any:
    """A tokenizer of words and letters, as PreTrainedTokenizerFast."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"} | special
    pieces = [*dict.fromkeys(special.values()), *WORDS, *string.printable]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=length, **special)


def clip(length: int = LENGTH) -> dict[str, Any]:
    from tokenizers import pre_tokenizers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())  # and their forms at the end of a word
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{x}</w>" for x in letters)]
    tokenizer = CLIPTokenizer(
        vocab={piece: place for place, piece in enumerate(pieces)}, merges=[],
        model_max_length=length,
    )  # fmt: skip
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT, intermediate_size=37, num_hidden_layers=1,
        num_attention_heads=4, max_position_embeddings=77, projection_dim=TEXT,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return {"text_encoder_2": seeded(lambda: CLIPTextModel(config)), "tokenizer_2": tokenizer}


def bpe(kind: str, text: str = "", length: int = LENGTH, **options: Any) -> Any:
    """A tokenizer of this class, with the words and those of a text as its vocabulary."""
    import transformers

    made = getattr(transformers, kind)(model_max_length=length, **options)
    return made.train_new_from_iterator(
        [*WORDS, *(f" {word}" for word in WORDS), text, *string.printable],
        vocab_size=800,
        show_progress=False,
    )


def qwen(text: str = "") -> Any:
    """Qwen's tokenizer. text: instructions that it has to spell about as shortly as the published
    one does, where a pipeline cuts them off, or the whole prompt, by a number of tokens."""
    return bpe(
        "Qwen2Tokenizer", text, 4096, chat_template=CHAT,
        additional_special_tokens=["<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>"],
    )  # fmt: skip


def gemma(length: int = LENGTH) -> Any:
    return bpe("GemmaTokenizer", length=length, add_bos_token=True)


def gemma_sizes(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer), "hidden_size": TEXT, "intermediate_size": 37, "head_dim": 8,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "query_pre_attn_scalar": 8, "initializer_range": 0.5, "dropout_rate": 0.0,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip


def gemma_vision() -> dict[str, Any]:
    """The part of Gemma that sees: it comes with the published encoders and is never used."""
    vision = {
        "model_type": "siglip_vision_model", "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 8,
    }  # fmt: skip
    return {"vision_config": vision, "mm_tokens_per_image": 4}


def qwen_sizes(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer), "hidden_size": TEXT, "intermediate_size": 37,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
        "initializer_range": 0.5,
        "bos_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip


def cogvideox(patch_size_t: int | None = None) -> Any:
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDDIMScheduler,
        CogVideoXPipeline,
        CogVideoXTransformer3DModel,
    )

    rotary = {"use_rotary_positional_embeddings": True, "use_learned_positional_embeddings": False}
    return CogVideoXPipeline(
        **t5(),
        vae=seeded(
            AutoencoderKLCogVideoX,
            block_out_channels=(8, 8, 8, 8), latent_channels=16, layers_per_block=1,
            norm_num_groups=2,
        ),
        transformer=seeded(
            CogVideoXTransformer3DModel,
            num_attention_heads=2, attention_head_dim=16, in_channels=16, out_channels=16,
            time_embed_dim=16, text_embed_dim=TEXT, num_layers=2, sample_width=4, sample_height=4,
            sample_frames=9, patch_size=2, patch_size_t=patch_size_t, max_text_seq_length=LENGTH,
            patch_bias=patch_size_t is None, **(rotary if patch_size_t else {}),
        ),
        scheduler=CogVideoXDDIMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
            prediction_type="v_prediction", rescale_betas_zero_snr=True, snr_shift_scale=3.0,
            timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True,
        ),
    )  # fmt: skip


def cogvideox_1_5() -> Any:
    return cogvideox(patch_size_t=2)


def mochi() -> Any:
    from diffusers import (
        AutoencoderKLMochi,
        FlowMatchEulerDiscreteScheduler,
        MochiPipeline,
        MochiTransformer3DModel,
    )

    return MochiPipeline(
        **t5(),
        vae=seeded(
            AutoencoderKLMochi,
            latent_channels=12, encoder_block_out_channels=(32, 32, 32, 32),
            decoder_block_out_channels=(32, 32, 32, 32), layers_per_block=(1, 1, 1, 1, 1),
        ),
        transformer=seeded(
            MochiTransformer3DModel,
            patch_size=2, num_attention_heads=2, attention_head_dim=16, num_layers=2,
            pooled_projection_dim=16, in_channels=12, text_embed_dim=TEXT, time_embed_dim=16,
            max_sequence_length=LENGTH,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        force_zeros_for_empty_prompt=False,
    )  # fmt: skip


def hunyuan_video() -> Any:
    from diffusers import (
        AutoencoderKLHunyuanVideo,
        FlowMatchEulerDiscreteScheduler,
        HunyuanVideoPipeline,
        HunyuanVideoTransformer3DModel,
    )
    from transformers import LlamaConfig, LlamaModel

    tokenizer = words(LENGTH, bos_token="<s>")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT, intermediate_size=37, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return HunyuanVideoPipeline(
        text_encoder=seeded(lambda: LlamaModel(config)),
        tokenizer=tokenizer,
        **clip(),
        vae=seeded(
            AutoencoderKLHunyuanVideo,
            block_out_channels=(8, 8, 8, 8), latent_channels=16, layers_per_block=1,
            norm_num_groups=4, mid_block_add_attention=False,
        ),
        transformer=seeded(
            HunyuanVideoTransformer3DModel,
            in_channels=16, out_channels=16, num_attention_heads=2, attention_head_dim=16,
            num_layers=1, num_single_layers=1, num_refiner_layers=1, patch_size=2, patch_size_t=1,
            guidance_embeds=True, text_embed_dim=TEXT, pooled_projection_dim=TEXT,
            rope_axes_dim=(4, 6, 6),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
    )  # fmt: skip


def ltx() -> Any:
    from diffusers import (
        AutoencoderKLLTXVideo,
        FlowMatchEulerDiscreteScheduler,
        LTXPipeline,
        LTXVideoTransformer3DModel,
    )

    return LTXPipeline(
        **t5(),
        vae=seeded(
            AutoencoderKLLTXVideo,
            latent_channels=128, block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8), layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1, 1),
        ),
        transformer=seeded(
            LTXVideoTransformer3DModel,
            in_channels=128, out_channels=128, num_attention_heads=2, attention_head_dim=16,
            cross_attention_dim=32, num_layers=2, caption_channels=TEXT,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=1024,
            max_image_seq_len=4096, shift_terminal=0.1,
        ),
    )  # fmt: skip


def allegro() -> Any:
    from diffusers import (
        AllegroPipeline,
        AllegroTransformer3DModel,
        AutoencoderKLAllegro,
        EulerAncestralDiscreteScheduler,
    )

    return AllegroPipeline(
        **t5(),
        vae=seeded(  # codes tiles of 24 frames alone, of sample_size pixels, which overlap by 120
            AutoencoderKLAllegro,
            block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1,
            norm_num_groups=2, sample_size=128,
        ),
        transformer=seeded(
            AllegroTransformer3DModel,
            num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4,
            num_layers=1, cross_attention_dim=24, sample_width=8, sample_height=8,
            sample_frames=8, caption_channels=TEXT,
        ),
        scheduler=EulerAncestralDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
            prediction_type="epsilon",
        ),
    )  # fmt: skip


def wan(**others: Any) -> Any:
    """Wan 2.1, or another pipeline of its parts."""
    from videojam.models.small_wan import SmallWan, small_wan_pipeline

    sizes = SmallWan(
        num_layers=1, num_heads=2, head_dim=16, vae_width=4, vae_multipliers=(1, 1, 1, 1),
        text_width=TEXT, text_layers=1, text_length=LENGTH, words=tuple(WORDS), **others,
    )  # fmt: skip
    return small_wan_pipeline(sizes)


def wan_transformer(channels: int = 16, seed: int = 0) -> Any:
    from diffusers import WanTransformer3DModel

    return seeded(
        WanTransformer3DModel, seed,
        num_attention_heads=2, attention_head_dim=16, in_channels=channels, out_channels=channels,
        text_dim=TEXT, freq_dim=16, ffn_dim=32, num_layers=1,
    )  # fmt: skip


def wan_2_2_ti2v() -> Any:
    from diffusers import AutoencoderKLWan, WanPipeline

    parts = wan(flow_shift=5.0).components
    vae = seeded(
        AutoencoderKLWan,
        base_dim=4, decoder_base_dim=4, z_dim=48, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        temperal_downsample=[False, True, True], latents_mean=[0.0] * 48, latents_std=[1.0] * 48,
        is_residual=True, in_channels=12, out_channels=12, patch_size=2, scale_factor_spatial=16,
    )  # fmt: skip
    return WanPipeline(
        **parts | {"vae": vae, "transformer": wan_transformer(48)}, expand_timesteps=True
    )


def wan_2_2_a14b() -> Any:
    from diffusers import WanPipeline

    experts = {"transformer": wan_transformer(), "transformer_2": wan_transformer(seed=1)}
    return WanPipeline(**wan().components | experts, boundary_ratio=0.875)


def skyreels_v2() -> Any:
    from diffusers import SkyReelsV2Pipeline, SkyReelsV2Transformer3DModel

    parts = wan(flow_shift=8.0).components
    del parts["transformer_2"]
    transformer = seeded(
        SkyReelsV2Transformer3DModel,
        num_attention_heads=2, attention_head_dim=16, in_channels=16, out_channels=16,
        text_dim=TEXT, freq_dim=16, ffn_dim=32, num_layers=1,
    )  # fmt: skip
    return SkyReelsV2Pipeline(**parts | {"transformer": transformer})


def hunyuan_video_1_5() -> Any:
    from diffusers import (
        AutoencoderKLHunyuanVideo15,
        ClassifierFreeGuidance,
        FlowMatchEulerDiscreteScheduler,
        HunyuanVideo15Pipeline,
        HunyuanVideo15Transformer3DModel,
    )
    from transformers import (
        ByT5Tokenizer,
        Qwen2_5_VLTextConfig,
        Qwen2_5_VLTextModel,
        T5Config,
        T5EncoderModel,
    )

    tokenizer, glyphs = qwen(), ByT5Tokenizer()
    config = Qwen2_5_VLTextConfig(**qwen_sizes(tokenizer))
    glyph_config = T5Config(
        vocab_size=len(glyphs), d_model=TEXT, d_kv=8, d_ff=64, num_layers=1, num_heads=4
    )
    return HunyuanVideo15Pipeline(
        text_encoder=seeded(lambda: Qwen2_5_VLTextModel(config)),
        tokenizer=tokenizer,
        text_encoder_2=seeded(lambda: T5EncoderModel(glyph_config)),
        tokenizer_2=glyphs,
        vae=seeded(  # its last level is at least the mean and variance of 32 channels wide
            AutoencoderKLHunyuanVideo15,
            block_out_channels=(8, 8, 8, 16, 64), latent_channels=32, layers_per_block=1,
        ),
        transformer=seeded(
            HunyuanVideo15Transformer3DModel,
            in_channels=65, out_channels=32, num_attention_heads=2, attention_head_dim=16,
            num_layers=1, num_refiner_layers=1, mlp_ratio=2.0, text_embed_dim=TEXT,
            text_embed_2_dim=TEXT, image_embed_dim=8, rope_axes_dim=(4, 6, 6), task_type="t2v",
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        guider=ClassifierFreeGuidance(guidance_scale=6.0),
    )  # fmt: skip


def sana_video() -> Any:
    from diffusers import (
        DPMSolverMultistepScheduler,
        SanaVideoPipeline,
        SanaVideoTransformer3DModel,
    )
    from transformers import Gemma2Config, Gemma2Model

    tokenizer = gemma(32)
    config = Gemma2Config(**gemma_sizes(tokenizer))
    return SanaVideoPipeline(
        text_encoder=seeded(lambda: Gemma2Model(config)),
        tokenizer=tokenizer,
        vae=wan().vae,
        transformer=seeded(
            SanaVideoTransformer3DModel,
            in_channels=16, out_channels=16, num_attention_heads=2, attention_head_dim=16,
            num_layers=1, num_cross_attention_heads=2, cross_attention_head_dim=16,
            cross_attention_dim=32, caption_channels=TEXT,
        ),
        scheduler=DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0,
        ),
    )  # fmt: skip


def motif_video() -> Any:
    from diffusers import (
        ClassifierFreeGuidance,
        FlowMatchEulerDiscreteScheduler,
        MotifVideoPipeline,
        MotifVideoTransformer3DModel,
    )
    from transformers import T5Gemma2Encoder, T5Gemma2EncoderConfig

    tokenizer = gemma(32)
    config = T5Gemma2EncoderConfig(text_config=gemma_sizes(tokenizer), **gemma_vision())
    return MotifVideoPipeline(
        text_encoder=seeded(lambda: T5Gemma2Encoder(config)),
        tokenizer=tokenizer,
        vae=wan().vae,
        transformer=seeded(
            MotifVideoTransformer3DModel,
            in_channels=33, out_channels=16, num_attention_heads=2, attention_head_dim=16,
            num_layers=1, num_single_layers=2, num_decoder_layers=1, mlp_ratio=2.0,
            text_embed_dim=TEXT, rope_axes_dim=(4, 6, 6),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        guider=ClassifierFreeGuidance(),
    )  # fmt: skip


def qwen_processor(tokenizer: Any) -> Any:
    """Kandinsky's tokenizer with what prepares images and videos, which prompts do not need.

    The tokenizer alone, which takes the same calls, without torchvision, where transformers does
    not have the class for videos.
    """
    from transformers.utils import is_torchvision_available

    if not is_torchvision_available():
        return tokenizer
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    return Qwen2VLProcessor(Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor())


def kandinsky_5(visual_cond: bool = True) -> Any:
    from diffusers import (
        AutoencoderKLHunyuanVideo,
        FlowMatchEulerDiscreteScheduler,
        Kandinsky5T2VPipeline,
        Kandinsky5Transformer3DModel,
    )
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = qwen(inspect.getsource(Kandinsky5T2VPipeline.__init__))
    vision = {
        "depth": 1, "hidden_size": 16, "intermediate_size": 8, "num_heads": 2,
        "out_hidden_size": TEXT, "fullatt_block_indexes": [0],
    }  # fmt: skip
    config = Qwen2_5_VLConfig(text_config=qwen_sizes(tokenizer), vision_config=vision)
    pooled = clip()
    transformer = seeded(
        Kandinsky5Transformer3DModel,
        in_visual_dim=16, out_visual_dim=16, in_text_dim=TEXT, in_text_dim2=TEXT, time_dim=32,
        model_dim=32, ff_dim=64, num_text_blocks=1, num_visual_blocks=1, axes_dims=(4, 6, 6),
        visual_cond=visual_cond,
    )  # fmt: skip
    gates = [p for p in transformer.parameters() if not p.any()]  # closed at first, to all but x
    with torch.no_grad():
        for gate in gates:
            gate.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    return Kandinsky5T2VPipeline(
        text_encoder=seeded(lambda: Qwen2_5_VLForConditionalGeneration(config)),
        tokenizer=qwen_processor(tokenizer),
        text_encoder_2=pooled["text_encoder_2"],
        tokenizer_2=pooled["tokenizer_2"],
        vae=seeded(
            AutoencoderKLHunyuanVideo,
            block_out_channels=(8, 8, 8, 8), latent_channels=16, layers_per_block=1,
            norm_num_groups=4, mid_block_add_attention=False,
        ),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
    )  # fmt: skip


def kandinsky_5_unconditioned() -> Any:
    return kandinsky_5(visual_cond=False)


def ltx_2() -> Any:
    from diffusers import (
        AutoencoderKLLTX2Audio,
        AutoencoderKLLTX2Video,
        FlowMatchEulerDiscreteScheduler,
        LTX2Pipeline,
        LTX2VideoTransformer3DModel,
    )
    from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2Vocoder
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    tokenizer = gemma(32)
    config = Gemma3Config(text_config=gemma_sizes(tokenizer), **gemma_vision())
    return LTX2Pipeline(
        text_encoder=seeded(lambda: Gemma3ForConditionalGeneration(config)),
        tokenizer=tokenizer,
        connectors=seeded(
            LTX2TextConnectors,
            caption_channels=TEXT, text_proj_in_factor=3, video_connector_num_attention_heads=2,
            video_connector_attention_head_dim=16, video_connector_num_layers=1,
            video_connector_num_learnable_registers=8, audio_connector_num_attention_heads=2,
            audio_connector_attention_head_dim=16, audio_connector_num_layers=1,
            audio_connector_num_learnable_registers=8,
        ),
        vae=seeded(  # the encoder's first level is as wide as the latents: no layers there
            AutoencoderKLLTX2Video,
            latent_channels=128, block_out_channels=(8, 8, 8, 8), layers_per_block=(0, 1, 1, 1, 1),
            decoder_block_out_channels=(8, 16, 32), decoder_layers_per_block=(1, 1, 1, 1),
            spatial_compression_ratio=32, temporal_compression_ratio=8,
        ),
        audio_vae=seeded(  # as wide as its latents are: 2 channels of 4 bins
            AutoencoderKLLTX2Audio,
            base_channels=8, ch_mult=(1, 1, 1), num_res_blocks=1, latent_channels=2, mel_bins=16,
        ),
        vocoder=seeded(
            LTX2Vocoder,
            in_channels=32, hidden_channels=32, resnet_kernel_sizes=[3], resnet_dilations=[[1]],
        ),
        transformer=seeded(
            LTX2VideoTransformer3DModel,
            in_channels=128, out_channels=128, num_attention_heads=2, attention_head_dim=16,
            cross_attention_dim=32, audio_in_channels=8, audio_out_channels=8,
            audio_num_attention_heads=2, audio_attention_head_dim=8, audio_cross_attention_dim=16,
            num_layers=1, caption_channels=TEXT,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=1024,
            max_image_seq_len=4096, shift_terminal=0.1,
        ),
    )  # fmt: skip


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


def cosmos_1() -> Any:
    from diffusers import (
        AutoencoderKLCosmos,
        CosmosTextToWorldPipeline,
        CosmosTransformer3DModel,
        EDMEulerScheduler,
    )

    stand_in_for_packages()
    return CosmosTextToWorldPipeline(
        **t5(),
        vae=seeded(
            AutoencoderKLCosmos,
            encoder_block_out_channels=(8, 8, 8, 8), decode_block_out_channels=(8, 8, 8, 8),
            num_layers=1, latent_channels=16,
        ),
        transformer=seeded(
            CosmosTransformer3DModel,
            in_channels=16, out_channels=16, num_attention_heads=2, attention_head_dim=16,
            num_layers=1, mlp_ratio=2.0, text_embed_dim=TEXT, adaln_lora_dim=4,
            max_size=(4, 16, 16),
        ),
        scheduler=EDMEulerScheduler(
            sigma_data=0.5, sigma_min=0.002, sigma_max=80.0, final_sigmas_type="sigma_min",
        ),
        safety_checker=NoGuardrail(),
    )  # fmt: skip


def latte() -> Any:
    from diffusers import AutoencoderKL, DDIMScheduler, LattePipeline, LatteTransformer3DModel

    return LattePipeline(
        **t5(120),
        vae=seeded(
            AutoencoderKL,
            block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1,
            norm_num_groups=2, down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        ),
        transformer=seeded(  # clips of any other length fail: published are 16 frames
            LatteTransformer3DModel,
            num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=8,
            num_layers=1, cross_attention_dim=24, attention_bias=True, sample_size=8, patch_size=2,
            activation_fn="gelu-approximate", num_embeds_ada_norm=1000,
            norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6,
            caption_channels=TEXT, video_length=2,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.0001, beta_end=0.02, beta_schedule="linear", clip_sample=False,
        ),
    )  # fmt: skip


def easyanimate() -> Any:
    from diffusers import (
        AutoencoderKLMagvit,
        EasyAnimatePipeline,
        EasyAnimateTransformer3DModel,
        FlowMatchEulerDiscreteScheduler,
    )
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    tokenizer = qwen()
    vision = {
        "depth": 1, "embed_dim": 16, "hidden_size": TEXT, "mlp_ratio": 1, "num_heads": 2,
    }  # fmt: skip
    config = Qwen2VLConfig(text_config=qwen_sizes(tokenizer), vision_config=vision)
    return EasyAnimatePipeline(
        text_encoder=seeded(lambda: Qwen2VLForConditionalGeneration(config)),
        tokenizer=tokenizer,
        vae=seeded(
            AutoencoderKLMagvit,
            block_out_channels=(8, 8, 8, 8), latent_channels=16, layers_per_block=1,
            norm_num_groups=2,
        ),
        transformer=seeded(
            EasyAnimateTransformer3DModel,
            num_attention_heads=2, attention_head_dim=16, in_channels=16, out_channels=16,
            patch_size=2, num_layers=1, mmdit_layers=1, time_embed_dim=16, text_embed_dim=TEXT,
            sample_width=8, sample_height=8,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def moviegen() -> Any:
    """The paper's DiT in Wan's pipeline, with its own schedule."""
    from videojam.models.moviegen import LinearQuadraticScheduler, MovieGenTransformer3DModel

    pipe = wan()
    pipe.register_modules(
        transformer=seeded(
            MovieGenTransformer3DModel,
            num_layers=2, num_attention_heads=2, attention_head_dim=16, ffn_dim=64, text_dim=TEXT,
            freq_dim=32, max_size=(2, 4, 4),
        ),
        scheduler=LinearQuadraticScheduler(),
    )  # fmt: skip
    return pipe


MODELS = {
    "Movie Gen DiT": moviegen,
    "Wan2.1": wan, "Wan2.2-TI2V": wan_2_2_ti2v, "Wan2.2-A14B": wan_2_2_a14b,
    "SkyReels-V2": skyreels_v2, "CogVideoX": cogvideox, "CogVideoX-1.5": cogvideox_1_5,
    "Mochi": mochi, "HunyuanVideo": hunyuan_video, "HunyuanVideo-1.5": hunyuan_video_1_5,
    "LTX-Video": ltx, "LTX-2": ltx_2, "Allegro": allegro, "SANA-Video": sana_video,
    "Motif-Video": motif_video, "Kandinsky-5": kandinsky_5,
    "Kandinsky-5-unconditioned": kandinsky_5_unconditioned, "Cosmos-1": cosmos_1, "Latte": latte,
    "EasyAnimate": easyanimate,
}  # fmt: skip
