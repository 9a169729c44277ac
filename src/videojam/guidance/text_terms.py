"""What users know on top of classifier-free guidance, for the text term alone.

Each takes the joint prediction u = u([x,d],y), the difference D = u - u([x,d],0) and w1, and gives
what is added to u. Sums over a sample go over both halves of the latents. The motion term stays
as it is: -w2 (u([x,0],y) - u) is added in every case.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.guidance.branches import Number

_RESCALED_SHARE = 0.7  # the paper's phi

Term = Callable[[Tensor, Tensor, Number], Tensor]


def plain(
    u: Float[Tensor, "b *latent"], difference: Float[Tensor, "b *latent"], w1: Number
) -> Float[Tensor, "b *latent"]:
    """w1 D, classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598)."""
    return w1 * difference


def rescale(
    u: Float[Tensor, "b *latent"], difference: Float[Tensor, "b *latent"], w1: Number
) -> Float[Tensor, "b *latent"]:
    """Guided g = u + w1 D, 0.7 of it with the standard deviation of u (Lin et al. 2023, arXiv
    2305.08891, section 3.4): 0.7 g std(u) / std(g) + 0.3 g - u."""
    guided = u + w1 * difference
    factor = _deviation(u) / _deviation(guided)
    return _RESCALED_SHARE * factor * guided + (1 - _RESCALED_SHARE) * guided - u


def apg(
    u: Float[Tensor, "b *latent"], difference: Float[Tensor, "b *latent"], w1: Number
) -> Float[Tensor, "b *latent"]:
    """w1 (D - (D . e) e) with e = u / |u|: adaptive projected guidance (Sadat et al. 2024, arXiv
    2410.02416) with eta = 0, without momentum and bound on |D|, which are of a model's latents."""
    return w1 * (difference - _dot(difference, u) / _dot(u, u) * u)


def cfg_zero_star(
    u: Float[Tensor, "b *latent"], difference: Float[Tensor, "b *latent"], w1: Number
) -> Float[Tensor, "b *latent"]:
    """w1 (u - s v) with v = u - D, s = (u . v) / |v|^2: CFG-Zero* (Fan et al. 2025, arXiv
    2503.18886) without its first steps of zero velocity."""
    without_text = u - difference
    scale = _dot(u, without_text) / _dot(without_text, without_text)
    return w1 * (u - scale * without_text)


TEXT_TERMS: dict[str, Term] = {
    "plain": plain,
    "rescale": rescale,
    "apg": apg,
    "cfg_zero_star": cfg_zero_star,
}


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum([*range(1, a.ndim)], keepdim=True)


def _deviation(u: Tensor) -> Tensor:
    return torch.std(u, [*range(1, u.ndim)], keepdim=True)
