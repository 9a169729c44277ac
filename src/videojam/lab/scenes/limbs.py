"""Limbs, the hinges between them, and bodies that follow paths."""

import math
from collections.abc import Sequence

import pymunk
import torch
from jaxtyping import Float
from torch import Tensor

from videojam.lab.scene import Body, Law, Part, bar
from videojam.lab.scenes.world import Path, World, units


def follow(
    frames: int, fps: float, *members: tuple[Body, Path]
) -> tuple[tuple[Body, ...], Float[Tensor, "f n 3"]]:
    """Bodies that only follow paths, back to front: no engine is needed."""
    poses = [[path(frame / fps) for _, path in members] for frame in range(frames)]
    return tuple(body for body, _ in members), torch.tensor(poses)


def standing_still(x: float, y: float, angle: float = 0.0) -> Path:
    return lambda time: (x, y, angle)


def limb(colour: str, length: float, thickness: float) -> Part:
    """A bar about the body's origin, from a joint at (0, -length / 2) to one at (0, length / 2)."""
    return bar(colour, length + thickness, thickness, angle=math.pi / 2)


def below(at: tuple[float, float], angle: float, length: float) -> tuple[float, float]:
    """The point that far below `at` on something that has turned by this angle."""
    return at[0] - length * math.sin(angle), at[1] + length * math.cos(angle)


def hinge(
    first: str, first_at: tuple[float, float], second: str, second_at: tuple[float, float]
) -> Law:
    (x0, y0), (x1, y1) = first_at, second_at
    return Law("joined", (first, second), {"x0": x0, "y0": y0, "x1": x1, "y1": y1})


def throw(
    world: World,
    names: Sequence[str],
    about: tuple[float, float],
    velocity: tuple[float, float],
    spin: float,
) -> None:
    """Bodies start out moving as one rigid thing that turns about a point."""
    for name in names:
        rigid = world.rigid(name)
        arm = rigid.local_to_world(rigid.center_of_gravity) - units(about)
        rigid.velocity = spin * arm.perpendicular() + units(velocity)
        rigid.angular_velocity = spin


def limit(world: World, first: str, second: str, low: float, high: float) -> None:
    """Keeps the angle of the second to the first within a range."""
    joint = pymunk.RotaryLimitJoint(world.rigid(first), world.rigid(second), low, high)
    joint.collide_bodies = False
    world.space.add(joint)


def spring(world: World, first: str, second: str, rate: float, damping: float) -> None:
    """Pulls the second straight with the first; rate in radians per second."""
    rigid = world.rigid(second)
    moment = rigid.moment + rigid.mass * rigid.center_of_gravity.length**2
    spring = pymunk.DampedRotarySpring(
        world.rigid(first), rigid, 0.0, moment * rate**2, 2 * damping * rate * moment
    )
    world.space.add(spring)
