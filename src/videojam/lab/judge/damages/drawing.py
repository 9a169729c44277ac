"""Drawing scenes with something changed: poses, bodies, or bodies from frame to frame."""

import dataclasses
import math
from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.lab.look import Look
from videojam.lab.render import draw
from videojam.lab.scene import COLOURS, Body, Part, Scene
from videojam.lab.scenes.dice import Dice

Size = tuple[int, int]
Clip = UInt8[Tensor, "f h w 3"]


def drawn(scene: Scene, look: Look, size: Size) -> Clip:
    return draw([scene], [look], size).frames[0]


def by_frame(scenes: list[Scene], look: Look, size: Size) -> Clip:
    """Frame k of the k-th scene: bodies that change from frame to frame."""
    ones = [
        dataclasses.replace(scene, poses=scene.poses[k : k + 1]) for k, scene in enumerate(scenes)
    ]
    looks = [
        look._replace(light=look.light[k : k + 1], camera=look.camera[k : k + 1])
        for k in range(len(scenes))
    ]
    return draw(ones, looks, size).frames[:, 0]


def objects(scene: Scene) -> list[int]:
    """Bodies that wear a colour."""
    return [
        k
        for k, body in enumerate(scene.bodies)
        if any(part.colour in COLOURS for part in body.parts)
    ]


def posed(scene: Scene, change: Callable[[int, Tensor], Tensor]) -> Scene:
    """The scene with the path (f, 3) of every coloured body changed."""
    poses = scene.poses.clone()
    for k in objects(scene):
        poses[:, k] = change(k, poses[:, k])
    return dataclasses.replace(scene, poses=poses)


def stretch_of(frames: int, count: int, dice: Dice) -> slice:
    """`count` frames in a row, neither the first nor the last."""
    start = 1 + int(dice.uniform(0.0, 1.0) * max(frames - 2 - count, 0))
    return slice(start, start + count)


def coloured(body: Body, names: dict[str, str]) -> Body:
    parts = tuple(
        dataclasses.replace(part, colour=names.get(part.colour, part.colour)) for part in body.parts
    )
    return dataclasses.replace(body, parts=parts)


def scaled(scene: Scene, factors: dict[int, float], stretch: float) -> Scene:
    """Some bodies bigger, and stretched in their own frames by exp(stretch) and exp(-stretch)."""
    bodies = tuple(
        dataclasses.replace(
            body, parts=tuple(_stretched(part, factors[k], stretch) for part in body.parts)
        )
        if k in factors
        else body
        for k, body in enumerate(scene.bodies)
    )
    return dataclasses.replace(scene, bodies=bodies)


def _stretched(part: Part, factor: float, stretch: float) -> Part:
    wide, tall = factor * math.exp(stretch), factor * math.exp(-stretch)
    at = (part.at[0] * wide, part.at[1] * tall)
    if part.sides:
        return dataclasses.replace(part, at=at, half=(part.half[0] * factor, 0.0))
    cos, sin = abs(math.cos(part.angle)), abs(math.sin(part.angle))
    along, across = wide * cos + tall * sin, tall * cos + wide * sin
    x, y, r = part.half[0], part.half[1], part.rounding
    whole_x, whole_y = (x + r) * along, (y + r) * across
    r = min(r * factor, whole_x, whole_y)
    return dataclasses.replace(
        part, at=at, half=(whole_x - r, whole_y - r), rounding=r, wall=part.wall * factor
    )


def retimed(scene: Scene, places: Float[Tensor, "f"]) -> Scene:
    """Poses at these frame numbers, between frames in a straight line."""
    places = places.clamp(0, len(scene.poses) - 1)
    low = places.floor().long().clamp(max=len(scene.poses) - 2)
    part = (places - low)[:, None, None]
    poses = torch.lerp(scene.poses[low], scene.poses[low + 1], part)
    return dataclasses.replace(scene, poses=poses)
