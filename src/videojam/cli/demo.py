"""videojam demo: what the embedded models make, on one page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from videojam.demo.demo import Demo, run_demo


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoArgs:
    """Base, control and VideoJAM from the same noise, with exact metrics, offline.

    The same command again makes what is missing.
    """

    out: Path = Path("runs/demo")
    "Where to write; open index.html there."
    models: Path | None = None
    """Folder with base, control and videojam, as `videojam lab-model` makes it, for the scenes;
    default the embedded ones."""
    demo: Annotated[Demo, tyro.conf.arg(name="")] = Demo()


def main(args: DemoArgs) -> None:
    """Run it."""
    run_demo(args.out, args.demo, args.models, Console())
