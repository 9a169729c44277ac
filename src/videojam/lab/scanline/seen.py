"""Where the bodies are in the frames of any clip: from pixels, and the colours of its caption."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from videojam.lab.scanline.world import CHROMA, HUES, World

_FAINT, _FULL = 0.25, 0.75  # chroma of a body's hue, in bodies: none of it, all of it
_LEAST, _MOST, _ELSEWHERE = 0.65, 1.45, 0.5  # length of one body, and of what lies elsewhere
_AROUND_PX = 1.5  # beyond a body's edge, still of the body: its edges, and a blur


class Seen(NamedTuple):
    """Both bodies in all frames."""

    centres: Float[Tensor, "n f 2"]
    "px from the left edge, to about 0.1 px; meaningless where nothing is present."
    present: Bool[Tensor, "n f 2"]
    "One body of about the right length, and little of its colour anywhere else."


def find(world: World, frames: Float[Tensor, "n f 1 w 3"], colours: Int[Tensor, "n 2"]) -> Seen:
    """Bodies of these colours. Grey has no hue, so what stands behind them is not seen at all."""
    line = frames[:, :, 0].float()
    hues = HUES.to(line)[colours]
    share = torch.einsum("nfwc,nbc->nfbw", line, hues) / CHROMA
    share = ((share - _FAINT) / (_FULL - _FAINT)).clamp(0, 1)
    reach = math.ceil(world.radius + _AROUND_PX)
    windows = functional.pad(share, (reach, reach)).unfold(-1, 2 * reach + 1, 1)
    here = windows.sum(-1)
    at = here.argmax(-1, keepdim=True)
    length = here.gather(-1, at)[..., 0]
    own = windows.gather(-2, at[..., None].expand(*at.shape, 2 * reach + 1))[..., 0, :]
    offsets = torch.arange(-reach, reach + 1, device=line.device) + 0.5
    centres = at[..., 0] + (own * offsets).sum(-1) / length.clamp(min=1e-3)
    body = 2 * world.radius
    one = (length > _LEAST * body) & (length < _MOST * body)
    return Seen(centres, one & (share.sum(-1) - length < _ELSEWHERE * body))
