"""The wind tunnel: does VideoJAM help on a world of one line, where one core can train five seeds?

    videojam evaluate scanline --out runs/scanline --quick
    videojam evaluate scanline --out runs/scanline --seeds 5

From nothing, for each training seed: a base, then a control (the base's own objective) and a joint
model, of equal steps on the same clips and noises. Then the paper in small: the main comparison at
each system's own best scales, the loss of shuffled frames (Figure 3), clips continued from a step
(Figure 8), guidance without one of its parts (Table 3), and sweeps of w1, w2 and the window.

Scales are chosen on development captions of all training seeds together, and are those of all.
The primary metric, declared before anything was compared, is `lawful` (lab/scanline/laws.py). The
same command goes on where it was stopped, and run again beside itself it shares the work.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from videojam.evaluation.experiments.scanline import compared, noticed, report
from videojam.evaluation.experiments.scanline.bench import Bench
from videojam.evaluation.experiments.scanline.compared import Scope
from videojam.evaluation.experiments.scanline.model import Sizes
from videojam.evaluation.experiments.scanline.report import SeedFigures
from videojam.evaluation.experiments.scanline.running import Running, share_out
from videojam.evaluation.experiments.scanline.settings import Recipe, Triple
from videojam.evaluation.experiments.scanline.triple import train_all
from videojam.evaluation.report.results import settle, write_results
from videojam.lab.scanline.world import Kind, World
from videojam.sampling.pipeline import Sampling


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Running):
    """Base, control and joint model on a world of one line, from nothing, for several seeds."""

    quick: bool = False
    "A smaller world and model, two seeds: a look in minutes on two cores."
    first_seed: int = 0
    "Training seeds are counted from it."
    kind: Kind = "bounce"
    "bounce: two balls before a still texture. scroll: everything moves."
    radius: float = 2.0
    "Half the length of a ball in px: how much of the picture moves."
    background: float = 0.9
    "Standard deviation of what stands still; a ball's colour has 0.75."
    speed: float = 1.0
    "Factor on the speeds, 0.6 to 2.9 px a frame."
    frames: int = 12
    width: int = 48
    "Pixels of the line, a multiple of 4."
    recipe: Recipe = field(default_factory=Recipe)
    scope: Scope = field(default_factory=Scope)

    def __post_init__(self) -> None:
        Running.__post_init__(self)  # super() is lost in a dataclass with slots
        self.triples()  # raises for a world that cannot be

    def triples(self) -> list[Triple]:
        """One for each training seed."""
        world = World(
            kind=self.kind, radius=self.radius, background=self.background, speed=self.speed,
            frames=self.frames, width=self.width,
        )  # fmt: skip
        sizes = Sizes(layers=2, head_dim=32, feed_forward=256) if self.quick else Sizes()
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        return [Triple(world=world, sizes=sizes, recipe=self.recipe, seed=seed) for seed in seeds]


def run(config: Config) -> dict[str, Any]:
    """Train and measure what is not there yet, write the results; returns the figures."""
    if config.quick:
        config = _quick(config)
    out, models, speed = settle(config, {}), config.models_folder, config.set_up()
    triples = {triple.seed: triple for triple in config.triples()}
    folders = {seed: out / f"seed-{seed}" for seed in triples}
    train_all(triples.values(), models, speed)

    def bench(seed: int) -> Bench:
        return Bench(triples[seed], models, folders[seed], speed)

    share_out(folders, lambda seed: compared.develop(bench(seed), config.scope))
    chosen = compared.choose([bench(seed) for seed in triples], config.scope)
    for name, sampling in chosen.items():
        Console().print(f"{name} is best at {compared.scales(sampling)}")
    figures: dict[str, Any] = {}
    done: dict[int, SeedFigures] = {}

    def work(seed: int) -> None:
        done[seed] = measure(bench(seed), config.scope, chosen)
        figures.update(_write(config, chosen, done))

    share_out(folders, work)
    return figures


def measure(bench: Bench, scope: Scope, chosen: dict[str, Sampling]) -> SeedFigures:
    """Everything of one training seed at scales chosen before."""
    return SeedFigures(
        swept=compared.sweep(bench, scope, chosen[compared.GUIDED]),
        compared=compared.compare(bench, scope, chosen),
        shuffled=noticed.shuffled_losses(bench, scope),
        continued=noticed.continued(bench, scope, chosen),
        ablated=compared.ablate(bench, scope, chosen[compared.GUIDED]),
        strip=report.strip_of(bench, scope, chosen),
    )


def _write(
    config: Config, chosen: dict[str, Sampling], done: dict[int, SeedFigures]
) -> dict[str, Any]:
    """The results of the seeds so far, so that they can be looked at early."""
    seeds = dict(sorted(done.items()))
    figures = report.summarise(chosen, seeds)
    report.draw(config.out, figures, seeds)
    text = report.markdown(figures, asdict(config))
    Console().print(Markdown(text))
    return write_results(config, "scanline", figures, text)


def _quick(config: Config) -> Config:
    recipe = replace(
        config.recipe, batch=min(config.recipe.batch, 64),
        base_steps=min(config.recipe.base_steps, 800),
        tune_steps=min(config.recipe.tune_steps, 500),
    )  # fmt: skip
    scope = replace(
        config.scope, prompts=min(config.scope.prompts, 64),
        development=min(config.scope.development, 64), steps=min(config.scope.steps, 20),
        text_scales=config.scope.text_scales[:3][-2:],
        motion_scales=config.scope.motion_scales[:3][-2:],
        motion_stops=config.scope.motion_stops[:2], loss_clips=min(config.scope.loss_clips, 32),
        continued_clips=min(config.scope.continued_clips, 64),
    )  # fmt: skip
    return replace(
        config, recipe=recipe, scope=scope, seeds=min(config.seeds, 2),
        frames=min(config.frames, 8), width=min(config.width, 32),
    )  # fmt: skip
