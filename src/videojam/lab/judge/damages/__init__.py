"""Clips damaged on purpose: one thing wrong at a time, at a chosen strength.

They show what each metric sees and what it does not; `benchmarks/lab_metrics.py` makes the table.
"""

from collections.abc import Callable
from typing import NamedTuple

from videojam.lab.judge.damages import moves, things
from videojam.lab.judge.damages.drawing import Clip, Size
from videojam.lab.look import Look
from videojam.lab.scene import Scene
from videojam.lab.scenes.dice import Dice

Make = Callable[[Scene, Look, Size, float, Dice], Clip | None]


class Damage(NamedTuple):
    """make(scene, look, size, strength, dice) is None for a scene that cannot be damaged so."""

    name: str
    unit: str
    "What the strength counts."
    strengths: tuple[float, ...]
    for_metrics: tuple[str, ...]
    "Those that must fall."
    make: Make


DAMAGES: tuple[Damage, ...] = (
    Damage("shuffled", "share of frames", (0.15, 0.3, 0.6, 1.0), ("order", "law"), moves.shuffled),
    Damage("jumped", "frame heights", (0.03, 0.06, 0.12), ("order", "law"), moves.jumped),
    Damage("frozen", "share of clip", (0.25, 0.5, 1.0), ("law", "motion"), moves.frozen),
    Damage("warped", "share of speed", (0.25, 0.5, 0.9), ("law",), moves.warped),
    Damage("slowed", "share of speed", (0.15, 0.3, 0.5), ("law",), moves.slowed),
    Damage("weightless", "share", (0.2, 0.5, 1.0), ("law",), moves.weightless),
    Damage("vanished", "frames", (1.0, 3.0, 6.0), ("permanence",), things.vanished),
    Damage("doubled", "frames", (1.0, 3.0, 6.0), ("permanence",), things.doubled),
    Damage("recoloured", "frames", (1.0, 3.0, 6.0), ("permanence",), things.recoloured),
    Damage("swollen", "share of size", (0.2, 0.4, 0.8), ("permanence",), things.swollen),
    Damage("wobbling", "log stretch", (0.1, 0.2, 0.4), ("rigidity",), things.wobbling),
    Damage("sunk", "frame heights", (0.03, 0.06, 0.12), ("contact",), moves.sunk),
    Damage("parted", "frame heights", (0.04, 0.08, 0.16), ("law",), moves.parted),
    Damage("reversed turn", "frames", (2.0, 4.0, 8.0), ("order", "law"), moves.reversed_turn),
    Damage("swapped legs", "frames", (1.0, 3.0, 6.0), ("order", "law"), moves.swapped_legs),
    Damage("in step", "share", (0.3, 0.6, 1.0), ("law",), moves.in_step),
    Damage("mirrored", "", (1.0,), ("text",), things.mirrored),
    Damage("repainted", "", (1.0,), ("text", "permanence"), things.repainted),
)
