"""videojam lab-model: the embedded models, made from nothing."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from videojam.embedded.recipe import Recipe, make_lab_model
from videojam.training.loop import Stopped


@dataclass(frozen=True, kw_only=True, slots=True)
class LabModelArgs:
    """Simulate clips; train an autoencoder, a base, a control and VideoJAM on them.

    The same command again goes on where it was stopped.
    """

    out: Path = Path("runs/lab-model")
    "Folder of all stages; the models are its folders base, control and videojam."
    device: str = "cpu"
    "Where the autoencoder runs; training finds its own device."
    recipe: Annotated[Recipe, tyro.conf.arg(name="")] = Recipe()


def main(args: LabModelArgs) -> None:
    """Make them; exits with 143 after a stop that was asked for."""
    try:
        model = make_lab_model(args.recipe, args.out, args.device)
    except Stopped as stopped:
        print(stopped)
        sys.exit(143)
    print(f"wrote {model}; compare with `videojam demo --models {args.out}`")
