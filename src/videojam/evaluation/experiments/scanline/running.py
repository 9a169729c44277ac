"""What all experiments on the scanline world are told; how processes share their work."""

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from videojam.evaluation.experiments.scanline.fit import Speed
from videojam.records.lock import held

Piece = TypeVar("Piece", bound=Hashable)
_PATIENCE_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """Where results go, and how they are computed."""

    out: Path
    "Where results.json, results.md and pictures are written. The same command again goes on."
    models: Path | None = None
    "Trained models, which experiments may share; default: a folder in --out."
    seeds: int = 5
    "Training seeds."
    device: str = "cpu"
    compile: bool = True
    "Compile the transformer's blocks: a fifth faster; needs a compiler."
    threads: int = 1
    "Of torch, for each process that runs this command."

    def __post_init__(self) -> None:
        for name in ("seeds", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")

    @property
    def models_folder(self) -> Path:
        return self.models or self.out / "models"

    def set_up(self) -> Speed:
        """How to compute; sets the number of torch's threads."""
        torch.set_num_threads(self.threads)
        return Speed(device=self.device, compile=self.compile)


def share_out(pieces: Mapping[Piece, Path], work: Callable[[Piece], object]) -> None:
    """Do every piece under the lock of its folder, those that others are at last.

    Processes that call it with the same pieces share the work: a piece that another one has done is
    done again here, which takes no time where its results are kept.
    """
    todo = dict(pieces)
    while todo:
        for piece, folder in [*todo.items()]:
            with held(folder) as mine:
                if mine:
                    work(piece)
                    del todo[piece]
        if todo:
            time.sleep(_PATIENCE_S)
