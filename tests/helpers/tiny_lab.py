"""The recipe of the embedded model with little of everything: all stages in seconds."""

from dataclasses import replace

from videojam.embedded.recipe import Recipe

_FULL = Recipe()
TINY = replace(
    _FULL,
    lab=replace(_FULL.lab, frames=9, height=32, width=32),
    model=replace(_FULL.model, num_layers=1, num_heads=2, vae_width=16),
    autoencoder=replace(
        _FULL.autoencoder, image_steps=2, steps=4, batch=2, crop_frames=5, crop_px=32
    ),
    autoencoder_clips=8,
    text=replace(_FULL.text, steps=5),
    captions=38,
    clips=40,
    validation_clips=4,
    base=replace(
        _FULL.base, steps=4, global_batch_size=4, warmup_steps=1, compile=False, validate_every=2,
        log_every=2, precision="fp32",
    ),
    tune_steps=3,
)  # fmt: skip
