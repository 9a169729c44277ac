"""A model to use or to pass on: from a run, finished or stopped, or from a model that is there.

A run gives an adapter or a stock folder of any checkpoint that it kept, of averaged weights or not.
An adapter gives a folder; a folder gives a folder of another type or shard size.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from videojam.joint.base import is_hub_id
from videojam.joint.checkpoint import (
    LORA_FILE,
    JointInfo,
    load_base,
    load_pipeline,
    save_adapter,
    save_folder,
    transformers,
)
from videojam.joint.find_family import family_of
from videojam.joint.latents import latent_channels
from videojam.joint.source import find_source
from videojam.training.checkpoints import checkpoints, load_weights
from videojam.training.config import TrainConfig
from videojam.training.model import trainable_model
from videojam.workflow.model_card import write_card


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportConfig:
    """What to export, and how."""

    source: str
    "Folder of a run, an adapter, a joint folder, or the hub id of one of them."
    out: Path
    "Folder to write; it must not be there yet, or be empty."
    form: Literal["adapter", "folder"] = "folder"
    "adapter: base + LoRA + projections. folder: stock diffusers folder."
    checkpoint: int | None = None
    "Step of a run's checkpoint; default the newest."
    weights: Literal["auto", "averaged", "last"] = "auto"
    "Of a run's checkpoint: averaged ones where there are some, averaged, or as trained last."
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    "Of the weights but the VAE's; default as they are stored."
    shard_size: str = "10GB"
    "The largest file of a folder."
    base_model: str | None = None
    "Where the base is, if not where the run or the adapter says."
    license: str | None = None
    "Of the model card; default that of the base, as far as it is known."
    push_to_hub: str | None = None
    "Repository owner/name to upload the result to; it is made if it is not there, private."

    def __post_init__(self) -> None:
        if self.push_to_hub is not None and not is_hub_id(self.push_to_hub):
            raise ValueError(f"push_to_hub is {self.push_to_hub!r}, expected owner/name")


def export(config: ExportConfig) -> Path:
    """Write the model and its card; returns the folder.

    Raises ValueError, before anything is written, for a source that is none, a checkpoint that is
    not there, a form that cannot be made, or a folder that holds something.
    """
    if config.out.exists() and any(config.out.iterdir()):
        raise ValueError(f"{config.out} is not empty; give another --out")
    dtype = config.dtype and getattr(torch, config.dtype)
    run = _run_settings(Path(config.source))
    if run is None:
        if config.checkpoint is not None or config.weights != "auto":
            raise ValueError(f"{config.source} is no run; checkpoint and weights are for runs")
        pipe, info = _loaded(config, dtype)
    else:
        pipe, info = _trained(config, run)
        if config.form == "folder" and run["train"]["mode"] == "lora":
            for transformer in transformers(pipe).values():
                transformer.fuse_lora()
                transformer.unload_lora()
    if config.form == "adapter":
        save_adapter(pipe, config.out, info, dtype)
    else:
        for transformer in transformers(pipe).values() if dtype else ():
            transformer.to(dtype)
        save_folder(pipe, config.out, info, max_shard_size=config.shard_size)
    write_card(config.out, info, Path(config.source) if run else None, run, config.license)
    if config.push_to_hub:
        _push(config.out, config.push_to_hub)
    return config.out


def _run_settings(folder: Path) -> dict[str, Any] | None:
    """config.json of a run; None for what is no run."""
    try:
        settings = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        parts = [folder / part for part in ("transformer", "transformer_2")]
        if all((part / "checkpoints").is_dir() for part in parts):  # a run of two experts
            return _run_settings(parts[0])
        return None
    return settings if {"train", "data"} <= settings.keys() else None


def _loaded(config: ExportConfig, dtype: torch.dtype | None) -> tuple[Any, JointInfo]:
    is_adapter = (find_source(config.source).folder / LORA_FILE).is_file()
    if config.form == "adapter" and not is_adapter:
        raise ValueError(f"{config.source} is a whole model, which gives no adapter; form=folder")
    options: dict[str, Any] = {"base": config.base_model} if config.base_model else {}
    if is_adapter:
        options["fuse"] = config.form == "folder"
    return load_pipeline(config.source, dtype, **options)


def _trained(config: ExportConfig, run: Mapping[str, Any]) -> tuple[Any, JointInfo]:
    """The base with a checkpoint's weights in it, as at the end of training."""
    settings, folder = run["train"], Path(config.source)
    if settings["target"] != "joint":
        raise ValueError(f"{folder} trained a plain model, not a joint one")
    if config.form == "adapter" and settings["mode"] != "lora":
        raise ValueError(f"{folder} trained in full, which gives no adapter; use form=folder")
    data = {k: v for k, v in run["data"].items() if v is not None}
    info = JointInfo(**data)
    info = replace(
        info,
        base=config.base_model or info.base,
        text_dropout=settings["objective"]["text_dropout"],
        motion_dropout=settings["objective"]["motion_dropout"],
    )
    chosen: dict[str, Path] = {}
    names = ("transformer", "transformer_2")
    two = all((folder / name / "checkpoints").is_dir() for name in names)
    for name in names if two else names[:1]:
        chosen[name] = _checkpoint(folder / name if two else folder, config.checkpoint)
    pipe = load_base(info.base)
    if len(transformers(pipe)) != len(chosen):
        raise ValueError(
            f"{folder} holds checkpoints of {len(chosen)} of the {len(transformers(pipe))} experts "
            f"of {info.base}; train both"
        )
    train = TrainConfig(
        out=folder, mode=settings["mode"], lora_rank=settings["lora_rank"],
        lora_alpha=settings["lora_alpha"],
    )  # fmt: skip
    for name, base in transformers(pipe).items():
        types = {key: value.dtype for key, value in base.state_dict().items()}
        model = trainable_model(base, train, family_of(base), latent_channels(pipe.vae))
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        load_weights(chosen[name], trained, config.weights)
        if settings["mode"] == "full":
            for key, parameter in model.named_parameters():
                parameter.data = parameter.data.to(types[key])
        pipe.register_modules(**{name: model.requires_grad_(False).eval()})
    return pipe, info


def _checkpoint(run: Path, step: int | None) -> Path:
    there = checkpoints(run / "checkpoints")
    found = [path for path in there if step is None or path.name == f"step-{step:08d}"]
    if not found:
        steps = ", ".join(str(int(path.name.rpartition("-")[2])) for path in there) or "none"
        raise ValueError(f"{run} has no checkpoint{f' of step {step}' if step else ''}: {steps}")
    return found[-1]


def _push(folder: Path, repository: str) -> None:
    from huggingface_hub import HfApi

    try:
        HfApi().create_repo(repository, private=True, exist_ok=True)
        HfApi().upload_folder(repo_id=repository, folder_path=folder)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder} is written, but was not uploaded to {repository}: {error}"
        ) from error
