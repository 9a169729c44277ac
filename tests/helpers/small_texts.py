"""Small tokenizers and text encoders of the published classes, with random weights.

Each function at the end makes those of one family, by the names of its pipeline's components.
"""

import inspect
import string
from typing import Any

import torch

TEXT = 32  # width of text embeddings
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


# --- of a family ----------------------------------------------------------------------------


def umt5() -> dict[str, Any]:
    from small_models import wan

    parts = wan().components
    return {name: parts[name] for name in ("text_encoder", "tokenizer")}


def llama_and_clip() -> dict[str, Any]:
    """HunyuanVideo."""
    from transformers import LlamaConfig, LlamaModel

    tokenizer = words(LENGTH, bos_token="<s>")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT, intermediate_size=37, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return {"text_encoder": seeded(lambda: LlamaModel(config)), "tokenizer": tokenizer, **clip()}


def llava_and_clip() -> dict[str, Any]:
    """HunyuanVideo's image to video. Its template has two tokens more than the published tokenizer
    makes of it, whose number of tokens the pipeline cuts off."""
    from tokenizers import pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    marks = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<image>"]
    tokenizer = words(LENGTH, bos_token="<s>")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Split("tion", "isolated")]
    )
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT, intermediate_size=37, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id, initializer_range=0.2,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=1,
        image_size=336, patch_size=14, projection_dim=8,
    )  # fmt: skip
    config = LlavaConfig(
        text_config=text, vision_config=vision, pad_token_id=tokenizer.pad_token_id,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    return {
        "text_encoder": seeded(lambda: LlavaForConditionalGeneration(config)),
        "tokenizer": tokenizer,
        "image_processor": CLIPImageProcessor(
            size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
        ),
        **clip(),
    }


def qwen_and_glyphs() -> dict[str, Any]:
    """HunyuanVideo 1.5."""
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
    return {
        "text_encoder": seeded(lambda: Qwen2_5_VLTextModel(config)),
        "tokenizer": tokenizer,
        "text_encoder_2": seeded(lambda: T5EncoderModel(glyph_config)),
        "tokenizer_2": glyphs,
    }


def gemma_2() -> dict[str, Any]:
    """SANA-Video."""
    from transformers import Gemma2Config, Gemma2Model

    tokenizer = gemma(32)
    config = Gemma2Config(**gemma_sizes(tokenizer))
    return {"text_encoder": seeded(lambda: Gemma2Model(config)), "tokenizer": tokenizer}


def t5_gemma_2() -> dict[str, Any]:
    """Motif-Video."""
    from transformers import T5Gemma2Encoder, T5Gemma2EncoderConfig

    tokenizer = gemma(32)
    config = T5Gemma2EncoderConfig(text_config=gemma_sizes(tokenizer), **gemma_vision())
    return {"text_encoder": seeded(lambda: T5Gemma2Encoder(config)), "tokenizer": tokenizer}


def gemma_3() -> dict[str, Any]:
    """LTX-2."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    tokenizer = gemma(32)
    config = Gemma3Config(text_config=gemma_sizes(tokenizer), **gemma_vision())
    encoder = seeded(lambda: Gemma3ForConditionalGeneration(config))
    return {"text_encoder": encoder, "tokenizer": tokenizer}


def qwen_2_5_and_clip() -> dict[str, Any]:
    """Kandinsky 5."""
    from diffusers import Kandinsky5T2VPipeline
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = qwen(inspect.getsource(Kandinsky5T2VPipeline.__init__))
    vision = {
        "depth": 1, "hidden_size": 16, "intermediate_size": 8, "num_heads": 2,
        "out_hidden_size": TEXT, "fullatt_block_indexes": [0],
    }  # fmt: skip
    config = Qwen2_5_VLConfig(text_config=qwen_sizes(tokenizer), vision_config=vision)
    encoder = seeded(lambda: Qwen2_5_VLForConditionalGeneration(config))
    return {"text_encoder": encoder, "tokenizer": qwen_processor(tokenizer), **clip()}


def qwen_2() -> dict[str, Any]:
    """EasyAnimate."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    tokenizer = qwen()
    vision = {
        "depth": 1, "embed_dim": 16, "hidden_size": TEXT, "mlp_ratio": 1, "num_heads": 2,
    }  # fmt: skip
    config = Qwen2VLConfig(text_config=qwen_sizes(tokenizer), vision_config=vision)
    encoder = seeded(lambda: Qwen2VLForConditionalGeneration(config))
    return {"text_encoder": encoder, "tokenizer": tokenizer}
