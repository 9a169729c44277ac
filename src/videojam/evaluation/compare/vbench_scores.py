"""VBench's six dimensions of every system of a comparison, on the clips in the common form."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from videojam.evaluation.clips.imported import Key
from videojam.evaluation.compare.config import Config
from videojam.evaluation.compare.work import Clip, Measured, file_name, shown_path
from videojam.evaluation.vbench.aggregate import PAPER_DIMENSIONS, aggregate_vbench
from videojam.evaluation.vbench.evaluate import evaluate_folder
from videojam.evaluation.vbench.results import Scores

PREFIX = "vbench_"


class VBenchScores(NamedTuple):
    """Scores of systems, and of their clips."""

    systems: dict[str, dict[str, Scores]]
    files: dict[tuple[str, Key], str]
    reason: str | None
    "Why there are none."

    @property
    def metrics(self) -> list[str]:
        return [PREFIX + name for name in PAPER_DIMENSIONS] if self.systems else []

    def of(self, system: str, key: Key) -> dict[str, float]:
        """A clip's values as vbench_DIMENSION; NaN where there is none."""
        file = self.files.get((system, key), "")
        return {
            PREFIX + name: one.clips.get(file, math.nan)
            for name, one in self.systems.get(system, {}).items()
        }

    def scores(self) -> dict[str, dict[str, float]]:
        return {
            system: {name: one.score for name, one in found.items()}
            for system, found in self.systems.items()
        }

    def aggregates(self) -> dict[str, dict[str, float]]:
        return {system: aggregate_vbench(scores) for system, scores in self.scores().items()}


def vbench_scores(
    config: Config,
    clips: Mapping[str, Mapping[Key, Clip]],
    measured: Mapping[tuple[str, Key], Measured],
    console: Console,
) -> VBenchScores:
    """Run VBench where --vbench names its environment. What it lacks is said, and ends nothing."""
    if config.vbench is None:
        return VBenchScores({}, {}, "not asked for; give --vbench with its environment")
    systems: dict[str, dict[str, Scores]] = {}
    files: dict[tuple[str, Key], str] = {}
    try:
        for system, found in clips.items():
            usable = {k: c for k, c in found.items() if measured[system, k].error is None}
            shown = {key: shown_path(config.out, clip) for key, clip in usable.items()}
            folder = config.out / "vbench" / file_name(system) / "clips"
            for old in folder.glob("*.mp4"):
                old.unlink()
            folder.mkdir(parents=True, exist_ok=True)
            for path in shown.values():
                (folder / path.name).hardlink_to(path)
            files |= {(system, key): path.name for key, path in shown.items()}
            prompts = {shown[key].name: clip.prompt for key, clip in usable.items()}
            out = (
                config.out / "vbench" / file_name(system) / f"results-{_digest([*shown.values()])}"
            )
            systems[system] = evaluate_folder(config.vbench, folder, out, PAPER_DIMENSIONS, prompts)
    except ValueError as error:
        console.print(f"without VBench: {error}", soft_wrap=True)
        return VBenchScores({}, {}, str(error))
    return VBenchScores(systems, files, None)


def _digest(files: Sequence[Path]) -> str:
    """So that results of other clips are not taken for these."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.name} ".encode() + path.read_bytes())
    return digest.hexdigest()[:12]
