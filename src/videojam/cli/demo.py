"""videojam demo: the whole path on simulated clips."""

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from videojam.demo import Demo, run_demo


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoArgs:
    """Simulated clips -> prepare -> train -> generate, offline, in a few minutes on two cores."""

    out: Path = Path("runs/demo")
    demo: Demo = field(default_factory=Demo)


def main(args: DemoArgs) -> None:
    """Run it."""
    run_demo(args.out, args.demo, Console())
