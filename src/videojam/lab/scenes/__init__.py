"""The scene types, by kind of motion: one function per type, named in the table SCENES."""

from collections.abc import Callable

from videojam.lab.scene import Kind, Scene
from videojam.lab.scenes import basic, complex, physics, rotation
from videojam.lab.scenes.dice import Dice
from videojam.lab.scenes.double_pendulum import double_pendulum

Build = Callable[[Dice, int, float], Scene]  # dice, frames, fps

SCENES: dict[str, tuple[Kind, Build]] = {
    "bouncing ball": ("basic", basic.bouncing_ball),
    "pendulum": ("basic", basic.pendulum),
    "piston": ("basic", basic.piston),
    "walker": ("basic", basic.walker),
    "double pendulum": ("complex", double_pendulum),
    "rag doll": ("complex", complex.rag_doll),
    "acrobat": ("complex", complex.acrobat),
    "chain": ("complex", complex.chain),
    "jumping jack": ("complex", complex.jumping_jack),
    "collision": ("physics", physics.collision),
    "topple": ("physics", physics.topple),
    "hoop": ("physics", physics.hoop),
    "kick": ("physics", physics.kick),
    "ramp": ("physics", physics.ramp),
    "wheel": ("rotation", rotation.wheel),
    "rolling wheel": ("rotation", rotation.rolling_wheel),
    "fan": ("rotation", rotation.fan),
    "gears": ("rotation", rotation.gears),
    "spinning square": ("rotation", rotation.spinning_square),
}
