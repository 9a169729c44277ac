"""Scales chosen on development captions, and the comparison of a training seed on held-out ones.

Systems: the base, the control, the joint model without Inner-Guidance, and with it. Each is
compared at its own best scales by the primary metric, once with the same number of steps and once
with the same number of passes of the transformer (more steps for the cheaper ones).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import torch

from videojam.evaluation.experiments.scanline.bench import Bench, Values
from videojam.evaluation.experiments.scanline.sample import steps_for
from videojam.evaluation.experiments.scanline.settings import Role
from videojam.guidance.inner import Mode
from videojam.lab.scanline.judge import PRIMARY
from videojam.sampling.pipeline import Sampling

BASE, CONTROL, JOINT, GUIDED = "base", "control", "joint", "joint + Inner-Guidance"
ROLES: dict[str, Role] = {BASE: "base", CONTROL: "control", JOINT: "joint", GUIDED: "joint"}
EQUAL_COST = ", equal cost"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """How much is measured."""

    prompts: int = 256
    "Held-out captions of each training seed."
    development: int = 64
    "Captions of each training seed by which scales are chosen, for all seeds together."
    steps: int = 40
    "Euler steps."
    text_scales: tuple[float, ...] = (1.5, 3.0, 5.0, 8.0)
    "Values of w1 to choose from."
    motion_scales: tuple[float, ...] = (1.0, 3.0, 5.0, 8.0)
    "Values of w2 to choose from, beside none."
    motion_stop: float = 0.5
    "Share of the steps after which Inner-Guidance stops."
    motion_stops: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    "Windows of the sweep."
    loss_clips: int = 64
    "Held-out clips for the loss of shuffled frames."
    continued_clips: int = 64
    "Held-out clips that are noised and continued."

    def __post_init__(self) -> None:
        for name in ("prompts", "development", "loss_clips", "continued_clips"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 2")
        if not self.text_scales or not self.motion_scales or min(self.motion_scales) <= 0:
            raise ValueError(
                f"text_scales are {self.text_scales} and motion_scales {self.motion_scales}; give "
                "at least one of each, those of motion above 0"
            )
        for w1 in self.text_scales:
            for w2 in self.motion_scales:
                self.sampling(w1, w2)  # raises for what is out of range

    def sampling(self, text_scale: float, motion_scale: float) -> Sampling:
        return Sampling(
            text_scale=text_scale, motion_scale=motion_scale, motion_stop=self.motion_stop,
            num_inference_steps=self.steps,
        )  # fmt: skip

    def choices(self, system: str) -> list[Sampling]:
        """Settings that a system's best is chosen from."""
        motion = self.motion_scales if system == GUIDED else (0.0,)
        return [self.sampling(w1, w2) for w1 in self.text_scales for w2 in motion]


def choose(
    benches: Sequence[Bench], scope: Scope, systems: Iterable[str] = tuple(ROLES)
) -> dict[str, Sampling]:
    """System -> its best settings by the mean of the primary metric over all development captions.

    One choice for all training seeds: a model's own best may be a cliff for another one.
    """

    def best(system: str) -> Sampling:
        def score(sampling: Sampling) -> float:
            found = [_developed(bench, scope, ROLES[system], sampling) for bench in benches]
            return float(torch.stack([one[PRIMARY] for one in found]).mean())

        return max(scope.choices(system), key=score)

    return {system: best(system) for system in systems}


def develop(bench: Bench, scope: Scope, systems: Iterable[str] = tuple(ROLES)) -> None:
    """Measure what choose asks for, of one training seed."""
    for system in systems:
        for sampling in scope.choices(system):
            _developed(bench, scope, ROLES[system], sampling)


def _developed(bench: Bench, scope: Scope, role: Role, sampling: Sampling) -> Values:
    return bench.scores(role, sampling, "development", scope.development)


def compare(bench: Bench, scope: Scope, chosen: dict[str, Sampling]) -> dict[str, Values]:
    """System -> scores on held-out captions, with equal steps and at equal cost."""
    budget = max(
        sampling.passes(sampling.num_inference_steps, ROLES[name] == "joint")
        for name, sampling in chosen.items()
    )
    found = bench.reference_scores("held out", scope.prompts)
    for name, sampling in chosen.items():
        found[name] = bench.scores(ROLES[name], sampling, "held out", scope.prompts)
    for name, sampling in chosen.items():
        steps = steps_for(sampling, ROLES[name] == "joint", budget)
        longer = replace(sampling, num_inference_steps=steps)
        found[name + EQUAL_COST] = bench.scores(ROLES[name], longer, "held out", scope.prompts)
    return found


def ablate(bench: Bench, scope: Scope, best: Sampling) -> dict[str, Values]:
    """Table 3: the joint model without one part of its guidance, at the scales of the whole."""
    return {
        mode: bench.scores("joint", replace(best, mode=mode), "held out", scope.prompts)
        for mode in get_args(Mode)
    }


def sweep(bench: Bench, scope: Scope, best: Sampling) -> dict[str, dict[float, Values]]:
    """The joint model over w1, w2 and the window around its best settings, development captions."""

    def over(name: str, values: Iterable[float]) -> dict[float, Values]:
        return {
            value: _developed(bench, scope, "joint", replace(best, **{name: value}))
            for value in values
        }

    return {
        "text_scale": over("text_scale", scope.text_scales),
        "motion_scale": over("motion_scale", (0.0, *scope.motion_scales)),
        "motion_stop": over("motion_stop", scope.motion_stops),
    }


def scales(sampling: Sampling) -> str:
    """Such as "w1 = 1.5, w2 = 3"."""
    return f"w1 = {float(sampling.text_scale):g}, w2 = {float(sampling.motion_scale):g}"
