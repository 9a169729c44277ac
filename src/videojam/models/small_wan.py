"""A small Wan: a model folder in exactly the layout of the published Wan 2.1 folders.

Same classes, same files, same configs but for the sizes, random weights. Every step of this
project runs on it through the real loading code, without a download:

    videojam small-wan runs/small-wan

Random weights make nothing worth looking at. `fit_autoencoder` (autoencoder.py) trains its VAE.
"""

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# Wan 2.1's own latent statistics are those of its trained VAE; a random one starts from these.
_LATENT_CHANNELS = 16
# Frequent words of captions become one token each; everything else is spelled in letters.
_WORDS = (
    "a an the and of on in at to from with over under into through behind up down left right "
    "slowly quickly fast slow one two three four five six red green blue yellow white black orange "
    "purple brown grey pink ball square circle triangle disc wheel block cube box stick ring dog "
    "cat man woman person hand hands car water moves move moving rolls falls bounces spins turns "
    "jumps runs walks slides swings opens pours past across around forwards backwards static "
    "camera background ground table road"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallWan:
    """Sizes of the small model; the defaults train on a laptop CPU."""

    num_layers: int = 4
    "Transformer blocks (Wan 2.1-1.3B: 30)."
    num_heads: int = 6
    "Attention heads (12)."
    head_dim: int = 32
    "Width of a head, at least 16 and even (128)."
    ffn_ratio: float = 4.0
    "Width of the feed-forward layers over that of the model (5.8; Wan 2.1-14B: 2.7)."
    vae_width: int = 8
    "Base width of the autoencoder (96)."
    vae_multipliers: tuple[int, ...] = (1, 2, 4, 4)
    "Width of the autoencoder's levels; 8x spatial, 4x temporal compression as published."
    vae_patch: int | None = None
    "Pixels that the autoencoder folds into channels first (Wan 2.2 TI2V: 2); each halves a level."
    text_width: int = 64
    "Width of the text encoder (4096)."
    text_layers: int = 2
    "Layers of the text encoder (24)."
    text_length: int = 512
    "Tokens of a prompt, padding included (512)."
    words: tuple[str, ...] = tuple(_WORDS.split())
    "Words of one token each; everything else is spelled in letters."
    flow_shift: float = 3.0
    "Time shift of the sampling schedule (480p: 3)."
    seed: int = 0
    "Seed of the random weights."


def write_small_wan(folder: Path, sizes: SmallWan | None = None) -> Path:
    """Write the folder (about 10 MB with default sizes) and return it.

    Raises ValueError if it exists and is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} exists and is not empty; give a new folder or remove it")
    small_wan_pipeline(sizes or SmallWan()).save_pretrained(folder)
    return folder


def small_wan_pipeline(sizes: SmallWan) -> Any:
    """The stock WanPipeline with random weights, float32."""
    from diffusers import (
        UniPCMultistepScheduler,
        WanPipeline,
        WanTransformer3DModel,
    )
    from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

    tokenizer = T5Tokenizer(
        vocab=_vocabulary(sizes.words), extra_ids=0, model_max_length=sizes.text_length
    )
    with torch.random.fork_rng():
        torch.manual_seed(sizes.seed)
        text_encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(tokenizer),
                d_model=sizes.text_width,
                d_kv=sizes.text_width // 4,
                d_ff=2 * sizes.text_width,
                num_layers=sizes.text_layers,
                num_heads=4,
            )
        ).eval()
        vae = small_autoencoder(sizes).eval()
        transformer = WanTransformer3DModel(
            num_attention_heads=sizes.num_heads,
            attention_head_dim=sizes.head_dim,
            in_channels=_LATENT_CHANNELS,
            out_channels=_LATENT_CHANNELS,
            text_dim=sizes.text_width,
            freq_dim=256,
            ffn_dim=round(sizes.ffn_ratio * sizes.num_heads * sizes.head_dim),
            num_layers=sizes.num_layers,
        ).eval()
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=sizes.flow_shift,
        num_train_timesteps=1000,
    )
    pipeline: Any = WanPipeline  # its hints name one of the classes that it takes
    return pipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        scheduler=scheduler,
        transformer=transformer,
    )


def small_autoencoder(sizes: SmallWan) -> Any:
    """A random AutoencoderKLWan, 8x8 pixels and 4 frames to a latent.

    With `vae_patch` it has the shortcuts around its levels of Wan 2.2's, which train much faster.
    """
    from diffusers import AutoencoderKLWan

    patch = sizes.vae_patch
    levels = len(sizes.vae_multipliers)
    temporal = [False] * (levels - 3) + [True, True]
    vae = AutoencoderKLWan(
        base_dim=sizes.vae_width,
        z_dim=_LATENT_CHANNELS,
        dim_mult=list(sizes.vae_multipliers),
        num_res_blocks=1,
        temperal_downsample=temporal,
        latents_mean=[0.0] * _LATENT_CHANNELS,
        latents_std=[1.0] * _LATENT_CHANNELS,
        is_residual=patch is not None,
        patch_size=patch,
        in_channels=3 * (patch or 1) ** 2,
        out_channels=3 * (patch or 1) ** 2,
    )
    _keep_variance(vae)
    return vae


def _keep_variance(vae: Any) -> None:
    """Convolutions that neither shrink nor grow their input, quiet residual branches, no biases.

    Convolutions over time start as averages (down) and copies (up), so that what an autoencoder
    learns on single frames holds for video.

    The default initialisation loses the picture on its way through the autoencoder's levels: a
    model trained from it stays at flat colours for hundreds of steps (docs/log.md).
    """
    for name, module in vae.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Conv3d):
            gain = 0.2 if name.endswith(("conv2", "proj")) else 1.0
            torch.nn.init.normal_(module.weight, std=gain / module.weight[0].numel() ** 0.5)
            if name.endswith("time_conv"):
                channels = torch.eye(module.in_channels).repeat(
                    module.out_channels // module.in_channels, 1
                )
                taps = (0, 0.5, 0.5) if name.startswith("encoder") else (0, 0, 1)
                for tap, weight in enumerate(taps):
                    module.weight.data[:, :, tap, 0, 0] = weight * channels
            elif isinstance(module, torch.nn.Conv3d):
                # Causal padding gives a single frame the last tap alone.
                module.weight.data[:, :, :-1] *= 0.1
                module.weight.data *= 3**0.5 if module.kernel_size[0] == 3 else 1
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)


def _vocabulary(words: tuple[str, ...]) -> list[tuple[str, float]]:
    """Unigram pieces with log-probabilities: special tokens, words, letters."""
    letters = [character for character in string.printable if not character.isspace()]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [(f"▁{word}", -6.0) for word in dict.fromkeys(words)]
    pieces += [(letter, -8.0) for letter in letters]
    return pieces
