"""Small clips made large enough to look at: whole enlargement, rows, lines of text, GIFs."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from videojam.records.atomic import replacing

INK, PAPER = (236, 238, 242), (22, 24, 29)  # of text; PAPER also lies between the tiles
_GAP = 4  # pixels on every side of a tile


def row(clips: Sequence[UInt8[Tensor, "f h _ 3"]], factor: int) -> UInt8[Tensor, "f H W 3"]:
    """Clips left to right, `factor` times as large each way (bicubic), with room between them."""
    if factor < 1:
        raise ValueError(f"factor is {factor}, expected a whole number from 1 up")
    return torch.cat([_framed(_enlarged(clip, factor)) for clip in clips], dim=2)


def line(texts: Sequence[str], width: int, text_px: int) -> UInt8[Tensor, "1 h w 3"]:
    """A band with each text in the middle of its share of the width; one frame.

    text_px: size of the letters, smaller if a text would be too long for its share.
    """
    band = Image.new("RGB", (width, round(1.6 * text_px)), PAPER)
    draw = ImageDraw.Draw(band)
    share = width / len(texts)
    font = ImageFont.load_default(text_px)
    longest = max(draw.textlength(text, font) for text in texts)
    if longest > share - 4 * _GAP:
        font = ImageFont.load_default(max(1, int(text_px * (share - 4 * _GAP) / longest)))
    for k, text in enumerate(texts):
        draw.text(((k + 0.5) * share, band.height / 2), text, INK, font, anchor="mm")
    return torch.from_numpy(np.array(band)).unsqueeze(0)


def stack(parts: Sequence[UInt8[Tensor, "_ _ w 3"]]) -> UInt8[Tensor, "f h w 3"]:
    """Clips of one width, top to bottom; a part of one frame is shown all the time."""
    frames = max(len(part) for part in parts)
    return torch.cat([part.expand(frames, -1, -1, -1) for part in parts], dim=1)


def write_gif(path: Path, clip: UInt8[Tensor, "f h w 3"], fps: float) -> None:
    """An endless GIF. Written beside and renamed, so never half a file.

    One palette for all frames and no dithering: what stands still does not flicker.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = clip.cpu().numpy()
    # An octree keeps rare colours, which the default drops: a cyan ball would turn green.
    palette = Image.fromarray(pixels.reshape(-1, *pixels.shape[2:])).quantize(
        256, method=Image.Quantize.FASTOCTREE
    )
    frames = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in pixels
    ]
    # A GIF counts in hundredths of a second; rounding moments, not steps, keeps the mean rate.
    moments = [round(100 * k / fps) for k in range(len(frames) + 1)]
    with replacing(path) as part:
        frames[0].save(
            part,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=[10 * (end - start) for start, end in pairwise(moments)],
            loop=0,
        )


def _enlarged(clip: UInt8[Tensor, "f h w 3"], factor: int) -> UInt8[Tensor, "f H W 3"]:
    pixels = clip.movedim(-1, 1).float()
    pixels = functional.interpolate(pixels, scale_factor=factor, mode="bicubic")
    return pixels.round().clamp(0, 255).to(torch.uint8).movedim(1, -1)


def _framed(clip: UInt8[Tensor, "f h w 3"]) -> UInt8[Tensor, "f H W 3"]:
    frames, height, width = clip.shape[:3]
    larger = torch.tensor(PAPER, dtype=torch.uint8).repeat(
        frames, height + 2 * _GAP, width + 2 * _GAP, 1
    )
    larger[:, _GAP:-_GAP, _GAP:-_GAP] = clip
    return larger
