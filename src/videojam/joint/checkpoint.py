"""Saving and loading joint models.

Two forms. A *folder* is a stock diffusers folder whose transformer has doubled channels; stock
pipelines load it. An *adapter* is what LoRA training adds to a base: LoRA weights in diffusers'
own file and format, the trained projections in full, and the base's name. Both carry
`videojam.json`, which says what the motion half means; it is a file of its own because diffusers
warns about unknown keys in a transformer's config.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from videojam.joint.denoiser import empty_transformer
from videojam.joint.families import ModelFamily, family_named, family_of
from videojam.joint.latents import latent_channels
from videojam.joint.widen import is_widened, projection_names, widen

INFO_FILE = "videojam.json"
LORA_FILE = "pytorch_lora_weights.safetensors"
PROJECTIONS_FILE = "projections.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class JointInfo:
    """What a joint model was trained on; sampling and decoding the motion half need it."""

    sigma: float
    "Share of the frame diagonal at which the motion colour saturates."
    background: str
    "Colour of no motion: black or white."
    estimator: str
    "Optical flow estimator of the training data."
    fps: float
    height: int
    width: int
    num_frames: int
    base: str
    "Folder or hub id of the base model."


def write_info(folder: Path, info: JointInfo) -> None:
    (folder / INFO_FILE).write_text(json.dumps(asdict(info), indent=2) + "\n")


def read_info(folder: Path) -> JointInfo:
    """ValueError if the folder has no videojam.json, or one with missing or unknown keys."""
    path = folder / INFO_FILE
    if not path.is_file():
        raise ValueError(
            f"{folder} has no {INFO_FILE}, so it is not a VideoJAM model; give a folder that "
            "`videojam train` exported"
        )
    data = json.loads(path.read_text())
    names = {field.name for field in fields(JointInfo)}
    if set(data) != names:
        raise ValueError(f"{path} has keys {sorted(data)}, expected {sorted(names)}")
    return JointInfo(**data)


def save_folder(pipe: Any, folder: Path, info: JointInfo) -> None:
    """The pipeline as a stock diffusers folder. ValueError if a transformer is not joint."""
    for transformer in transformers(pipe).values():
        if not is_widened(transformer, latent_channels=latent_channels(pipe.vae)):
            raise ValueError("the pipeline's transformer is not joint; widen() it before saving")
    pipe.save_pretrained(folder)
    write_info(folder, info)


def transformers(pipe: Any) -> dict[str, Any]:
    """The pipeline's transformers by name: Wan 2.2 A14B has two."""
    both = {name: getattr(pipe, name, None) for name in ("transformer", "transformer_2")}
    return {name: transformer for name, transformer in both.items() if transformer is not None}


def save_adapter(pipe: Any, folder: Path, info: JointInfo) -> None:
    """LoRA (diffusers format, alpha included) and projections of joint transformers.

    Those of a second transformer are in a folder of its name.
    """
    for part, transformer in transformers(pipe).items():
        part_folder = _part_folder(folder, part)
        part_folder.mkdir(parents=True, exist_ok=True)
        transformer.save_lora_adapter(part_folder, weight_name=LORA_FILE)
        state = {
            f"{name}.{key}": value.detach().cpu().contiguous()
            for name in projection_names(family_of(transformer))
            for key, value in transformer.get_submodule(name).state_dict().items()
        }
        save_file(state, part_folder / PROJECTIONS_FILE, metadata={"format": "pt"})
    write_info(folder, info)


def _part_folder(folder: Path, part: str) -> Path:
    return folder if part == "transformer" else folder / part


def load_encoders(model: str, dtype: torch.dtype | None = None) -> tuple[Any, Any]:
    """A pipeline without its transformers, and the first transformer on the meta device.

    What preparing data needs: VAE, text encoders and configs; transformers stay on the disk.
    Raises ValueError for a model of no known family, and one whose pipeline cannot be driven.
    """
    from diffusers import DiffusionPipeline

    index: Any = DiffusionPipeline.load_config(model)
    check_runs(index["_class_name"], family_named(index["transformer"][1]))
    absent = {name: None for name in index if name.startswith("transformer")}
    return DiffusionPipeline.from_pretrained(model, dtype=dtype, **absent), empty_transformer(model)


def check_runs(pipeline: str, family: ModelFamily) -> None:
    """ValueError unless prepare, train and generate know this pipeline class."""
    if pipeline not in family.pipelines:
        known = " or ".join(family.pipelines) or "no pipeline"
        raise ValueError(
            f"{pipeline} of {family.transformer} cannot be run here, expected {known}"
            + (f": {family.limits}" if family.limits else "; load the text-to-video pipeline")
        )


def load_pipeline(folder: Path | str, dtype: torch.dtype | None = None) -> tuple[Any, JointInfo]:
    """The stock pipeline of a folder or an adapter, with joint transformers, and its info.

    An adapter loads the base it names, widens it, and puts the trained parts in.
    """
    from diffusers import DiffusionPipeline

    folder = Path(folder)
    info = read_info(folder)
    if not (folder / LORA_FILE).is_file():
        return DiffusionPipeline.from_pretrained(folder, dtype=dtype), info
    pipe: Any = DiffusionPipeline.from_pretrained(info.base, dtype=dtype)
    for part, base in transformers(pipe).items():
        part_folder = _part_folder(folder, part)
        transformer = widen(base, latent_channels=latent_channels(pipe.vae))
        load_projections(transformer, part_folder)
        transformer.load_lora_adapter(part_folder, prefix=None, weight_name=LORA_FILE)
        pipe.register_modules(**{part: transformer})
    return pipe, info


def load_projections(transformer: Any, folder: Path) -> None:
    """Copy an adapter's projections in. ValueError if names or shapes are another model's."""
    state = transformer.state_dict()
    for name, value in load_file(folder / PROJECTIONS_FILE).items():
        if name not in state or state[name].shape != value.shape:
            shape = tuple(state[name].shape) if name in state else "nothing of this name"
            raise ValueError(
                f"{folder} has {name} of shape {tuple(value.shape)}, but the model has {shape}; "
                "the adapter was trained on another base"
            )
        state[name].copy_(value)
