"""The three models that the experiments compare, and the held-out clips to compare them on."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.embedded.lab_file import lab_of
from videojam.embedded.shipped import NAMES, embedded
from videojam.guidance.branches import joint_channels
from videojam.joint.checkpoint import JointInfo, load_pipeline
from videojam.joint.denoiser import Denoiser
from videojam.joint.inputs import text_inputs
from videojam.joint.latents import encode_video
from videojam.joint.sizes import Size
from videojam.joint.text import Text, stack_text, text_as
from videojam.lab.clips import Lab
from videojam.media.video import to_pixels
from videojam.motion.color import Background
from videojam.motion.pixels import motion_pixels

LABELS = {"base": "base", "control": "control", "videojam": "VideoJAM"}


class LoadedModel(NamedTuple):
    """A loaded pipeline; `info` only for a joint one."""

    name: str
    pipe: Any
    denoiser: Denoiser
    info: JointInfo | None


def model_folders(models: Path | None) -> dict[str, Path]:
    """models/base, models/control, models/videojam; None takes the embedded ones.

    Raises ValueError that names the folder that is missing.
    """
    if models is None:
        return {name: embedded(name) for name in NAMES}
    folders = {name: models / name for name in NAMES}
    for folder in folders.values():
        if not (folder / "model_index.json").is_file():
            raise ValueError(
                f"{folder} is no diffusers folder; --models takes a folder with "
                f"{', '.join(NAMES)}, as `videojam lab-model` writes it"
            )
    return folders


def load_model(name: str, folder: Path, device: str) -> LoadedModel:
    """One of them, float32, ready to run. ValueError if `videojam` is not joint."""
    from diffusers import DiffusionPipeline

    info = None
    if name == "videojam":
        pipe, info = load_pipeline(folder, torch.float32)
        joint_channels(pipe.transformer)
    else:
        pipe = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.to(device)
    pipe.set_progress_bar_config(disable=True)
    return LoadedModel(name, pipe, Denoiser(pipe, fps=info and info.fps), info)


def held_out_lab(folder: Path, seed: int) -> Lab:
    """Clips as the joint model in `folder` was trained on, of another seed.

    ValueError for seed 0, that of the training clips.
    """
    if seed == 0:
        raise ValueError(
            "seed 0 has the clips that lab models are trained on; give 2000 for results, 1000 to "
            "choose settings"
        )
    return lab_of(folder, seed)


def encode_frames(
    model: LoadedModel, frames: UInt8[Tensor, "n f h w 3"], at_once: int = 16
) -> Float[Tensor, "n c t h2 w2"]:
    """Appearance latents, on the CPU."""
    parts = [encode_video(model.pipe.vae, to_pixels(part)) for part in frames.split(at_once)]
    return torch.cat(parts).float().cpu()


def encode_flow(
    model: LoadedModel, flow: Float[Tensor, "n k 2 h w"], at_once: int = 16
) -> Float[Tensor, "n c t h2 w2"]:
    """Motion latents in the representation that the joint model was trained on, on the CPU."""
    assert model.info is not None, "only a joint model has motion latents"
    background: Background = "white" if model.info.background == "white" else "black"
    videos = [motion_pixels(one, model.info.sigma, background) for one in flow]
    parts = [
        encode_video(model.pipe.vae, torch.stack(videos[at : at + at_once]))
        for at in range(0, len(videos), at_once)
    ]
    return torch.cat(parts).float().cpu()


def encode_captions(model: LoadedModel, captions: list[str], lab: Lab) -> Text:
    """A batch of what the captions become for the transformer, for clips of the lab."""
    size = Size(lab.frames, lab.height, lab.width)
    return text_as(stack_text(text_inputs(model.pipe, captions, size)), torch.float32)
