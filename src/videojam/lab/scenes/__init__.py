"""The scene types, by kind of motion: one function per type, named in the table SCENES."""

from collections.abc import Callable

from videojam.lab.dice import Dice
from videojam.lab.scene import Kind, Scene
from videojam.lab.scenes import basic

Build = Callable[[Dice, int, float], Scene]  # dice, frames, fps

SCENES: dict[str, tuple[Kind, Build]] = {
    "bouncing ball": ("basic", basic.bouncing_ball),
    "pendulum": ("basic", basic.pendulum),
}
