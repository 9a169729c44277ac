"""videojam evaluate vbench: the real VBench, in an environment of its own, on a folder of clips.

    videojam evaluate vbench --setup ~/vbench
    videojam evaluate vbench --environment ~/vbench --videos clips --out runs/vbench

`videojam evaluate compare --vbench ~/vbench` does the same for all systems of a comparison.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videojam.evaluation.report.results import markdown_table
from videojam.evaluation.vbench.aggregate import DIMENSIONS, PAPER_DIMENSIONS, aggregate_vbench
from videojam.evaluation.vbench.environment import (
    PACKAGE,
    environment_versions,
    make_environment,
)
from videojam.evaluation.vbench.evaluate import evaluate_folder
from videojam.records.atomic import write_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The real VBench on a folder of clips."""

    setup: Path | None = None
    "Make VBench's environment here (7 GB); without --videos nothing else is done."
    package: str = PACKAGE
    "What --setup installs."
    pip_options: tuple[str, ...] = ()
    "Of pip in --setup, such as --pip-options=--index-url=https://..."
    environment: Path | None = None
    "The environment that --setup made; default that of --setup."
    videos: Path | None = None
    "Folder of .mp4 clips."
    prompts: Path | None = None
    "JSON file, file name -> prompt; default the file names."
    out: Path | None = None
    "Where results go. The same command again goes on."
    dimensions: tuple[str, ...] = PAPER_DIMENSIONS
    "Default the six of the paper; `all` is all sixteen, for clips of VBench's own prompts."
    standard: bool = False
    "The clips are of VBench's own prompts, named PROMPT-0.mp4 to PROMPT-4.mp4."
    download: bool = False
    "Let VBench download its weights; otherwise those that are missing are listed."
    allow_pickle: bool = False
    "Load its weights as PyTorch did before 2.6, which runs code that is in them."
    gpus: int = 1
    "Processes, one on each GPU; on a CPU 1."

    def check(self) -> None:
        """ValueError for options that say too little."""
        if self.setup is None and self.videos is None:
            raise ValueError(
                "nothing to do; give --setup DIR, or --environment, --videos and --out"
            )
        if self.videos is not None and (self.out is None or not (self.environment or self.setup)):
            raise ValueError("--videos needs --out, and the --environment that --setup made")


def run(config: Config) -> dict[str, Any]:
    """Make the environment, evaluate, print; returns the scores and their aggregates."""
    config.check()
    if config.setup is not None:
        make_environment(config.setup, config.package, config.pip_options)
        print(f"VBench is in {config.setup}")
    environment = config.environment or config.setup
    if config.videos is None or config.out is None or environment is None:
        return {}
    config.out.mkdir(parents=True, exist_ok=True)
    prompts = json.loads(config.prompts.read_text("utf-8")) if config.prompts else None
    scores = evaluate_folder(
        environment, config.videos, config.out,
        [*DIMENSIONS] if config.dimensions == ("all",) else config.dimensions, prompts,
        standard=config.standard, download=config.download, allow_pickle=config.allow_pickle,
        gpus=config.gpus,
    )  # fmt: skip
    means = {name: one.score for name, one in scores.items()}
    figures: dict[str, Any] = {"scores": means, "versions": environment_versions(environment)}
    try:
        figures["aggregates"] = aggregate_vbench(means)
    except ValueError as error:
        print(f"no aggregates: {error}")
    write_text(config.out / "vbench.json", json.dumps(figures, indent=2) + "\n")
    shown = means | figures.get("aggregates", {})
    print(markdown_table(["", "per cent"], [[n, f"{100 * v:.1f}"] for n, v in shown.items()]))
    return figures
