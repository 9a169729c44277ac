"""videojam demo: the whole path on simulated clips."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from videojam.demo import Demo, run_demo
from videojam.training.loop import Stopped


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoArgs:
    """Simulated clips -> prepare -> train -> generate, offline, in a few minutes on two cores."""

    out: Path = Path("runs/demo")
    demo: Demo = field(default_factory=Demo)


def main(args: DemoArgs) -> None:
    """Run it; exits with 143 after a stop that was asked for."""
    try:
        run_demo(args.out, args.demo, Console())
    except Stopped as stopped:
        print(stopped)
        sys.exit(143)
