"""The model that comes with the package: base, control and VideoJAM, made by recipe.py.

The package holds packed weights (packing.py); at first use they are unpacked into stock diffusers
folders in a cache, VIDEOJAM_CACHE or ~/.cache/videojam, and loaded like any other model.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from videojam.embedded.lab_file import LAB_FILE
from videojam.embedded.packing import load_packed, save_packed
from videojam.joint.checkpoint import INFO_FILE

Name = Literal["base", "control", "videojam"]
NAMES: tuple[Name, ...] = get_args(Name)
_PACKED = Path(__file__).parent / "weights"
# Of a stock folder; everything else of it is small files, the same for all three.
_WEIGHTS = {
    "transformer": "transformer/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
}


def embedded(name: Name = "videojam") -> Path:
    """A stock diffusers folder with the embedded model's weights.

    Raises ValueError for another name, or if the package was built without weights.
    """
    if name not in NAMES:
        raise ValueError(f"no embedded model {name!r}; there are {', '.join(NAMES)}")
    packed = sorted(path for path in _PACKED.rglob("*") if path.is_file())
    if not (_PACKED / f"{name}.safetensors").is_file():
        raise ValueError(
            "this installation has no embedded model; install the package with its weights, or "
            "give a model folder with --model (videojam demo and evaluate: --models)"
        )
    digest = hashlib.sha256()
    for path in packed:
        digest.update(f"{path.relative_to(_PACKED)} {path.stat().st_size}".encode())
        digest.update(path.read_bytes())
    folder = cache() / f"embedded-{digest.hexdigest()[:12]}" / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as part:
            _unpack(name, Path(part) / name)
            try:
                (Path(part) / name).rename(folder)
            except OSError:  # another process was quicker
                if not folder.exists():
                    raise
    return folder


def cache() -> Path:
    """Where packed weights are unpacked."""
    return Path(os.environ.get("VIDEOJAM_CACHE") or Path.home() / ".cache" / "videojam")


def _unpack(name: str, folder: Path) -> None:
    from safetensors.torch import save_file

    shutil.copytree(_PACKED / "pipeline", folder)
    for extra in (_PACKED / name).iterdir():  # the transformer's config, videojam.json
        target = folder / "transformer" / extra.name if extra.name == "config.json" else folder
        target.parent.mkdir(exist_ok=True)
        shutil.copy(extra, target)
    for part, path in _WEIGHTS.items():
        source = _PACKED / f"{name if part == 'transformer' else part}.safetensors"
        state = {key: value.clone() for key, value in load_packed(source).items()}
        (folder / path).parent.mkdir(exist_ok=True)
        save_file(state, folder / path, metadata={"format": "pt"})


def pack(models: Path, target: Path = _PACKED) -> int:
    """Pack the folders `models`/base, /control and /videojam; returns the bytes written."""
    from diffusers import DiffusionPipeline

    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        part = Path(folder) / target.name
        for name in NAMES:
            pipe: Any = DiffusionPipeline.from_pretrained(models / name, dtype=torch.float32)
            save_packed(pipe.transformer.state_dict(), part / f"{name}.safetensors")
            model_folder = part / name
            model_folder.mkdir()
            shutil.copy(models / name / "transformer" / "config.json", model_folder)
            if name == "videojam":
                for file in (INFO_FILE, LAB_FILE):
                    if (models / name / file).is_file():
                        shutil.copy(models / name / file, model_folder)
                save_packed(pipe.vae.state_dict(), part / "vae.safetensors")
                save_packed(pipe.text_encoder.state_dict(), part / "text_encoder.safetensors")
                leave = shutil.ignore_patterns("*.safetensors", "transformer", INFO_FILE, LAB_FILE)
                shutil.copytree(models / name, part / "pipeline", ignore=leave)
        _forget_folders(part)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def _forget_folders(packed: Path) -> None:
    """Where the models lay on the machine that packed them is nobody else's concern."""
    for path in packed.rglob("*.json"):
        config = json.loads(path.read_text())
        if path.name == INFO_FILE:
            config["base"] = "base"
        elif config.pop("_name_or_path", None) is None:
            continue
        path.write_text(json.dumps(config, indent=2) + "\n")
