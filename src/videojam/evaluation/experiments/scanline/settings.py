"""What is trained: a base from nothing, then control and joint model from it, on equal terms."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from videojam.evaluation.experiments.scanline.model import PATCH_PX, Sizes
from videojam.lab.scanline.world import World

Role = Literal["base", "control", "joint"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How long and how fast. Control and joint model see the same clips, noises and dropouts."""

    batch: int = 64
    "Clips a step."
    base_steps: int = 2000
    base_rate: float = 1e-3
    "Learning rate of the base: warmed up, constant, falling over the last fifth."
    base_text_dropout: float = 0.1
    tune_steps: int = 1600
    "Steps of the control, and of the joint model."
    tune_rate: float = 7e-4
    "Learning rate of both: warmed up, then a cosine to zero."
    text_dropout: float = 0.3
    "Share of null texts in fine-tuning, of both."
    weight_decay: float = 0.01
    ema_decay: float = 0.998
    motion_dropout: float = 0.2
    "Share of zeros for the joint model's motion input."
    projection_rate: float = 5.0
    "Factor on the learning rate of the joint model's two new projections."
    projections_first: int = 0
    "Steps in which nothing but the joint model's projections learns."
    motion_weight: float = 1.0
    "Of the motion half in the joint loss; the halves' weights add up to 1."
    motion_decay: float = 0.0
    "Share of the steps, at the end, over which that weight falls to zero."
    noise_apart: float = 0.0
    "Share of samples whose motion half has a noise level of its own; the model is told the other."
    saturation: float = 1.0
    "Factor on the speed at which the motion's colour saturates; at 1 just above the fastest body."

    def __post_init__(self) -> None:
        for name in ("batch", "base_steps", "tune_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in (
            "base_text_dropout",
            "text_dropout",
            "motion_dropout",
            "motion_decay",
            "noise_apart",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a share in [0, 1]")
        for name in ("base_rate", "tune_rate", "ema_decay"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected between 0 and 1")
        if not self.saturation > 0:
            raise ValueError(f"saturation is {self.saturation}, expected a positive factor")
        if not self.projection_rate > 0 or not self.motion_weight >= 0:
            raise ValueError(
                f"projection_rate is {self.projection_rate} and motion_weight "
                f"{self.motion_weight}, expected a positive factor and a weight of at least 0"
            )
        if not 0 <= self.projections_first <= self.tune_steps:
            raise ValueError(
                f"projections_first is {self.projections_first}, expected from 0 to tune_steps = "
                f"{self.tune_steps}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Triple:
    """One base with the control and the joint model that are made from it."""

    world: World = field(default_factory=World)
    sizes: Sizes = field(default_factory=Sizes)
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    "Of the weights, the clips and the noises."

    def __post_init__(self) -> None:
        if self.world.width % PATCH_PX:
            raise ValueError(
                f"width is {self.world.width}, expected a multiple of the patch of {PATCH_PX} px"
            )

    def settings(self, role: Role) -> dict[str, Any]:
        """What decides the weights of one of the three, and nothing that does not."""
        return {
            "role": role,
            "world": asdict(self.world),
            "sizes": asdict(self.sizes),
            "recipe": {
                k: v
                for k, v in asdict(self.recipe).items()
                if role in _DECIDES[k] and v != _ADDED.get(k)
            },
            "seed": self.seed,
        }

    def name(self, role: Role) -> str:
        """Of the folder, the same for triples that share this model."""
        settings = json.dumps(self.settings(role), sort_keys=True)
        digest = hashlib.blake2b(settings.encode(), digest_size=4).hexdigest()
        return f"{self.world.kind}-seed{self.seed}-{role}-{digest}"


_ALL, _TUNED = ("base", "control", "joint"), ("control", "joint")
_DECIDES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("batch", "base_steps", "base_rate", "base_text_dropout"), _ALL),
    **dict.fromkeys(("weight_decay", "ema_decay"), _ALL),
    **dict.fromkeys(("tune_steps", "tune_rate", "text_dropout"), _TUNED),
    **dict.fromkeys(
        (
            "motion_dropout",
            "projection_rate",
            "projections_first",
            "motion_weight",
            "motion_decay",
            "noise_apart",
            "saturation",
        ),
        ("joint",),
    ),
}
# Younger than models that are kept: at these values they decide nothing, so those keep their names.
_ADDED = {"noise_apart": 0.0, "saturation": 1.0}
