"""Training the small Wan's autoencoder, so that its latents mean something.

A published model brings a trained VAE; only models made here (small_wan.py) need this. Plain
reconstruction with a little latent noise; no adversarial or perceptual loss, so fine texture is
soft. Afterwards the latent statistics are measured and written into the config, as in published
VAEs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.rng import generator
from videojam.training.checkpoints import checkpoints, load_checkpoint, save_checkpoint
from videojam.training.muon import Muon


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoencoderFit:
    """How to train the autoencoder."""

    image_steps: int = 150
    "Steps on single frames, which are cheap and teach the spatial half."
    steps: int = 550
    "All steps; those after the image steps are on clips."
    image_batch: int = 8
    "Frames per image step."
    batch: int = 3
    "Clip crops per step."
    crop_frames: int = 9
    "Frames of a crop, 4n + 1: the VAE is causal and convolutional, so short crops teach it all."
    crop_px: int = 32
    "Side of a crop in pixels; at most the clip's."
    learning_rate: float = 3e-3
    "Peak of a cosine with a short warm-up."
    latent_noise: float = 0.1
    "Deviation of the noise added to latents, which makes nearby latents decode alike."
    latent_penalty: float = 1e-3
    "Weight of the mean squared latent, so that the noise stays small beside it but not tiny."
    colour_weight: float = 0.0
    """Extra weight of saturated pixels (1 + this x chroma, the largest minus the smallest channel):
    for data whose objects are coloured and whose backgrounds are grey but busy."""
    checkpoint_every: int = 100
    "Steps between checkpoints, where a folder for them is given."
    seed: int = 0


def fit_autoencoder(
    vae: Any,
    sample: Callable[[int], Float[Tensor, "3 f h w"]],
    num_samples: int,
    fit: AutoencoderFit,
    report: Callable[[int, float], None] = lambda step, error: None,
    folder: Path | None = None,
) -> float:
    """Train `vae` in place on clips in [-1, 1]; returns the last steps' mean absolute error.

    sample: clip number i, appearance and motion videos alike: both halves use this VAE.
    report: called with (step, mean absolute error on the [-1, 1] scale).
    folder: where to keep a checkpoint; the same call resumes from it.
    """
    vae.train()
    device = next(vae.parameters()).device
    optimiser = Muon(vae.parameters(), lr=fit.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, fit.learning_rate, total_steps=fit.steps, pct_start=0.1, cycle_momentum=False
    )
    recent, done = 0.0, 0
    parameters = dict(vae.named_parameters())
    if folder is not None and (existing := checkpoints(folder)):
        done = load_checkpoint(existing[-1], parameters, optimiser, schedule, None)
    for step in range(done, fit.steps):
        draw = generator(fit.seed, "autoencoder", step)
        frames = 1 if step < fit.image_steps else fit.crop_frames
        count = fit.image_batch if frames == 1 else fit.batch
        chosen = torch.randint(num_samples, (count,), generator=draw)
        pixels = torch.stack(
            [_crop(sample(int(i)), (frames, fit.crop_px, fit.crop_px), draw) for i in chosen]
        )
        pixels = pixels.to(device).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(pixels.device.type, torch.bfloat16):
            latents = vae.encode(pixels).latent_dist.mode().float()
            noise = torch.randn(latents.shape, generator=draw).to(device)
            decoded = _decode_unclamped(vae, latents + fit.latent_noise * noise).float()
        difference = decoded - pixels
        error = difference.abs().mean()
        penalty = fit.latent_penalty * torch.mean(latents**2)
        chroma = (pixels.amax(1, keepdim=True) - pixels.amin(1, keepdim=True)) / 2
        weight = 1 + fit.colour_weight * chroma
        loss = torch.mean(weight * (difference**2 + difference.abs())) / weight.mean() + penalty
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        recent = error.item() if step == done else 0.95 * recent + 0.05 * error.item()
        report(step, recent)
        last = step + 1 == fit.steps
        if folder is not None and ((step + 1) % fit.checkpoint_every == 0 or last):
            save_checkpoint(folder, step + 1, parameters, optimiser, schedule, None, keep=1)
    vae.eval()
    _measure_statistics(vae, sample, num_samples)
    return recent


def _decode_unclamped(vae: Any, latents: Tensor) -> Tensor:
    """vae.decode clamps to [-1, 1], where gradients die; this collects what it clamps."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

    chunks: list[Tensor] = []
    hook = vae.decoder.register_forward_hook(lambda module, args, out: chunks.append(out))
    try:
        vae.decode(latents)
    finally:
        hook.remove()
    decoded = torch.cat(chunks, dim=2)
    patch = vae.config.patch_size
    return decoded if patch is None else unpatchify(decoded, patch)


def _crop(
    clip: Float[Tensor, "3 f h w"], sizes: tuple[int, int, int], draw: torch.Generator
) -> Float[Tensor, "3 f2 h2 w2"]:
    """A random box of `sizes` (frames, height, width) of the clip."""
    for axis, size in enumerate(sizes, start=1):
        slack = max(clip.shape[axis] - size, 0)
        start = int(torch.randint(slack + 1, (), generator=draw))
        clip = clip.narrow(axis, start, min(size, clip.shape[axis]))
    return clip


@torch.inference_mode()
def _measure_statistics(
    vae: Any, sample: Callable[[int], Float[Tensor, "3 f h w"]], num_samples: int
) -> None:
    """Mean and deviation of each latent channel over (at most 256) clips, into the config."""
    count = min(num_samples, 256)
    device = next(vae.parameters()).device
    latents = (
        torch.cat(
            [
                vae.encode(sample(i)[None].to(device)).latent_dist.mode().flatten(2)
                for i in range(count)
            ],
            dim=2,
        )
        .movedim(1, 0)
        .flatten(1)
    )
    vae.register_to_config(
        latents_mean=latents.mean(1).tolist(),
        latents_std=latents.std(1).clamp(min=1e-3).tolist(),
    )
