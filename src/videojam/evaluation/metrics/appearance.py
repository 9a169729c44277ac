"""Checks of appearance without learned weights: do generated frames look like real ones?

Sharpness and colourfulness of a clip, and a Frechet distance between two sets of frames in a
space of 57 simple features. The distance is a proxy and not FID: it sees colour, layout and
detail, no objects; its numbers compare with each other on the same reference, with nothing else.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float64, UInt8
from torch import Tensor
from torch.nn import functional

_LUMA = (0.299, 0.587, 0.114)  # BT.601
_GREY_LEVEL = 1 / 255
_MIN_SIZE_PX = 8  # the coarsest scale needs two pixels a side


class Gaussian(NamedTuple):
    """Mean and covariance of a set of features."""

    mu: Float64[Tensor, "d"]
    cov: Float64[Tensor, "d d"]


def sharpness(frames: UInt8[Tensor, "f h w 3"]) -> float:
    """Variance of the 4-neighbour Laplacian of luma in 0..255, mean over frames.

    Pech-Pacheco et al. 2000. Blur lowers it, noise raises it. Raises ValueError for frames under
    8 x 8 pixels.
    """
    luma = 255 * _luma(_colours(frames))
    middle = luma[:, 1:-1, 1:-1]
    around = luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:]
    return float((around - 4 * middle).var(dim=(1, 2), correction=0).mean())


def colourfulness(frames: UInt8[Tensor, "f h w 3"]) -> float:
    """sqrt(std(rg)^2 + std(yb)^2) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2), mean over frames.

    rg = R - G, yb = (R + G) / 2 - B in 0..255 (Hasler & Suesstrunk 2003). Grey has 0.
    """
    red, green, blue = (255 * _colours(frames)).unbind(1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue], dim=1).flatten(2)  # (F, 2, P)
    spread = opponents.std(dim=2, correction=0).norm(dim=1)
    return float((spread + 0.3 * opponents.mean(2).norm(dim=1)).mean())


def frame_features(frames: UInt8[Tensor, "f h w 3"]) -> Float64[Tensor, "f 57"]:
    """What a frame looks like in 57 numbers; colours in [0, 1].

    Mean and standard deviation of each colour (6); log of the gradient energy of luma, at full,
    half and quarter size (3), with the square of one grey level added, so that a flat frame is
    finite; mean colours of a 4 x 4 grid (48).
    Raises ValueError for frames under 8 x 8 pixels.
    """
    colours = _colours(frames)
    luma = _luma(colours).unsqueeze(1)
    parts = [
        colours.mean((2, 3)),
        colours.std((2, 3), correction=0),
        *(_log_gradient_energy(functional.avg_pool2d(luma, size)) for size in (1, 2, 4)),
        functional.adaptive_avg_pool2d(colours, 4).flatten(1),
    ]
    return torch.cat(parts, dim=1).double()


def appearance_distance(
    generated: Float64[Tensor, "n 57"], reference: Float64[Tensor, "m 57"]
) -> float:
    """Frechet distance of frame_features between the frames of two sets of clips.

    generated, reference: the features of all frames of all clips, clips one after another; the
    order of the two does not matter. Colours in [0, 1] and logs count as they are: dividing by
    the spread of the reference let corners that are nearly always alike drown the detail.
    Few clips overstate the distance. Compare systems by sets of the same size, and both with the
    distance of one half of the reference to the other: of simulated shapes it is 1.7 for 20 clips
    against 20, near a slight blur's 2.2, but 0.04 for 200 against 200, where the blur has 2.3.
    Raises ValueError for fewer than two frames in either set.
    """
    a, b = gaussian(generated), gaussian(reference)
    return frechet_distance(a.mu, a.cov, b.mu, b.cov)


def gaussian(features: Float64[Tensor, "n d"]) -> Gaussian:
    """Mean and unbiased covariance over the first axis. ValueError for fewer than two rows."""
    if features.shape[0] < 2:
        raise ValueError(
            f"a covariance needs at least 2 frames, got {features.shape[0]}; give more clips"
        )
    centred = features - features.mean(0)
    return Gaussian(features.mean(0), centred.T @ centred / (features.shape[0] - 1))


def frechet_distance(
    mu1: Float64[Tensor, "d"],
    cov1: Float64[Tensor, "d d"],
    mu2: Float64[Tensor, "d"],
    cov2: Float64[Tensor, "d d"],
) -> float:
    """|mu1 - mu2|^2 + Tr(cov1 + cov2 - 2 (cov1^1/2 cov2 cov1^1/2)^1/2)  (Dowson & Landau 1982).

    The trace of the last root is the sum of the singular values of cov1^1/2 cov2^1/2, which needs
    no root of a product. Right to about 1e-8 of the traces, for singular covariances too.
    Raises ValueError for a covariance that is not symmetric.
    """
    roots = _root(cov1) @ _root(cov2)
    cross = torch.linalg.svdvals(roots).sum()
    distance = (mu1 - mu2).square().sum() + cov1.trace() + cov2.trace() - 2 * cross
    return float(distance.clamp(min=0))  # rounding may leave -1e-16


def _root(cov: Tensor) -> Tensor:
    """The positive square root of a covariance, Q sqrt(L) Q^T of its eigenvectors Q."""
    if not torch.allclose(cov, cov.T, atol=1e-8 * float(cov.abs().max())):
        raise ValueError("a covariance is symmetric, this one is not; make it by gaussian()")
    values, vectors = torch.linalg.eigh(cov)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def _colours(frames: Tensor) -> Tensor:
    """(F, 3, H, W) in [0, 1]."""
    if min(frames.shape[1:3]) < _MIN_SIZE_PX:
        raise ValueError(
            f"appearance needs frames of at least {_MIN_SIZE_PX} x {_MIN_SIZE_PX} pixels, got "
            f"{frames.shape[1]} x {frames.shape[2]}; use larger frames"
        )
    return frames.movedim(-1, 1).float() / 255


def _luma(colours: Tensor) -> Tensor:
    return torch.einsum("fchw,c->fhw", colours, colours.new_tensor(_LUMA))


def _log_gradient_energy(luma: Tensor) -> Tensor:
    """(F, 1): log(mean dx^2 + mean dy^2 + one grey level squared) of (F, 1, H, W)."""
    energy = luma.diff(dim=2).square().mean((2, 3)) + luma.diff(dim=3).square().mean((2, 3))
    return torch.log(energy + _GREY_LEVEL**2)
