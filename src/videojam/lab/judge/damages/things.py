"""Damages to what is there: things vanish, double, change colour, size or shape."""

import dataclasses
import math

import torch

from videojam.lab.judge.damages.drawing import (
    Clip,
    Size,
    by_frame,
    coloured,
    drawn,
    objects,
    scaled,
    stretch_of,
)
from videojam.lab.look import Look
from videojam.lab.scene import COLOURS, Scene
from videojam.lab.scenes.dice import Dice


def vanished(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """One object is not there for some frames."""
    gone = dice.pick(objects(scene))
    when = stretch_of(len(scene.poses), int(strength), dice)
    poses = scene.poses.clone()
    poses[when, gone, 0] += 10.0
    return drawn(dataclasses.replace(scene, poses=poses), look, size)


def doubled(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """A second copy of an object beside it for some frames."""
    twin = dice.pick(objects(scene))
    when = stretch_of(len(scene.poses), int(strength), dice)
    copy = scene.poses[:, twin : twin + 1].clone()
    away = 0.25 if float(copy[when, 0, 0].mean()) < 0.5 else -0.25
    copy[:, 0, 0] += 10.0
    copy[when, 0, 0] += away - 10.0
    body = dataclasses.replace(scene.bodies[twin], name="copy")
    more = dataclasses.replace(
        scene, bodies=(body, *scene.bodies), poses=torch.cat([copy, scene.poses], dim=1)
    )
    waves = torch.cat([look.waves[twin : twin + 1], look.waves])
    return drawn(more, look._replace(waves=waves), size)


def recoloured(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """One object changes to a colour that was not asked for, for some frames."""
    worn = {part.colour for body in scene.bodies for part in body.parts}
    target = dice.pick(objects(scene))
    other = dice.pick([name for name in COLOURS if name not in worn])
    when = stretch_of(len(scene.poses), int(strength), dice)
    changed = dataclasses.replace(
        scene,
        bodies=tuple(
            coloured(body, {name: other for name in COLOURS}) if k == target else body
            for k, body in enumerate(scene.bodies)
        ),
    )
    inside = range(len(scene.poses))[when]
    return by_frame(
        [changed if k in inside else scene for k in range(len(scene.poses))], look, size
    )


def swollen(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """One object grows by this share of its size through the clip."""
    target = dice.pick(objects(scene))
    count = len(scene.poses)
    return by_frame(
        [
            scaled(scene, {target: 1 + strength * (k / (count - 1) - 0.5)}, 0.0)
            for k in range(count)
        ],
        look,
        size,
    )


def wobbling(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """Every object is stretched along x and pressed along y, and the other way, twice in a clip."""
    count = len(scene.poses)
    phase = dice.uniform(0.0, 2 * math.pi)
    factors = {k: 1.0 for k in objects(scene)}
    return by_frame(
        [
            scaled(scene, factors, strength * math.sin(4 * math.pi * k / count + phase))
            for k in range(count)
        ],
        look,
        size,
    )


def repainted(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """Another colour than asked for, all the time, for one of the colours."""
    worn = sorted({p.colour for b in scene.bodies for p in b.parts if p.colour in COLOURS})
    other = dice.pick([name for name in COLOURS if name not in worn])
    names = {dice.pick(worn): other}
    changed = dataclasses.replace(scene, bodies=tuple(coloured(b, names) for b in scene.bodies))
    return drawn(changed, look, size)


def mirrored(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """Left and right exchanged: only the text is wrong."""
    return drawn(scene, look, size).flip(2)
