"""Joint latents: joining and splitting them, and the way to and from pixels through the VAE.

Appearance and motion go through the same VAE with the same normalisation (paper, motion
representation, step 3), each half by itself, because a VAE knows only its own C channels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from videojam.joint.family import ModelFamily
from videojam.joint.find_family import family_of
from videojam.joint.sizes import Size, front_padding, latent_size, padded_frames


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


def encode_video(
    vae: Any, pixels: Float[Tensor, "b 3 f h w"], transformer: Any = None
) -> Float[Tensor, "b c t h2 w2"]:
    """Pixels in [-1, 1] -> normalised latents, the mean of the posterior (no sampling).

    transformer: whose patches are filled in time, by repeating the first frame (CogVideoX 1.5).
    """
    device = _execution_device(vae)
    mean, std = _normalisation(vae, device)
    with torch.no_grad():
        encoded = _alone(vae, lambda z: vae.encode(z), pixels.to(device, vae.dtype))
        latents = (encoded.float() - _first(mean, encoded)) / _first(std, encoded)
        missing = 0 if transformer is None else front_padding(transformer, latents.shape[2])
        return torch.cat([latents[:, :, :1]] * missing + [latents], 2)


def decode_video(vae: Any, latents: Float[Tensor, "b c t h2 w2"]) -> Float[Tensor, "b 3 f h w"]:
    """Normalised latents -> pixels in [-1, 1], float32."""
    device = _execution_device(vae)
    mean, std = _normalisation(vae, device)
    # Decoders that still denoise a little are told that nothing is left to do.
    conditioned = vae.config.get("timestep_conditioning", False)
    with torch.no_grad():
        latents = latents[:, :, padded_frames(vae, latents.shape[2]) :].to(device).float()
        latents = (latents * _first(std, latents) + _first(mean, latents)).to(vae.dtype)
        time = (latents.new_zeros(len(latents)),) if conditioned else ()
        video = _alone(vae, lambda z: vae.decode(z, *time), latents)
        if type(vae).__name__ == "AutoencoderKLAllegro":  # frames first
            video = video.transpose(1, 2)
        return video.float().clamp(-1, 1)


def decode(
    pipe: Any, latents: Tensor, size: Size | None = None
) -> tuple[Float[Tensor, "b 3 f h w"], Float[Tensor, "b 3 f h w"]]:
    """Joint latents as the pipeline gives them -> video and motion video in [-1, 1].

    size: of the clip in pixels, where the pipeline gives tokens (LTX). ValueError if it is missing.
    """
    if latents.ndim == 3 and size is None:
        raise ValueError(
            f"{type(pipe).__name__} gives tokens, which do not tell the shape of the clip; pass "
            "size=Size(num_frames, height, width)"
        )
    known = latent_size(pipe, pipe.transformer, size) if size else None
    family = family_of(pipe.transformer)
    if not family.undoes_normalisation:  # else they come as the VAE's already
        latents = family.pipeline_layout.unpack(latents, known)
    return decode_joint(pipe.vae, latents)


@contextmanager
def left_normalised(pipe: Any, family: ModelFamily) -> Iterator[None]:
    """Within, a pipeline that undoes the normalisation of its final latents undoes nothing.

    It would do so with the C means of its VAE, which do not fit 2C channels. Nothing changes within
    another such block.
    """
    name = "_denormalize_latents"
    if not family.undoes_normalisation or name in pipe.__dict__:
        yield
        return
    if not hasattr(pipe, name):
        raise AttributeError(
            f"this {type(pipe).__name__} has no {name}, with which it undid the normalisation of "
            "final latents when this was written; use the diffusers of constraints.txt"
        )
    pipe.__dict__[name] = lambda latents, *_: latents
    try:
        yield
    finally:
        del pipe.__dict__[name]


def decode_joint(
    vae: Any, latents: Float[Tensor, "b c2 t h2 w2"]
) -> tuple[Float[Tensor, "b 3 f h w"], Float[Tensor, "b 3 f h w"]]:
    """Joint latents -> video and motion video in [-1, 1]."""
    x, d = split(latents)
    return decode_video(vae, x), decode_video(vae, d)


def latent_channels(vae: Any) -> int:
    """C as the VAE knows it, the surest source."""
    return vae.config.get("z_dim") or vae.config["latent_channels"]


def _alone(vae: Any, code: Callable[[Tensor], Any], video: Tensor) -> Tensor:
    """Encode or decode; frame by frame with a VAE of images (Latte)."""
    frames = video.shape[2]
    of_images = type(vae).__name__ == "AutoencoderKL"
    if type(vae).__name__ == "AutoencoderKLAllegro":  # works in tiles and sample by sample alone
        vae.enable_tiling()
        vae.enable_slicing()
    coded = code(rearrange(video, "b c f h w -> (b f) c h w") if of_images else video)
    found = coded.latent_dist.mode() if hasattr(coded, "latent_dist") else coded.sample
    return rearrange(found, "(b f) c h w -> b c f h w", f=frames) if of_images else found


def _first(statistic: Tensor, latents: Tensor) -> Tensor:
    """Statistics of single frames (Cosmos) for as many frames as there are."""
    return statistic[:, :, : latents.shape[2]]


def _execution_device(vae: Any) -> torch.device:
    """Where the VAE runs; under offloading that is not where its weights are now."""
    from diffusers.utils.torch_utils import get_module_execution_device

    return get_module_execution_device(vae)


def _vectors(vae: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Over channels, in the config."""
    config = vae.config
    scale = config.get("scaling_factor") or 1.0
    mean, std = (torch.tensor(config[f"latents_{name}"], device=device) for name in ("mean", "std"))
    return mean.view(1, -1, 1, 1, 1), std.view(1, -1, 1, 1, 1) / scale


def _buffers(vae: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Over channels, in the weights."""
    both = (vae.latents_mean, vae.latents_std)
    mean, std = (part.float().to(device).view(1, -1, 1, 1, 1) for part in both)
    return mean, std / vae.config.scaling_factor


def _factor(vae: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """One number for all."""
    std = torch.full((1, 1, 1, 1, 1), 1 / vae.config.scaling_factor, device=device)
    return torch.zeros_like(std), std


_COSMOS_SIGMA_DATA = 0.5  # of the pipeline's scheduler: latents have this deviation, not 1


def _frames(vae: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Over channels and frames, in the config."""
    C = vae.config.latent_channels
    mean, std = (
        torch.tensor(values, device=device).view(1, C, -1, 1, 1)
        if values is not None
        else torch.full((1, C, 1, 1, 1), default, device=device)
        for values, default in ((vae.config.latents_mean, 0.0), (vae.config.latents_std, 1.0))
    )
    return mean, std / _COSMOS_SIGMA_DATA


# VAE class -> (mean, std) of its raw latents.
_NORMALISATIONS: dict[str, Callable[[Any, torch.device], tuple[Tensor, Tensor]]] = {
    "AutoencoderKLWan": _vectors,
    "AutoencoderKLMochi": _vectors,
    "AutoencoderKLLTXVideo": _buffers,
    "AutoencoderKLLTX2Video": _buffers,
    "AutoencoderKLCosmos": _frames,
    "AutoencoderKLCogVideoX": _factor,
    "AutoencoderKLHunyuanVideo": _factor,
    "AutoencoderKLHunyuanVideo15": _factor,
    "AutoencoderKLAllegro": _factor,
    "AutoencoderKLMagvit": _factor,
    "AutoencoderKL": _factor,
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
