"""Do bodies go where a flow says? Found by their colours, so it needs no estimated flow.

An estimator sees the flicker that an autoencoder leaves on still backgrounds as motion, and a
correlation over all pixels is mostly about that.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.evaluation.metrics.flow_agreement import flow_correlation
from videojam.lab.judge.seeing.colours import coverage
from videojam.lab.scene import COLOURS

_COVERED = 0.3  # share of a pixel from which it counts
_LEAST_PX = 15.0  # area of a colour under which its middle is not trusted
_STEADY = 1.25  # ratio of areas up to which the same thing is seen in both frames
_LEAST_PAIRS = 4


def named_colours(caption: str) -> tuple[str, ...]:
    """The lab's colours that a caption names."""
    words = {word.strip(",.") for word in caption.split()}
    return tuple(name for name in COLOURS if name in words)


def body_correlation(
    video: UInt8[Tensor, "f h w 3"], flow: Float[Tensor, "f-1 2 h w"], colours: Sequence[str]
) -> float:
    """Correlation of the mean flow over a colour with the way of its middle to the next frame.

    Over all colours, frames and both components, as flow_correlation is over pixels. NaN where
    too little of the colours is seen in frames that follow each other.
    """
    ways, flows = _pairs(video, flow, colours) if colours else ([], [])
    if len(ways) < _LEAST_PAIRS:
        return math.nan
    found, there = (torch.tensor(np.stack(v))[..., None, None] for v in (flows, ways))
    return flow_correlation(found, there)


def _pairs(
    video: Tensor, flow: Tensor, colours: Sequence[str]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(x, y) in pixels: where the middle of a colour goes, and the mean flow over the colour."""
    share = coverage(video.numpy(), colours).share[:-1].astype(np.float64)
    share = np.where(share > _COVERED, share, 0.0)
    area = share.sum((2, 3))
    places = np.stack(np.meshgrid(*(np.arange(n) for n in share.shape[2:]), indexing="ij")[::-1])
    moved = flow.double().numpy()
    ways, flows = [], []
    for of, size in zip(share, area, strict=True):
        for k in range(len(moved)):
            least, most = sorted(size[k : k + 2])
            if least < _LEAST_PX or most > _STEADY * least:
                continue
            here, there = ((places * of[j]).sum((1, 2)) / size[j] for j in (k, k + 1))
            ways.append(there - here)
            flows.append((moved[k] * of[k]).sum((1, 2)) / size[k])
    return ways, flows
