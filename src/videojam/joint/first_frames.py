"""How pipelines that are given an image prepare latents, for joint ones of 2C channels too.

A pipeline knows C channels. Each function here stands in for one pipeline's prepare_latents, which
it calls for the appearance half; the motion half of an image is that of no motion. So a sample of
a joint model begins as the stock pipeline lets one of its base begin.

    first_frame(pipe, stock, still) -> what is called in place of stock

still(height, width): latents of one frame of no motion (1, C, 1, h, w), for pixels of this size.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from videojam.joint.family import Prepare
from videojam.joint.layouts import TOKENS

Still = Callable[[int, int], Tensor]


def wan(pipe: Any, stock: Prepare, still: Still) -> Prepare:
    """Wan 2.2 TI2V: at every step the first latent frame is put in place of the noised one."""

    def prepare(image: Tensor, *args: Any, **options: Any) -> tuple[Any, ...]:
        latents, condition, mask = stock(image, *args, **options)
        if latents.shape[1] > condition.shape[1]:
            motion = still(*image.shape[-2:]).to(condition)
            condition = torch.cat([condition, motion.expand_as(condition)], 1)
        return latents, condition, mask

    return prepare


_NOISE_AT_FIRST = 0.999  # of the rest HunyuanVideo's noise is the image, in every frame


def hunyuan(pipe: Any, stock: Prepare, still: Still) -> Prepare:
    """HunyuanVideo: the first latent frame is the image's, and the noise has a trace of it."""

    def prepare(*args: Any, **options: Any) -> tuple[Any, ...]:
        given = _named(stock, args, options)
        x, d = given["latents"].tensor_split([pipe.vae.config.latent_channels], 1)
        latents, first = stock(**given | {"latents": x})
        if d.shape[1]:
            motion = still(given["height"], given["width"]).to(latents)
            d = d.to(latents) * _NOISE_AT_FIRST + motion * (1 - _NOISE_AT_FIRST)
            latents = torch.cat([latents, d], 1)
            first = torch.cat([first, motion.expand_as(first)], 1)
        return latents, first

    return prepare


def ltx(
    pipe: Any, stock: Prepare, still: Still, seen: Callable[[Any], Any] = lambda image: image
) -> Prepare:
    """LTX: the first latent frame begins as the image's and is never stepped.

    The pipeline does not look at its image when it is given latents; here it does. seen: what the
    model sees of the image.
    """

    def prepare(*args: Any, **options: Any) -> tuple[Any, ...]:
        given = _named(stock, args, options)
        latents, size = given["latents"], (given["height"], given["width"])
        latents = latents.to(given["device"], given["dtype"])
        C = pipe.vae.config.latent_channels
        pixels = pipe.video_processor.preprocess(seen(given["image"]), *size)
        pixels = pixels.to(latents.device, pipe.vae.dtype)
        own = {"image": pixels, "num_channels_latents": C, "latents": None}
        first, mask = stock(**given | own)
        first = first[:, : int(mask[0].sum())]  # its tokens come first
        if latents.shape[2] > C:
            motion = TOKENS.pack(still(*size)).to(first)
            first = torch.cat([first, motion.expand_as(first)], 2)
        return torch.cat([first, latents[:, first.shape[1] :]], 1), mask

    return prepare


def ltx_2(pipe: Any, stock: Prepare, still: Still) -> Prepare:
    """LTX-2: the same, of an image that went through a video codec, as those in its training.

    Its pipeline takes latents (b, c, t, h, w), and would normalise them.
    """
    from diffusers.pipelines.ltx2 import utils

    crf = utils.resolve_default_image_crf(pipe.text_encoder)

    def compressed(image: Image.Image) -> Image.Image:
        pixels = np.array(image.convert("RGB"))
        return Image.fromarray(utils.apply_image_conditioning_crf(pixels, crf))

    begin = ltx(pipe, stock, still, compressed)

    def prepare(*args: Any, **options: Any) -> tuple[Any, ...]:
        given = _named(stock, args, options)
        return begin(**given | {"latents": TOKENS.pack(given["latents"])})

    return prepare


def concatenated(pipe: Any, stock: Prepare, still: Still) -> Prepare:
    """CogVideoX, SkyReels V1: as many channels of the image as its latents have, not half of the
    transformer's input."""

    def prepare(*args: Any, **options: Any) -> tuple[Any, ...]:
        channels = {"num_channels_latents": pipe.vae.config.latent_channels}
        return stock(**_named(stock, args, options) | channels)

    return prepare


def lucy(pipe: Any, stock: Prepare, still: Still) -> Prepare:
    """Lucy-Edit: the clip to be edited has C channels, and the latents as many or twice."""

    def prepare(*args: Any, **options: Any) -> tuple[Any, ...]:
        given = _named(stock, args, options)
        C = pipe.vae.config.z_dim
        x, d = given["latents"].tensor_split([C], 1)
        video = given["video"].to(pipe.vae.dtype)
        own = {"video": video, "latents": x, "num_channels_latents": C}
        x, condition = stock(**given | own)
        return torch.cat([x, d.to(x)], 1), condition

    return prepare


def _named(stock: Prepare, args: Any, options: Any) -> dict[str, Any]:
    """The arguments by name. ValueError without latents."""
    bound = inspect.signature(stock).bind(*args, **options)
    bound.apply_defaults()
    if bound.arguments["latents"] is None:
        raise ValueError(
            "the pipeline would draw noise for C channels, not for both halves; pass latents="
        )
    return dict(bound.arguments)
