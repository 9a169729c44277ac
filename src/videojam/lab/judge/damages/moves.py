"""Damages to how things move: order of frames, speed, gravity, contact, joints, turning."""

import dataclasses
import math

import torch
from torch import Tensor

from videojam.lab.judge.damages.drawing import (
    Clip,
    Size,
    by_frame,
    coloured,
    drawn,
    objects,
    posed,
    retimed,
    stretch_of,
)
from videojam.lab.look import Look
from videojam.lab.scene import Scene
from videojam.lab.scenes.dice import Dice


def shuffled(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """Share of the frames that change places among each other."""
    frames = drawn(scene, look, size)
    count = max(2, round(strength * len(frames)))
    chosen = torch.randperm(len(frames), generator=dice.draw)[:count]
    order = torch.arange(len(frames))
    order[chosen] = chosen.roll(1)
    return frames[order]


def jumped(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """Everything that moves is elsewhere for one frame, this many frame heights away."""
    (frame,) = range(len(scene.poses))[stretch_of(len(scene.poses), 1, dice)]
    angle = dice.uniform(0.0, 2 * math.pi)
    step = strength * torch.tensor([math.cos(angle), math.sin(angle), 0.0])

    def change(_: int, path: Tensor) -> Tensor:
        path[frame] += step
        return path

    return drawn(posed(scene, change), look, size)


def frozen(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """The picture stops, for this share of the clip at its end."""
    frames = drawn(scene, look, size)
    last = max(0, round((1 - strength) * (len(frames) - 1)))
    return frames[torch.arange(len(frames)).clamp(max=last)]


def warped(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """Time runs unevenly: t + strength (T / 2 pi) sin(2 pi t / T), T half the clip."""
    count = len(scene.poses)
    time = torch.arange(count) / (count - 1)
    period = 0.5
    uneven = time + strength * period / (2 * math.pi) * torch.sin(2 * math.pi * time / period)
    return drawn(retimed(scene, uneven * (count - 1)), look, size)


def slowed(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """Slow motion: everything at this share less of its speed, so that gravity is too weak."""
    heavy = {"fall", "fall together", "swing", "accelerate", "energy"}
    if not heavy & {law.kind for law in scene.laws}:
        return None
    count = len(scene.poses)
    return drawn(retimed(scene, torch.arange(count) * (1 - strength)), look, size)


def weightless(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """What falls or swings goes on at its first velocity, by this share."""
    names = [body.name for body in scene.bodies]
    laws = [law for law in scene.laws if law.kind in ("fall", "swing", "accelerate")]
    if not laws:
        return None
    poses = scene.poses.clone()
    steps = torch.arange(len(poses))[:, None]
    for law in laws:
        k = names.index(law.bodies[0])
        straight = poses[:1, k] + steps * (poses[1:2, k] - poses[:1, k])
        poses[:, k] = torch.lerp(poses[:, k], straight, strength)
    return drawn(dataclasses.replace(scene, poses=poses), look, size)


def reversed_turn(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """What turns turns back, for this many frames in the middle of the clip."""
    turning = {law.bodies[0] for law in scene.laws if law.kind in ("spin", "roll")}
    if not turning:
        return None
    when = stretch_of(len(scene.poses), int(strength), dice)
    poses = scene.poses.clone()
    for k, body in enumerate(scene.bodies):
        if body.name in turning:
            steps = poses[:, k, 2].diff()
            steps[when] *= -1
            poses[1:, k, 2] = poses[0, k, 2] + steps.cumsum(0)
    return drawn(dataclasses.replace(scene, poses=poses), look, size)


def swapped_legs(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """The two legs exchange their colours, for this many frames."""
    pairs = [law.bodies for law in scene.laws if law.kind == "alternate"]
    if not pairs:
        return None
    colours = {body.name: body.parts[0].colour for body in scene.bodies}
    one, two = (colours[name] for name in pairs[0])
    swap = {one: two, two: one}
    legs = {name for pair in pairs for name in pair}
    changed = dataclasses.replace(
        scene,
        bodies=tuple(coloured(b, swap) if b.name in legs else b for b in scene.bodies),
    )
    inside = range(len(scene.poses))[stretch_of(len(scene.poses), int(strength), dice)]
    return by_frame(
        [changed if k in inside else scene for k in range(len(scene.poses))], look, size
    )


def in_step(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """Both legs swing together, by this share, rather than in turn."""
    pairs = [law.bodies for law in scene.laws if law.kind == "alternate"]
    if not pairs:
        return None
    names = [body.name for body in scene.bodies]
    poses = scene.poses.clone()
    for near, far in pairs:
        a, b = names.index(near), names.index(far)
        poses[:, b] = torch.lerp(scene.poses[:, b], scene.poses[:, a], strength)
    return drawn(dataclasses.replace(scene, poses=poses), look, size)


def sunk(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """Things that touch go into each other, by this many frame heights, while they touch."""
    poses = scene.poses.clone()
    names = [body.name for body in scene.bodies]
    found = False
    for law in scene.laws:
        if law.kind != "apart":
            continue
        first, second = law.bodies
        hit = {c.frame for c in scene.contacts if {c.first, c.second} == {first, second}}
        if second == "floor" and not hit and scene.type in ("hoop", "rolling wheel", "collision"):
            hit = set(range(len(poses)))
        if not hit:
            continue
        found = True
        a, b = names.index(first), names.index(second)
        way = poses[min(hit), b, :2] - poses[min(hit), a, :2]
        if second == "floor":
            way = torch.tensor([0.0, 1.0])
        elif second == "post":
            way = torch.tensor([1.0, 0.0]) * way[0].sign()
        way = way / way.norm().clamp(min=1e-6)
        when = torch.tensor(sorted(hit), dtype=torch.float32)
        frames = torch.arange(len(poses), dtype=torch.float32)
        near = (frames[:, None] - when - 0.5).abs().amin(1)
        poses[:, a, :2] += (strength * (1.5 - near / 2).clamp(0, 1))[:, None] * way
    return drawn(dataclasses.replace(scene, poses=poses), look, size) if found else None


def parted(scene: Scene, look: Look, size: Size, strength: float, dice: Dice) -> Clip | None:
    """What hangs by a joint comes off it, by this many frame heights in the middle of the clip."""
    joints = [law for law in scene.laws if law.kind == "joined"]
    names = [body.name for body in scene.bodies]
    loose = [
        names.index(law.bodies[0])
        for law in joints
        if names.index(law.bodies[0]) in objects(scene)
        and names.index(law.bodies[1]) in objects(scene)
    ]
    if not loose:
        return None
    target = loose[-1]
    wave = torch.sin(math.pi * torch.linspace(0, 1, len(scene.poses))) ** 2
    poses = scene.poses.clone()
    poses[:, target, 1] += strength * wave
    return drawn(dataclasses.replace(scene, poses=poses), look, size)
