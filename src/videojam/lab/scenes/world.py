"""Simulation: bodies in a pymunk space, recorded once per frame.

A body is fixed, dynamic (moved by physics) or scripted (follows a path and pushes others).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pymunk
import torch
from jaxtyping import Float
from torch import Tensor

from videojam.lab.scene import GRAVITY, Body, Contact, Part

# The engine's tolerances (0.1 units of overlap) are meant for pixels of a large screen.
_UNITS = 1000.0  # engine units per frame height
_STEP = 1 / 960  # seconds; a multiple of the usual frame rates

Path = Callable[[float], tuple[float, float, float]]  # time -> x, y, angle


@dataclass(slots=True)
class _Member:
    body: Body
    rigid: pymunk.Body
    path: Path | None


class World:
    """Add bodies back to front, then run().

    gravity: frame heights per second squared, down.
    """

    def __init__(self, gravity: float = GRAVITY) -> None:
        self.space = pymunk.Space()
        self.space.gravity = (0.0, gravity * _UNITS)
        self.space.iterations = 30
        self._members: list[_Member] = []
        self._body_names: dict[int, str] = {}

    def fixed(
        self,
        name: str,
        *parts: Part,
        at: tuple[float, float] = (0.0, 0.0),
        angle: float = 0.0,
        elasticity: float = 0.5,
        friction: float = 0.6,
        solid: bool = True,
    ) -> str:
        """A fixture that does not move. solid=False: drawn only, nothing collides with it."""
        rigid = pymunk.Body(body_type=pymunk.Body.STATIC)
        body = Body(name=name, parts=parts, fixture=True)
        return self._add(body, rigid, at, angle, elasticity, friction, solid, 0, None)

    def moving(
        self,
        name: str,
        *parts: Part,
        at: tuple[float, float],
        angle: float = 0.0,
        velocity: tuple[float, float] = (0.0, 0.0),
        spin: float = 0.0,
        density: float = 1.0,
        elasticity: float = 0.5,
        friction: float = 0.6,
        solid: bool = True,
        group: int = 0,
    ) -> str:
        """A body moved by physics; its mass is density x area of its parts (hollow ones too).

        group: bodies of the same group (not 0) do not collide with each other, e.g. limbs.
        """
        rigid = pymunk.Body()
        self._add(
            Body(name=name, parts=parts), rigid, at, angle, elasticity, friction, solid, group, None
        )
        for shape in rigid.shapes:
            shape.density = density / _UNITS**2
        rigid.velocity = (velocity[0] * _UNITS, velocity[1] * _UNITS)
        rigid.angular_velocity = spin
        return name

    def scripted(
        self,
        name: str,
        *parts: Part,
        path: Path,
        elasticity: float = 0.5,
        friction: float = 0.6,
        solid: bool = False,
        fixture: bool = False,
    ) -> str:
        """A body that follows `path`; if solid, it pushes what it meets."""
        rigid = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        x, y, angle = path(0.0)
        body = Body(name=name, parts=parts, fixture=fixture)
        return self._add(body, rigid, (x, y), angle, elasticity, friction, solid, 0, path)

    def rigid(self, name: str) -> pymunk.Body:
        """The engine's body, for joints; `world.space.add` them. Engine units: see `units`."""
        return next(member.rigid for member in self._members if member.body.name == name)

    def pin(self, first: str, second: str | None, at: tuple[float, float]) -> None:
        """A hinge at the world point `at` between two bodies, or a body and the stage."""
        other = self.space.static_body if second is None else self.rigid(second)
        joint = pymunk.PivotJoint(self.rigid(first), other, units(at))
        joint.collide_bodies = False
        joint.max_bias = 1e6
        joint.error_bias = 0.0
        self.space.add(joint)

    def run(
        self, frames: int, fps: float, warm_up: float = 0.0
    ) -> tuple[tuple[Body, ...], Float[Tensor, "f n 3"], tuple[Contact, ...]]:
        """Simulate; bodies back to front, their poses per frame, and who touched whom when.

        warm_up: seconds simulated before the first frame.
        """
        touching: set[tuple[int, str, str]] = set()
        frame = -1

        def touched(arbiter: pymunk.Arbiter, space: pymunk.Space, data: object) -> None:
            if any(shape.sensor for shape in arbiter.shapes):
                return  # overlaps what is not solid
            first, second = sorted(self._body_names[id(shape.body)] for shape in arbiter.shapes)
            touching.add((frame, first, second))

        self.space.on_collision(pre_solve=touched)
        per_frame = max(1, round(1 / (fps * _STEP)))
        if all(member.rigid.body_type != pymunk.Body.DYNAMIC for member in self._members):
            per_frame = 1  # paths are followed exactly at any step
        step = 1 / (fps * per_frame)
        time = -warm_up
        for _ in range(round(warm_up / step)):
            self._advance(time, step)
            time += step
        poses = []
        for frame in range(frames):
            poses.append([self._pose(member.rigid) for member in self._members])
            if frame + 1 < frames:
                for substep in range(per_frame):
                    self._advance((frame * per_frame + substep) * step, step)
        contacts = tuple(
            Contact(frame=at, first=a, second=b) for at, a, b in sorted(touching) if at >= 0
        )
        bodies = tuple(member.body for member in self._members)
        return bodies, torch.tensor(poses), contacts

    def _advance(self, time: float, step: float) -> None:
        for member in self._members:
            if member.path is None:
                continue
            # Set by the path, not integrated: no drift. The velocity is for those it pushes.
            x, y, angle = member.path(time)
            ahead = member.path(time + step)
            member.rigid.position = units((x, y))
            member.rigid.angle = angle
            member.rigid.velocity = units(((ahead[0] - x) / step, (ahead[1] - y) / step))
            member.rigid.angular_velocity = (ahead[2] - angle) / step
        self.space.step(step)

    def _pose(self, rigid: pymunk.Body) -> tuple[float, float, float]:
        return rigid.position.x / _UNITS, rigid.position.y / _UNITS, rigid.angle

    def _add(
        self,
        body: Body,
        rigid: pymunk.Body,
        at: tuple[float, float],
        angle: float,
        elasticity: float,
        friction: float,
        solid: bool,
        group: int,
        path: Path | None,
    ) -> str:
        if any(member.body.name == body.name for member in self._members):
            raise ValueError(f"two bodies are called {body.name!r}; give each its own name")
        rigid.position = units(at)
        rigid.angle = angle
        shapes = [_collision_shape(part, rigid) for part in body.parts]
        for shape in shapes:
            shape.elasticity = elasticity
            shape.friction = friction
            shape.filter = pymunk.ShapeFilter(group=group)
            # Mass comes from the shapes, so what does not collide keeps them as sensors.
            shape.sensor = not solid
        self.space.add(rigid, *shapes)
        self._members.append(_Member(body, rigid, path))
        self._body_names[id(rigid)] = body.name
        return body.name


def units(point: tuple[float, float]) -> tuple[float, float]:
    """Frame heights to the engine's units."""
    return point[0] * _UNITS, point[1] * _UNITS


def _collision_shape(part: Part, rigid: pymunk.Body) -> pymunk.Shape:
    """Hollow parts collide as full ones: nothing in a scene goes inside a ring."""
    place = pymunk.Transform.translation(*units(part.at)) @ pymunk.Transform.rotation(part.angle)
    rounding = part.rounding * _UNITS
    if part.sides:
        radius = part.half[0] * _UNITS
        turn = 2 * math.pi / part.sides
        corners = [
            (radius * math.sin(turn * k), -radius * math.cos(turn * k)) for k in range(part.sides)
        ]
        return pymunk.Poly(rigid, corners, place, rounding)
    if part.half == (0.0, 0.0):
        return pymunk.Circle(rigid, rounding, units(part.at))
    x, y = units(part.half)
    if y == 0.0:
        ends = [(place.a * s * x + place.tx, place.b * s * x + place.ty) for s in (-1, 1)]
        return pymunk.Segment(rigid, ends[0], ends[1], rounding)
    return pymunk.Poly(rigid, [(-x, -y), (x, -y), (x, y), (-x, y)], place, rounding)
