"""Training the small Wan's autoencoder, so that its latents mean something.

A published model brings a trained VAE; only models made here (small_wan.py) need this. Plain
reconstruction with a small KL term; no adversarial or perceptual loss, so fine texture is soft.
Afterwards the latent statistics are measured and written into the config, as in published VAEs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.rng import generator


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoencoderFit:
    """How to train the autoencoder."""

    steps: int = 400
    batch: int = 2
    "Clips per step."
    learning_rate: float = 2e-3
    "Peak of a cosine with a short warm-up."
    kl_weight: float = 1e-5
    "Per latent number, against the mean absolute error per pixel number."
    seed: int = 0


def fit_autoencoder(
    vae: Any,
    sample: Callable[[int], Float[Tensor, "3 f h w"]],
    num_samples: int,
    fit: AutoencoderFit,
    report: Callable[[int, float], None] = lambda step, error: None,
) -> float:
    """Train `vae` in place on clips in [-1, 1]; returns the last steps' mean absolute error.

    sample: clip number i, appearance and motion videos alike: both halves use this VAE.
    report: called with (step, mean absolute error on the [-1, 1] scale).
    """
    vae.train()
    optimiser = torch.optim.AdamW(vae.parameters(), lr=fit.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, fit.learning_rate, total_steps=fit.steps, pct_start=0.1
    )
    recent = 0.0
    for step in range(fit.steps):
        draw = generator(fit.seed, "autoencoder", step)
        chosen = torch.randint(num_samples, (fit.batch,), generator=draw)
        pixels = torch.stack([sample(int(i)) for i in chosen])
        posterior = vae.encode(pixels).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=draw)
        decoded = vae.decode(posterior.mean + posterior.std * noise, return_dict=False)[0]
        error = (decoded - pixels).abs().mean()
        loss = error + fit.kl_weight * posterior.kl().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        recent = error.item() if step == 0 else 0.95 * recent + 0.05 * error.item()
        report(step, recent)
    vae.eval()
    _measure_statistics(vae, sample, num_samples)
    return recent


@torch.inference_mode()
def _measure_statistics(
    vae: Any, sample: Callable[[int], Float[Tensor, "3 f h w"]], num_samples: int
) -> None:
    """Mean and deviation of each latent channel over (at most 64) clips, into the config."""
    count = min(num_samples, 64)
    latents = torch.cat(
        [vae.encode(sample(i)[None]).latent_dist.mode().flatten(2) for i in range(count)], dim=2
    ).movedim(1, 0).flatten(1)
    vae.register_to_config(
        latents_mean=latents.mean(1).tolist(),
        latents_std=latents.std(1).clamp(min=1e-3).tolist(),
    )
