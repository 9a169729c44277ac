"""Small random pipelines of every family: the published classes and folder layout, tiny sizes.

Each function makes one pipeline. Latent channels are the published ones where that is cheap.
"""

import string
from typing import Any

import torch

TEXT = 32  # width of text embeddings
LENGTH = 16  # tokens of a prompt at most
WORDS = "a red blue ball dog jumps over the table rolls slowly left right up down".split()


def seeded(make: Any, **config: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make(**config).eval()


def t5(length: int = LENGTH) -> dict[str, Any]:
    from transformers import T5Config, T5EncoderModel

    from videojam.models.small_wan import _vocabulary
    from transformers import T5Tokenizer

    tokenizer = T5Tokenizer(
        vocab=_vocabulary(tuple(WORDS)), extra_ids=0, model_max_length=length
    )
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
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=length, **special
    )


def clip(length: int = LENGTH) -> dict[str, Any]:
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = words(length, bos_token="<s>")
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT, intermediate_size=37, num_hidden_layers=1,
        num_attention_heads=4, max_position_embeddings=77, projection_dim=TEXT,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return {"text_encoder_2": seeded(lambda: CLIPTextModel(config)), "tokenizer_2": tokenizer}


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
        vae=seeded(
            AutoencoderKLAllegro,
            block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1,
            norm_num_groups=2,
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


MODELS = {
    "CogVideoX": cogvideox, "CogVideoX-1.5": cogvideox_1_5, "Mochi": mochi,
    "HunyuanVideo": hunyuan_video, "LTX-Video": ltx, "Allegro": allegro,
}  # fmt: skip
