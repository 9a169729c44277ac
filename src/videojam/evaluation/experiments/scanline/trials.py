"""What shortens the way? Joint trainings that differ from the recipe in one thing.

    videojam evaluate scanline-trials --out runs/scanline-trials

All variants of a training seed start from the same base and see the same clips and noises; each is
compared with the recipe as it is, by the primary metric without and with Inner-Guidance, at the
scales that the recipe as it is has chosen on development captions of all seeds. How soon the motion
half is learnt is read from the training loss. The same command goes on where it was stopped.
"""

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from rich.console import Console
from rich.markdown import Markdown
from torch import Tensor

from videojam.evaluation.experiments.scanline import compared
from videojam.evaluation.experiments.scanline.bench import Bench
from videojam.evaluation.experiments.scanline.compared import GUIDED, JOINT, Scope
from videojam.evaluation.experiments.scanline.model import Sizes
from videojam.evaluation.experiments.scanline.running import Running, share_out
from videojam.evaluation.experiments.scanline.settings import Recipe, Triple
from videojam.evaluation.experiments.scanline.statistics import over_seeds
from videojam.evaluation.experiments.scanline.triple import train_roles
from videojam.evaluation.report.results import markdown_table, settle, write_results
from videojam.evaluation.report.tables import show
from videojam.evaluation.statistics.bootstrap import Interval, bootstrap_mean
from videojam.lab.scanline.judge import PRIMARY
from videojam.lab.scanline.world import World
from videojam.sampling.pipeline import Sampling

AS_IT_IS = "as it is"
VARIANTS: dict[str, dict[str, Any]] = {
    AS_IT_IS: {},
    "projections at the rate of the rest": {"projection_rate": 1.0},
    "projections at 20 times the rate": {"projection_rate": 20.0},
    "projections alone for an eighth": {"projections_first": 200},
    "motion loss weighs 0.3": {"motion_weight": 0.3},
    "motion loss weighs 3": {"motion_weight": 3.0},
    "motion loss falls to 0 over the last third": {"motion_decay": 1 / 3},
    "own noise level of motion in half": {"noise_apart": 0.5},
    "colour saturates at half the speed": {"saturation": 0.5},
    "colour saturates at twice the speed": {"saturation": 2.0},
}
SYSTEMS = (JOINT, GUIDED)
LEARNT = 0.5  # share of the first motion loss that the motion half counts as learnt at


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Running):
    """Joint trainings that differ from the recipe in one thing."""

    seeds: int = 3
    "Training seeds."
    variants: tuple[str, ...] = tuple(VARIANTS)
    "Those to try, by name; the recipe as it is always is one."
    world: World = field(default_factory=lambda: World(frames=8, width=32))
    sizes: Sizes = field(
        default_factory=lambda: Sizes(layers=3, heads=2, head_dim=32, feed_forward=256)
    )
    recipe: Recipe = field(default_factory=lambda: Recipe(base_steps=2400))
    scope: Scope = field(
        default_factory=lambda: Scope(
            prompts=256, development=128, steps=20, text_scales=(1.5, 3.0, 6.0),
            motion_scales=(2.0, 6.0), motion_stops=(0.5,), loss_clips=64, continued_clips=2,
        )
    )  # fmt: skip

    def __post_init__(self) -> None:
        Running.__post_init__(self)  # super() is lost in a dataclass with slots
        if unknown := [name for name in self.variants if name not in VARIANTS]:
            raise ValueError(f"no variant {unknown[0]!r}; there are {', '.join(VARIANTS)}")
        for name in VARIANTS:
            self.triple(name, 0)  # raises for a world that cannot be

    def triple(self, variant: str, seed: int) -> Triple:
        changes = dict(VARIANTS[variant])
        if "projections_first" in changes:
            changes["projections_first"] = self.recipe.tune_steps // 8
        recipe = replace(self.recipe, **changes)
        return Triple(world=self.world, sizes=self.sizes, recipe=recipe, seed=seed)


def run(config: Config) -> dict[str, Any]:
    """Train and measure what is not there yet, write the results; returns the figures."""
    out, models, speed = settle(config, {}), config.models_folder, config.set_up()
    names = dict.fromkeys((AS_IT_IS, *config.variants))
    triples = {(v, s): config.triple(v, s) for s in range(config.seeds) for v in names}
    folders = {key: out / "trials" / triple.name("joint") for key, triple in triples.items()}
    done: dict[str, dict[int, dict[str, Tensor]]] = {name: {} for name in names}

    def trained(key: tuple[str, int]) -> Bench:
        train_roles([(triples[key], "base"), (triples[key], "joint")], models, speed)
        return Bench(triples[key], models, folders[key], speed)

    plain = {key: folder for key, folder in folders.items() if key[0] == AS_IT_IS}
    share_out(plain, lambda key: compared.develop(trained(key), config.scope, SYSTEMS))
    chosen = compared.choose([trained(key) for key in plain], config.scope, SYSTEMS)

    def work(key: tuple[str, int]) -> None:
        variant, seed = key
        done[variant][seed] = _measure(trained(key), config, chosen)

    share_out(folders, work)
    figures = summarise(done)
    text = markdown(figures, config, chosen)
    Console().print(Markdown(text))
    return write_results(config, "scanline-trials", figures, text)


def _measure(bench: Bench, config: Config, chosen: dict[str, Sampling]) -> dict[str, Tensor]:
    """Primary metric by prompt, and what the training says of the motion half."""
    scores = {
        name: bench.scores("joint", sampling, "held out", config.scope.prompts)[PRIMARY]
        for name, sampling in chosen.items()
    }
    log = bench.models / bench.triple.name("joint") / "metrics.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    last = rows[-max(1, len(rows) // 10) :]
    return scores | {
        "appearance loss": torch.tensor([sum(row["appearance"] for row in last) / len(last)]),
        "motion loss": torch.tensor([sum(row["motion"] for row in last) / len(last)]),
        "learnt at step": torch.tensor([learnt_at(rows)]),
    }


def learnt_at(rows: list[dict[str, Any]]) -> float:
    """The first step of a log whose motion loss is below LEARNT of the first one's; NaN if none."""
    learnt = (row["step"] for row in rows if row["motion"] < LEARNT * rows[0]["motion"])
    return float(next(learnt, math.nan))


def summarise(done: dict[str, dict[int, dict[str, Tensor]]]) -> dict[str, Any]:
    """Means over training seeds, and differences to the recipe as it is in pairs.

    Intervals are over training seeds; of one training, which has no spread, over captions.
    """
    figures: dict[str, Any] = {}
    plain = done[AS_IT_IS]
    for variant, seeds in done.items():
        own: dict[str, Any] = {}
        for name in next(iter(seeds.values())):
            values = torch.stack([one[name].double() for one in seeds.values()])
            less = values - torch.stack([plain[seed][name].double() for seed in seeds])
            captions = torch.arange(less.shape[1])
            spread = (
                over_seeds(less).over_seeds if len(seeds) > 1
                else bootstrap_mean(less[0], captions) if len(captions) > 1
                else None
            )  # fmt: skip
            own[name] = {
                "mean": float(values.nanmean()),
                "difference": spread and spread._asdict(),
                "per_seed": less.nanmean(1).tolist(),
            }
        figures[variant] = own
    return figures


def markdown(figures: dict[str, Any], config: Config, chosen: dict[str, Sampling]) -> str:
    """results.md."""
    scores, body = [*figures[AS_IT_IS]], []
    over = "t interval over training seeds" if config.seeds > 1 else "interval over captions"
    scales = "; ".join(f"{name}: {compared.scales(one)}" for name, one in chosen.items())
    for variant, own in figures.items():
        row = [variant]
        for name in scores:
            cell, digits = own[name], 0 if name == "learnt at step" else 3
            text = f"{cell['mean']:.{digits}f}"
            if variant != AS_IT_IS and name in (JOINT, GUIDED) and cell["difference"]:
                text += f" ({show(Interval(**cell['difference']), signed=True)})"
            row.append(text)
        body.append(row)
    return (
        f"# What shortens the way\n\n{config.seeds} training seed{'s' * (config.seeds > 1)}, "
        f"{config.recipe.tune_steps} steps of joint training each, all variants of a seed from one "
        f"base. `{PRIMARY}` without and with Inner-Guidance (difference to the recipe as it is "
        f"[95 % {over}]), at {scales}; training losses over the last "
        f"tenth; step at which the motion loss has fallen to {LEARNT:g} of its first.\n\n"
    ) + markdown_table(["", *scores], body)
