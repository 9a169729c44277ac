"""videojam evaluate EXPERIMENT: compare systems, and the paper's experiments, one module each.

A module under evaluation has a frozen dataclass `Config`, whose fields are the
options, and `run(config) -> dict`, which writes its files into config.out.
"""

import difflib
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

# Experiment -> (module, what it does). Imported when asked for, so help is quick.
EXPERIMENTS = {
    "compare": (
        "compare.experiment",
        "any systems on any prompts, side by side: tables, one report",
    ),
    "vbench": ("vbench.experiment", "the real VBench, in an environment of its own"),
    "paper-tables": ("report.published", "the paper's tables, and their aggregates computed again"),
    "comparison": (
        "experiments.comparison",
        "base, control and VideoJAM on the Motion Lab (Tables 1 to 7)",
    ),
    "premise": (
        "premise.experiment",
        "does your base's loss notice motion on your clips? before paying for training",
    ),
    "permuted-loss": (
        "experiments.permuted_loss.experiment",
        "loss of clips with shuffled frames (Figure 3)",
    ),
    "continuation": (
        "experiments.continuation.experiment",
        "clips noised to a step and continued (Figure 8)",
    ),
    "ablations": ("experiments.ablations", "guidance without one of its parts (Table 3)"),
    "scanline": (
        "experiments.scanline.experiment",
        "the paper in small, from nothing, on clips of one line",
    ),
    "scanline-map": (
        "experiments.scanline.gain_map",
        "when does it help? gains over worlds and recipes of one line",
    ),
    "scanline-trials": (
        "experiments.scanline.trials",
        "what shortens the way? joint trainings that differ in one thing",
    ),
    "sweeps": ("experiments.sweeps", "Inner-Guidance over its scale and its window"),
    "representation": (
        "experiments.representation.experiment",
        "how motion is written as a video",
    ),
    "agreement": (
        "experiments.agreement.experiment",
        "predicted motion against that of the video",
    ),
}


class Chosen(NamedTuple):
    """An experiment found on the command line."""

    name: str
    config: type
    run: Callable[[Any], Any]
    options: list[str]
    "What is left of the command line."


def choose(options: list[str]) -> Chosen:
    """The experiment that the first word names.

    Prints the list and exits without one, or for --help. ValueError names the nearest.
    """
    if not options or options[0] in ("-h", "--help"):
        lines = (f"  {name:<15} {about}" for name, (_, about) in EXPERIMENTS.items())
        print("usage: videojam evaluate EXPERIMENT [options]\n\n" + "\n".join(lines))
        print("\n`videojam evaluate EXPERIMENT --help` lists the options; most have --quick.")
        raise SystemExit(0 if options else 2)
    name, *rest = options
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(name, EXPERIMENTS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"no experiment {name!r}{hint}; there are {', '.join(EXPERIMENTS)}")
    module = import_module(f"videojam.evaluation.{EXPERIMENTS[name][0]}")
    return Chosen(name, module.Config, partial(_run, module.run), rest)


def _run(run: Callable[[Any], Any], config: Any) -> None:
    """Exits with 143 after a stop that was asked for."""
    from videojam.training.loop import Stopped

    try:
        run(config)
    except Stopped as stopped:
        print(stopped)
        sys.exit(143)
