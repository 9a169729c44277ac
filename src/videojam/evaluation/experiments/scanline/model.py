"""The models of the scanline world: a stock Wan transformer on pixels, and a table of words.

There is no autoencoder: a clip's three colours are its latents, and those of its motion video the
motion latents. A token of text is a body of the caption: the sum of fixed random vectors of its
words. Everything else is the project's own, and the pipeline that samples is the stock one.
"""

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from videojam.joint.denoiser import Predict
from videojam.joint.text import Text
from videojam.lab.scanline import scroll
from videojam.lab.scanline.world import CHROMA, GREY, NUM_BODIES, WORDS, Clips, World
from videojam.motion.color import flow_to_rgb
from videojam.rng import generator

# bf16 arithmetic on float32 weights is what is wanted, and norms are a small part of a step.
warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")

CHANNELS = 3
PATCH_PX = 4
NULL_TEXT = -1
"A caption of nothing but this is the null text."


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Of the transformer; the defaults have 1.2 million parameters."""

    layers: int = 4
    heads: int = 2
    head_dim: int = 64
    feed_forward: int = 512
    text_width: int = 32


class Latents(NamedTuple):
    """A batch as the models see it."""

    x: Float[Tensor, "n 3 f 1 w"]
    d: Float[Tensor, "n 3 f 1 w"]


def base_transformer(sizes: Sizes, seed: int) -> Any:
    """A stock WanTransformer3DModel with random weights, those of this seed."""
    from diffusers import WanTransformer3DModel

    with torch.random.fork_rng():
        torch.manual_seed(int(generator(seed, "scanline weights").initial_seed()))
        return WanTransformer3DModel(
            patch_size=(1, 1, PATCH_PX),
            num_attention_heads=sizes.heads,
            attention_head_dim=sizes.head_dim,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            text_dim=sizes.text_width,
            freq_dim=64,
            ffn_dim=sizes.feed_forward,
            num_layers=sizes.layers,
            rope_max_seq_len=64,
        )


def latents(world: World, clips: Clips, saturation: float = 1.0) -> Latents:
    """Pixels of variance 1, and the motion video in [-1, 1] (the last flow repeated).

    saturation: factor on the speed at which its colour saturates.
    """
    flow = torch.cat([clips.flow, clips.flow[:, -1:]], 1)
    diagonal = (1 + world.width**2) ** 0.5
    motion = 2 * flow_to_rgb(flow, saturation * world.saturation_px / diagonal) - 1
    frames = clips.frames.permute(0, 4, 1, 2, 3) / pixel_scale(world)
    return Latents(frames.contiguous(), motion.permute(0, 2, 1, 3, 4).contiguous())


def to_frames(world: World, x: Float[Tensor, "n 3 f 1 w"]) -> Float[Tensor, "n f 1 w 3"]:
    """Pixels again."""
    return x.permute(0, 2, 3, 4, 1) * pixel_scale(world)


def pixel_scale(world: World) -> float:
    """Root mean square of the world's pixels, by its knobs."""
    body = GREY**2 + CHROMA**2 / 3
    if world.kind == "scroll":
        return (scroll.DEVIATION**2 + scroll.TINT**2 / 3) ** 0.5
    still = 1 - world.moving_share
    return (still * world.background**2 + world.moving_share * body) ** 0.5


def text(sizes: Sizes, captions: Int[Tensor, "n 2 3"]) -> Text:
    """What the transformer is given for captions: one token for each body."""
    table = torch.randn(
        NUM_BODIES, len(WORDS), 1 + max(map(len, WORDS)), sizes.text_width,
        generator=generator(0, "scanline words"),
    )  # fmt: skip
    bodies = torch.arange(NUM_BODIES)[:, None].expand(captions.shape[1:])
    kinds = torch.arange(len(WORDS)).expand(captions.shape[1:])
    vectors = table.to(captions.device)[bodies, kinds, captions]  # the null text's are the last
    return {"encoder_hidden_states": vectors.sum(2) / len(WORDS) ** 0.5}


def without_text(captions: Int[Tensor, "n 2 3"], dropped: Bool[Tensor, "n"]) -> Tensor:
    """Captions with the null text in place of the dropped ones."""
    return captions.masked_fill(dropped.view(-1, 1, 1), NULL_TEXT)


def predictor(transformer: Any) -> Predict:
    """The transformer as the objective calls it."""

    def predict(noised: Tensor, level: Any, words: Text) -> Tensor:
        return transformer(
            hidden_states=noised, timestep=level.time, return_dict=False, **words
        )[0]  # fmt: skip

    return predict


def pipeline(transformer: Any) -> Any:
    """The stock WanPipeline around a transformer alone, with diffusers' Euler steps."""
    from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline

    nothing: Any = None  # it works without text encoder and autoencoder, given embeddings
    pipe = WanPipeline(nothing, nothing, nothing, FlowMatchEulerDiscreteScheduler(), transformer)
    pipe.set_progress_bar_config(disable=True)
    return pipe
