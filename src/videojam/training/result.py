"""What a run leaves: the adapter, the stock folder, or both."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from videojam.joint.adapter import save_adapter
from videojam.joint.checkpoint import save_components, save_folder
from videojam.joint.fingerprint import Samples
from videojam.joint.info import JointInfo
from videojam.training.config import TrainConfig
from videojam.training.model import restore_dtypes


class Base(NamedTuple):
    """What a transformer was before it was trained."""

    dtypes: dict[str, torch.dtype]
    samples: Samples | None
    "A few of its values (fingerprint.py), where training does not keep them as they were."


def export_run(config: TrainConfig, pipe: Any, info: JointInfo, bases: dict[str, Base]) -> Path:
    """Write the adapter and / or the stock folder. bases: of each transformer, by name."""
    form, joint = config.export, config.target == "joint"
    dropouts = config.objective
    info = replace(info, text_dropout=dropouts.text_dropout, motion_dropout=dropouts.motion_dropout)
    if form == "auto":
        form = "adapter" if config.mode == "lora" and joint else "folder"
    adapter, folder = config.out / "adapter", config.out / "model"
    if form in ("adapter", "both"):
        samples = {part: base.samples for part, base in bases.items() if base.samples}
        save_adapter(pipe, adapter, info, samples=samples)
    if form in ("folder", "both"):
        for part, base in bases.items():
            model = getattr(pipe, part)
            if config.mode == "lora":
                model.fuse_lora()
                model.unload_lora()
            restore_dtypes(model, base.dtypes)
        save_folder(pipe, folder, info) if joint else save_components(pipe, folder)
    return folder if form == "folder" else adapter
