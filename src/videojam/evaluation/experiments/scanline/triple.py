"""One triple into a folder of models that triples share, by any number of processes.

    train(Triple(seed=3), Path("runs/models"), Speed())

Each model has a folder named after the settings that decide it, so a list of triples that differ
in the joint model alone trains one base and one control. A model is trained by the process that
holds its lock; a lock is the operating system's, and ends with its process.
"""

import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from safetensors.torch import load_file, save_file

from videojam.evaluation.experiments.scanline.fit import Speed, fit
from videojam.evaluation.experiments.scanline.model import CHANNELS, base_transformer
from videojam.evaluation.experiments.scanline.settings import Role, Triple
from videojam.joint.widen import widen
from videojam.records.atomic import replacing, write_text
from videojam.records.lock import held

_WEIGHTS = "weights.safetensors"
_PATIENCE_S = 10.0


def train(triple: Triple, models: Path, speed: Speed) -> None:
    """Train what is missing of a triple, waiting for what others train just now."""
    train_all([triple], models, speed)


def train_all(triples: Iterable[Triple], models: Path, speed: Speed) -> None:
    """Train what is missing of all triples, in their order but for what others train just now."""
    train_roles([(triple, role) for triple in triples for role in get_args(Role)], models, speed)


def train_roles(wanted: Iterable[tuple[Triple, Role]], models: Path, speed: Speed) -> None:
    """Some roles of some triples; a role's base comes with it, or before it."""
    todo = [*wanted]
    while todo:
        busy = [one for one in todo if not _train_free(*one, models, speed)]
        if len(busy) == len(todo):
            time.sleep(_PATIENCE_S)
        todo = busy


def is_trained(triple: Triple, role: Role, models: Path) -> bool:
    return (models / triple.name(role) / _WEIGHTS).is_file()


def load(triple: Triple, role: Role, models: Path, device: str = "cpu") -> Any:
    """A trained transformer. ValueError if it is not there yet."""
    path = models / triple.name(role) / _WEIGHTS
    if not path.is_file():
        raise ValueError(f"{path} is not there; train the triple of seed {triple.seed} first")
    model = _untrained(triple, role)
    model.load_state_dict(load_file(path))
    return model.to(device).eval()


def _train_free(triple: Triple, role: Role, models: Path, speed: Speed) -> bool:
    """Whether this model is trained now; False if others are at it, or at its base."""
    if is_trained(triple, role, models):
        return True
    if role != "base" and not is_trained(triple, "base", models):
        return False
    folder = models / triple.name(role)
    with held(folder) as mine:
        if not mine:
            return False
        if not is_trained(triple, role, models):  # by another process, just before
            write_text(folder / "settings.json", json.dumps(triple.settings(role), indent=2) + "\n")
            model = fit(_start(triple, role, models), triple, role, folder, speed)
            with replacing(folder / _WEIGHTS) as part:
                save_file({k: v.cpu().contiguous() for k, v in model.state_dict().items()}, part)
            shutil.rmtree(folder / "checkpoints")
            Console().print(f"trained {folder}", soft_wrap=True)
    return True


def _start(triple: Triple, role: Role, models: Path) -> Any:
    if role == "base":
        return base_transformer(triple.sizes, triple.seed)
    base = load(triple, "base", models)
    return widen(base, latent_channels=CHANNELS) if role == "joint" else base


def _untrained(triple: Triple, role: Role) -> Any:
    base = base_transformer(triple.sizes, triple.seed)
    return widen(base, latent_channels=CHANNELS) if role == "joint" else base
