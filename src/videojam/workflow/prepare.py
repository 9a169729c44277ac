"""A dataset made of captioned videos with a model's own encoders."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image

from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.encode import Encoders
from videojam.data.prepare.prepare import prepare
from videojam.data.prepare.report import Report
from videojam.joint.checkpoint import load_encoders
from videojam.joint.control import Control, check_takes_control, control_inputs
from videojam.joint.find_family import family_of
from videojam.joint.image import Given, check_frames
from videojam.joint.inputs import image_inputs, text_inputs
from videojam.joint.latents import encode_video
from videojam.joint.sizes import Size, latent_size
from videojam.joint.text import Text
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
    load = functools.partial(model_encoders, config, device, dtype)
    encoded_with = f"VAE in {str(dtype).removeprefix('torch.')}"
    if config.runner == "local":
        encoders = load()
        return prepare(
            config,
            encode_video=encoders.video,
            encode_text=encoders.text,
            encode_image=encoders.image,
            text_with_image=encoders.text_with_image,
            encode_control=encoders.control,
            control_always=encoders.control_always,
            estimator=estimator,
            device=encoders.device,
            encoded_with=encoded_with,
        )
    # Other machines work in other folders.
    if isinstance(config.videos, Path):
        config = replace(config, videos=config.videos.absolute())
    model = Path(config.model)
    there = replace(config, model=str(model.absolute()) if model.is_dir() else config.model)
    cluster = _ray_cluster(config, functools.partial(model_encoders, there, device, dtype))
    try:
        return prepare(
            config,
            encode_video=_elsewhere,
            encode_text=cluster.text,
            estimator=estimator,
            encoded_with=encoded_with,
            runner=cluster,
        )
    finally:
        cluster.close()


def model_encoders(
    config: PrepareConfig, device: str | None = None, dtype: torch.dtype = torch.float32
) -> Encoders:
    """The VAE and text encoder of config.model, loaded; see prepare_dataset."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    pipe, transformer = load_encoders(config.model, torch.float32 if device == "cpu" else None)
    family = family_of(transformer)
    sizes = [Size(config.num_frames, *size) for size in config.sizes]
    for size in sizes:  # the config only knows the multiples that most models have
        latent_size(pipe, transformer, size, family.pixel_multiple)
    pipe.to(device)
    pipe.vae.to(dtype)

    if family.text_with_image and config.runner == "ray":
        raise ValueError(
            f"{type(pipe).__name__} reads a caption together with its clip's image, which a "
            "cluster does not; use --runner local, in shards on several machines"
        )
    if family.has_image or config.last_frame:
        check_frames(family, config.last_frame)

    def image(frames: UInt8[np.ndarray, "f h w 3"], caption: str) -> Text:
        first, last = (Image.fromarray(frames[place]) for place in (0, -1))
        given = Given(first, last if config.last_frame else None)
        size = Size(config.num_frames, *frames.shape[1:3])
        return image_inputs(pipe, given, size, family, transformer, caption)

    if config.controls:
        check_takes_control(family)
    elif family.control_always:
        raise ValueError(
            f"{type(pipe).__name__} edits a clip; name it for each video in the column control of "
            "--captions, and prepare with --controls"
        )

    def control(
        frames: UInt8[np.ndarray, "f h w 3"], mask: Bool[np.ndarray, "f h w"] | None
    ) -> Text:
        given = Control(torch.from_numpy(frames), None if mask is None else torch.from_numpy(mask))
        size = Size(config.num_frames, *frames.shape[1:3])
        return control_inputs(pipe, given, size, family, transformer)

    return Encoders(
        video=functools.partial(encode_video, pipe.vae, transformer=transformer),
        text=lambda captions: text_inputs(pipe, captions, sizes[0], family, transformer),
        device=torch.device(device),
        image=image if family.has_image else None,
        text_with_image=family.text_with_image,
        control=control if family.control_inputs else None,
        control_always=family.control_always,
    )


def _ray_cluster(config: PrepareConfig, load: Callable[[], Encoders]) -> Any:
    try:
        from videojam.data.prepare.on_ray import OnRay
    except ImportError as error:
        raise ValueError(
            f"--runner ray needs Ray ({error}); pip install 'videojam[ray]' on every machine"
        ) from error
    return OnRay(config, load)


def _elsewhere(_: torch.Tensor) -> torch.Tensor:
    raise AssertionError("pixels are encoded on the cluster")
