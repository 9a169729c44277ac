"""When does it help? The gain over worlds and recipes, and whether the base foretells it.

    videojam evaluate scanline-map --out runs/scanline-map

A cell is a world (how much moves, how loud what stands still is) with a recipe (steps of the base,
steps of the fine-tuning). In each, base, control and joint model are trained from nothing, scales
are chosen on development captions and gains measured on held-out ones, by the primary metric of
the scanline experiment. Beside each gain stands what the base's loss knows of the order of frames
(premise.py), which needs no fine-tuning at all. Which of those numbers goes with the gain is found
on FOUND; what a line through them foretells is tested on TESTED, whose settings and training seeds
are other ones. The same command goes on where it was stopped; run it twice to share the work.
"""

from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.markdown import Markdown

from videojam.evaluation.experiments.scanline import compared, noticed
from videojam.evaluation.experiments.scanline.bench import Bench
from videojam.evaluation.experiments.scanline.compared import CONTROL, GUIDED, JOINT, Scope
from videojam.evaluation.experiments.scanline.map_report import draw, markdown, summarise
from videojam.evaluation.experiments.scanline.model import Sizes
from videojam.evaluation.experiments.scanline.running import Running, share_out
from videojam.evaluation.experiments.scanline.settings import Recipe, Triple
from videojam.evaluation.experiments.scanline.triple import train_all
from videojam.evaluation.premise.order import Noticing, noticing
from videojam.evaluation.report.results import settle, write_results
from videojam.evaluation.statistics.bootstrap import Interval, paired_bootstrap
from videojam.lab.scanline.judge import PRIMARY
from videojam.lab.scanline.world import Kind, World

GAINS = {
    "joint training": (JOINT, CONTROL),
    "Inner-Guidance": (GUIDED, JOINT),
    "both": (GUIDED, CONTROL),
}


class Cell(NamedTuple):
    """A world and a recipe."""

    kind: Kind
    radius: float
    background: float
    base_steps: int
    tune_steps: int


# Neighbours have bases of their own, so that processes that share the work do not wait for one.
FOUND = tuple(
    Cell("bounce", radius, background, base_steps, tune_steps)
    for tune_steps, radius, background, base_steps in product(
        (400, 1600), (1.5, 3.0), (0.3, 0.9), (800, 2400)
    )
)
TESTED = (
    Cell("bounce", 2.0, 0.9, 2400, 4800),  # the longest first, so that nobody waits for it at last
    Cell("bounce", 2.0, 0.6, 1600, 800),
    Cell("bounce", 2.0, 1.2, 1600, 800),
    Cell("bounce", 2.0, 0.0, 1600, 800),
    Cell("bounce", 1.0, 0.6, 1600, 1600),
    Cell("bounce", 4.0, 0.6, 1600, 1600),
    Cell("bounce", 4.0, 1.2, 3200, 1600),
    Cell("scroll", 2.0, 0.9, 800, 800),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Running):
    """The gain over worlds and recipes, and whether a number of the base foretells it."""

    quick: bool = False
    "Every eighth cell, a hundredth of the steps: whether it runs, not what it says."
    seeds: int = 1
    "Training seeds of each cell; those of the tested cells follow those of the others."
    frames: int = 8
    width: int = 32
    "Pixels of the line, a multiple of 4."
    sizes: Sizes = field(
        default_factory=lambda: Sizes(layers=3, heads=2, head_dim=32, feed_forward=256)
    )
    recipe: Recipe = field(default_factory=Recipe)
    "What is the same in all cells."
    scope: Scope = field(
        default_factory=lambda: Scope(
            prompts=256, development=128, steps=20, text_scales=(1.5, 3.0, 6.0),
            motion_scales=(2.0, 6.0), motion_stops=(0.5,), loss_clips=64, continued_clips=2,
        )
    )  # fmt: skip

    def __post_init__(self) -> None:
        Running.__post_init__(self)  # super() is lost in a dataclass with slots
        for cell in (*FOUND, *TESTED):
            self.triple(cell, 0)  # raises for a world that cannot be

    def triple(self, cell: Cell, seed: int) -> Triple:
        world = World(
            kind=cell.kind, radius=cell.radius, background=cell.background, frames=self.frames,
            width=self.width,
        )  # fmt: skip
        shorter = 100 if self.quick else 1
        recipe = replace(
            self.recipe, base_steps=cell.base_steps // shorter,
            tune_steps=cell.tune_steps // shorter,
        )  # fmt: skip
        return Triple(world=world, sizes=self.sizes, recipe=recipe, seed=seed)

    def cells(self) -> dict[str, tuple[Cell, ...]]:
        every = 8 if self.quick else 1
        return {"found": FOUND[::every], "tested": TESTED[::every]}

    def triples(self) -> dict[tuple[str, Cell, int], Triple]:
        """(set, cell, seed) -> what is trained."""
        return {
            (which, cell, seed): self.triple(cell, seed)
            for place, (which, cells) in enumerate(self.cells().items())
            for cell in cells
            for seed in range(place * self.seeds, (place + 1) * self.seeds)
        }


class Measured(NamedTuple):
    """Of one cell and training seed."""

    gains: dict[str, Interval]
    "What brings it -> the gain in the primary metric, interval over prompts."
    base: float
    control: float
    noticing: Noticing


def run(config: Config) -> dict[str, Any]:
    """Train and measure what is not there yet, write the results; returns the figures."""
    out, models, speed = settle(config, {}), config.models_folder, config.set_up()
    done: dict[tuple[str, Cell, int], Measured] = {}
    triples = config.triples()
    folders = {key: out / "cells" / triple.name("joint") for key, triple in triples.items()}

    def work(key: tuple[str, Cell, int]) -> None:
        train_all([triples[key]], models, speed)
        done[key] = measure(Bench(triples[key], models, folders[key], speed), config.scope)
        gain = done[key].gains["both"].mean
        console = Console()
        console.print(f"{len(done)}/{len(triples)} {key[1]}: {PRIMARY} {gain:+.3f}", soft_wrap=True)

    share_out(folders, work)
    figures = summarise(rows_of(config, done), [*GAINS])
    draw(out / "plot.png", figures)
    text = markdown(figures)
    Console().print(Markdown(text))
    return write_results(config, "scanline-map", figures, text)


def measure(bench: Bench, scope: Scope) -> Measured:
    """Scales on development captions, gains on held-out ones, the base's loss on held-out clips."""
    chosen = compared.choose([bench], scope)
    scores = {
        name: bench.scores(compared.ROLES[name], sampling, "held out", scope.prompts)[PRIMARY]
        for name, sampling in chosen.items()
    }
    clusters = torch.arange(scope.prompts)
    return Measured(
        {
            what: paired_bootstrap(scores[a], scores[b], clusters)
            for what, (a, b) in GAINS.items()
        },
        float(scores[compared.BASE].mean()),
        float(scores[CONTROL].mean()),
        noticing(noticed.base_losses(bench, scope)),
    )  # fmt: skip


def rows_of(config: Config, done: dict[tuple[str, Cell, int], Measured]) -> list[dict[str, Any]]:
    """The cells as JSON values."""
    return [
        {
            "set": which, "seed": seed, **cell._asdict(),
            "moving": config.triple(cell, seed).world.moving_share,
            "base": one.base, "control": one.control,
            "gains": {what: gain._asdict() for what, gain in one.gains.items()},
            "noticing": one.noticing._asdict(),
        }
        for (which, cell, seed), one in sorted(done.items(), key=lambda item: item[0])
    ]  # fmt: skip
