"""Joint latents: joining and splitting them, and the way to and from pixels through the VAE.

Appearance and motion go through the same VAE with the same normalisation (paper, motion
representation, step 3), each half by itself, because a VAE knows only its own C channels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.joint.families import family_of


class Joint(NamedTuple):
    """The two halves of a joint latent (or noise, or prediction): appearance x and motion d."""

    x: Tensor
    d: Tensor


def join(x: Tensor, d: Tensor, channel_dim: int = 1) -> Tensor:
    """[x, d]: appearance first along the channel axis. ValueError if the shapes differ."""
    if x.shape != d.shape:
        raise ValueError(
            f"appearance {tuple(x.shape)} and motion {tuple(d.shape)} differ in shape; both must "
            "come from the same clip through the same VAE"
        )
    return torch.cat([x, d], dim=channel_dim)


def split(joint: Tensor, channel_dim: int = 1) -> Joint:
    """The inverse of join. ValueError for an odd number of channels."""
    if joint.shape[channel_dim] % 2:
        raise ValueError(
            f"a joint tensor has an even number of channels, got {joint.shape[channel_dim]}"
        )
    return Joint(*joint.chunk(2, dim=channel_dim))


def encode_video(vae: Any, pixels: Float[Tensor, "b 3 f h w"]) -> Float[Tensor, "b c t h2 w2"]:
    """Pixels in [-1, 1] -> normalised latents, the mean of the posterior (no sampling)."""
    device = _execution_device(vae)
    mean, std = _normalisation(vae, device)
    with torch.inference_mode():
        latents = vae.encode(pixels.to(device, vae.dtype)).latent_dist.mode()
        return (latents.float() - mean) / std


def decode_video(vae: Any, latents: Float[Tensor, "b c t h2 w2"]) -> Float[Tensor, "b 3 f h w"]:
    """Normalised latents -> pixels in [-1, 1], float32."""
    device = _execution_device(vae)
    mean, std = _normalisation(vae, device)
    with torch.inference_mode():
        latents = (latents.to(device).float() * std + mean).to(vae.dtype)
        return vae.decode(latents, return_dict=False)[0].float().clamp(-1, 1)


def decode(
    pipe: Any, latents: Float[Tensor, "b c2 t h2 w2"]
) -> tuple[Float[Tensor, "b 3 f h w"], Float[Tensor, "b 3 f h w"]]:
    """Joint latents of a pipeline (output_type="latent") -> video and motion video, [-1, 1]."""
    family = family_of(pipe.transformer)
    x, d = split(latents, family.channel_dim)
    return decode_video(pipe.vae, x), decode_video(pipe.vae, d)


def _execution_device(vae: Any) -> torch.device:
    """Where the VAE runs; under offloading that is not where its weights are now."""
    from diffusers.utils.torch_utils import get_module_execution_device

    return get_module_execution_device(vae)


def _wan(vae: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Vectors over channels in the config, as (1, C, 1, 1, 1)."""
    mean, std = (
        torch.tensor(values, device=device).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, std


# VAE class -> (mean, std) of its raw latents.
_NORMALISATIONS: dict[str, Callable[[Any, torch.device], tuple[Tensor, Tensor]]] = {
    "AutoencoderKLWan": _wan
}


def _normalisation(vae: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    name = type(vae).__name__
    if name not in _NORMALISATIONS:
        known = ", ".join(_NORMALISATIONS)
        raise ValueError(
            f"no latent normalisation is known for {name}; known: {known}. Add it to the table in "
            "videojam/joint/latents.py (docs/adding_a_model.md)"
        )
    return _NORMALISATIONS[name](vae, device)
