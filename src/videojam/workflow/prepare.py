"""A dataset made of captioned videos with a model's own encoders."""

import functools

import torch

from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.prepare import prepare
from videojam.data.prepare.report import Report
from videojam.joint.checkpoint import load_encoders
from videojam.joint.denoiser import text_inputs
from videojam.joint.families import family_of
from videojam.joint.latents import encode_video
from videojam.joint.sizes import Size, latent_size
from videojam.motion.flow import FlowEstimator


def prepare_dataset(
    config: PrepareConfig,
    estimator: FlowEstimator,
    device: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Report:
    """Load the VAE and text encoder of config.model (its transformer stays on the disk), prepare.

    device: where the model's parts compute; default the GPU where there is one. dtype: in what the
    VAE computes; bfloat16 pixels lose slow motion. The text encoder computes in the type that its
    weights are stored in on a GPU, in float32 on the CPU. Raises ValueError for a model of
    no known family, and whatever prepare raises.
    """
    if not config.model:
        raise ValueError("model is empty, expected a diffusers folder or hub id; pass --model")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    pipe, transformer = load_encoders(config.model, torch.float32 if device == "cpu" else None)
    family = family_of(transformer)
    sizes = [Size(config.num_frames, *size) for size in config.sizes]
    for size in sizes:  # the config only knows the multiples that most models have
        latent_size(pipe, transformer, size, family.pixel_multiple)
    pipe.to(device)
    pipe.vae.to(dtype)
    return prepare(
        config,
        encode_video=functools.partial(encode_video, pipe.vae, transformer=transformer),
        encode_text=lambda captions: text_inputs(pipe, captions, sizes[0], family, transformer),
        estimator=estimator,
        device=device,
        encoded_with=f"VAE in {str(dtype).removeprefix('torch.')}",
    )
