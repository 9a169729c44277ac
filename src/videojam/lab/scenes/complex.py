"""Complex motion: several bodies joined by hinges."""

import itertools
import math

from videojam.lab.scene import Asked, Body, Law, Scene, bar, box, disc
from videojam.lab.scenes.basic import FLOOR
from videojam.lab.scenes.dice import Dice
from videojam.lab.scenes.limbs import (
    below,
    follow,
    hinge,
    limb,
    limit,
    spring,
    standing_still,
    throw,
)
from videojam.lab.scenes.world import Path, World


def rag_doll(dice: Dice, frames: int, fps: float) -> Scene:
    """A doll of loose limbs is thrown, spins through the air and tumbles over the floor."""
    head, torso, arms, legs = dice.colours(4)
    way = dice.sign()
    velocity = (way * dice.uniform(0.3, 0.45), dice.uniform(-0.5, -0.2))
    spin = way * dice.uniform(4.0, 6.0)
    centre = (0.5 - way * dice.uniform(0.12, 0.2), dice.uniform(0.38, 0.45))
    tilt = dice.uniform(-math.pi, math.pi)
    world = World()
    world.fixed("floor", box("wood", 5.0, 0.2, at=(0.5, FLOOR + 0.1)), friction=0.8)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        cos, sin = math.cos(tilt), math.sin(tilt)
        x, y = point
        return centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y

    # name: colour, joint on the torso, length, thickness, angle to the torso, freedom
    limbs = {
        "left leg": (legs, (-0.035, 0.09), 0.17, 0.07, 0.35, 0.5),
        "right leg": (legs, (0.035, 0.09), 0.17, 0.07, -0.35, 0.5),
        "left arm": (arms, (-0.05, -0.06), 0.16, 0.065, 1.5, 0.9),
        "right arm": (arms, (0.05, -0.06), 0.16, 0.065, -1.5, 0.9),
    }
    joints: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {}  # on torso, on part
    for name, (colour, at, length, thickness, angle, _) in limbs.items():
        hung = tilt + angle + dice.uniform(-0.3, 0.3)
        middle = below(place(at), hung, length / 2)
        part = limb(colour, length, thickness)
        world.moving(name, part, at=middle, angle=hung, group=1, elasticity=0.3)
        joints[name] = at, (0.0, -length / 2)
    trunk = bar(torso, 0.28, 0.13, angle=math.pi / 2)
    world.moving("torso", trunk, at=centre, angle=tilt, group=1, elasticity=0.3)
    skull = place((0.0, -0.19))
    world.moving("head", disc(head, 0.085), at=skull, angle=tilt, group=1, elasticity=0.3)
    joints["head"] = (0.0, -0.12), (0.0, 0.07)
    for name, (at, _) in joints.items():
        world.pin(name, "torso", place(at))
        rest_angle, freedom = limbs[name][4:] if name in limbs else (0.0, 0.3)
        limit(world, "torso", name, rest_angle - freedom, rest_angle + freedom)
    names = ("torso", *joints)
    throw(world, names, centre, velocity, spin)
    masses = {f"m{k}": world.rigid(name).mass for k, name in enumerate(names)}
    bodies, poses, contacts = world.run(frames, fps)
    direction = "right" if way > 0 else "left"
    return Scene(
        type="rag doll",
        kind="complex",
        caption=dice.pick(
            (
                f"a rag doll with a {head} head, {torso} body, {arms} arms and {legs} legs is "
                f"thrown {direction}",
                f"a doll with a {head} head, {torso} body, {arms} arms and {legs} legs tumbles "
                f"{direction} onto the floor",
                f"a loose doll flies {direction} and falls, its head is {head}, body {torso}, "
                f"arms {arms} and legs {legs}",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(
            Law("fall together", names, masses),
            *(hinge(name, end, "torso", at) for name, (at, end) in joints.items()),
            *(Law("apart", (name, "floor")) for name in names),
        ),
        asked=(
            Asked(body="torso", colour=torso, direction=direction),
            Asked(body="head", colour=head, shape="circle"),
            Asked(body="left arm", colour=arms, shape="bar", count=2),
            Asked(body="left leg", colour=legs, shape="bar", count=2),
        ),
    )


def acrobat(dice: Dice, frames: int, fps: float) -> Scene:
    """A figure swings on a high bar seen from its end; the body bends at the hip."""
    arms, torso, legs = dice.colours(3)
    side = dice.sign()  # where it starts
    quick = dice.chance(0.5)
    start = -side * (dice.uniform(0.8, 1.0) if quick else dice.uniform(0.4, 0.5))
    spin = side * (dice.uniform(1.8, 2.5) if quick else dice.uniform(0.6, 0.9))
    hips = -side * dice.uniform(0.5, 0.9)  # the legs trail, then swing through
    grip = (0.5, dice.uniform(0.2, 0.24))
    arm, trunk, leg = 0.19, 0.17, 0.19
    world = World()
    world.fixed("post", box("wood", 0.05, 1.0, at=(0.0, 0.5)), at=grip, solid=False)
    shoulder = below(grip, start, arm)
    hip = below(shoulder, start, trunk)
    trail = start + hips
    for name, angle, at, parts in (
        ("legs", trail, below(hip, trail, leg / 2), (limb(legs, leg, 0.08),)),
        (
            "torso",
            start,
            below(shoulder, start, trunk / 2),
            (limb(torso, trunk, 0.1), disc(torso, 0.08, at=(-side * 0.05, -0.03 - trunk / 2))),
        ),
        ("arms", start, below(grip, start, arm / 2), (limb(arms, arm, 0.07),)),
    ):
        world.moving(name, *parts, at=at, angle=angle, solid=False, group=1)
    world.fixed("bar", disc("dark", 0.04), at=grip, solid=False)
    world.pin("arms", None, grip)
    world.pin("torso", "arms", shoulder)
    world.pin("legs", "torso", hip)
    limit(world, "arms", "torso", -0.4, 0.4)
    limit(world, "torso", "legs", -1.3, 1.3)
    spring(world, "arms", "torso", rate=14.0, damping=0.3)
    spring(world, "torso", "legs", rate=7.0, damping=0.1)
    throw(world, ("arms", "torso", "legs"), grip, (0.0, 0.0), spin)
    bodies, poses, contacts = world.run(frames, fps)
    direction = "left" if side > 0 else "right"
    pace = "quickly" if quick else "slowly"
    return Scene(
        type="acrobat",
        kind="complex",
        caption=dice.pick(
            (
                f"an acrobat with {arms} arms, a {torso} body and {legs} legs swings {pace} on a "
                f"bar, first to the {direction}",
                f"a gymnast swings {direction} {pace} on a high bar, arms {arms}, body {torso} and "
                f"legs {legs}",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(
            hinge("arms", (0.0, -arm / 2), "bar", (0.0, 0.0)),
            hinge("torso", (0.0, -trunk / 2), "arms", (0.0, arm / 2)),
            hinge("legs", (0.0, -leg / 2), "torso", (0.0, trunk / 2)),
        ),
        asked=(
            Asked(body="torso", colour=torso, direction=direction),
            Asked(body="arms", colour=arms, shape="bar"),
            Asked(
                body="legs", colour=legs, shape="bar", speed=(0.8, 1.3) if quick else (0.38, 0.65)
            ),
        ),
    )


def chain(dice: Dice, frames: int, fps: float) -> Scene:
    """Links of two colours in turn hang from a pin and are swung."""
    odd, even = dice.colours(2)
    count, number = dice.pick(((4, "four"), (5, "five")))
    side = dice.sign()  # where it starts
    quick = dice.chance(0.5)
    start = -side * (dice.uniform(0.8, 1.0) if quick else dice.uniform(0.33, 0.42))
    spin = side * (dice.uniform(1.2, 2.0) if quick else dice.uniform(0.25, 0.4))
    curl = dice.uniform(-0.12, 0.12)
    length, thickness = 0.54 / count, 0.07
    pin = (0.5 + dice.uniform(-0.05, 0.05), dice.uniform(0.2, 0.28))
    world = World()
    names = [f"link {k}" for k in range(count)]
    at = pin
    for k, name in enumerate(names):
        angle = start + k * curl
        part = limb((odd, even)[k % 2], length, thickness)
        middle = below(at, angle, length / 2)
        world.moving(name, part, at=middle, angle=angle, solid=False, group=1)
        world.pin(name, names[k - 1] if k else None, at)
        if k:
            limit(world, names[k - 1], name, -1.2, 1.2)
        at = below(at, angle, length)
    world.fixed("pin", disc("dark", 0.03), at=pin, solid=False)
    throw(world, names, pin, (0.0, 0.0), spin)
    bodies, poses, contacts = world.run(frames, fps)
    direction = "left" if side > 0 else "right"
    pace = "quickly" if quick else "slowly"
    return Scene(
        type="chain",
        kind="complex",
        caption=dice.pick(
            (
                f"a chain of {number} {odd} and {even} links swings {pace}, first to the "
                f"{direction}",
                f"{number} joined links, {odd} and {even} in turn, hang from a pin and swing "
                f"{direction} {pace}",
                f"a hanging {odd} and {even} chain with {number} links swings {direction} {pace}",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(
            hinge(names[0], (0.0, -length / 2), "pin", (0.0, 0.0)),
            *(
                hinge(after, (0.0, -length / 2), before, (0.0, length / 2))
                for before, after in itertools.pairwise(names)
            ),
        ),
        asked=(
            Asked(
                body=names[2],
                colour=odd,
                shape="bar",
                count=count - count // 2,
                direction=direction,
                speed=(0.36, 0.9) if quick else (0.09, 0.34),
            ),
            Asked(body=names[3], colour=even, shape="bar", count=count // 2, direction=direction),
        ),
    )


def jumping_jack(dice: Dice, frames: int, fps: float) -> Scene:
    """A figure seen from the front jumps with arms and legs out, then in."""
    torso, arms, legs = dice.colours(3)
    quick = dice.chance(0.5)
    period = dice.uniform(0.5, 0.65) if quick else dice.uniform(1.0, 1.3)
    phase = dice.uniform(0.0, 1.0)
    x = 0.5 + dice.uniform(-0.08, 0.08)
    leg, arm, thickness = 0.26, 0.22, 0.075

    def spread(time: float) -> float:
        return (1 - math.cos(2 * math.pi * (time / period + phase))) / 2

    def trunk(time: float) -> tuple[float, float, float]:
        jump = 0.05 * math.sin(2 * math.pi * (time / period + phase)) ** 2
        stand = FLOOR - thickness / 2 - leg * math.cos(0.12 + 0.5 * spread(time))
        return x, stand - jump - 0.02, 0.0

    def swung(at: tuple[float, float], length: float, least: float, more: float) -> Path:
        def path(time: float) -> tuple[float, float, float]:
            y = trunk(time)[1]
            angle = math.copysign(least + more * spread(time), -at[0])
            return *below((x + at[0], y + at[1]), angle, length / 2), angle

        return path

    # name, place on the torso, length, colour, path
    limbs = [
        (f"{name} {kind}", (side * wide, high), length, colour,
         swung((side * wide, high), length, least, more))
        for kind, wide, high, length, colour, least, more in (
            ("leg", 0.045, 0.02, leg, legs, 0.12, 0.5),
            ("arm", 0.06, -0.19, arm, arms, 0.35, 2.2),
        )
        for name, side in (("left", -1), ("right", 1))
    ]  # fmt: skip
    ground = box("wood", 5.0, 0.2, at=(0.5, FLOOR + 0.1))
    figure = (
        bar(torso, 0.32, 0.14, at=(0.0, -0.1), angle=math.pi / 2),
        disc(torso, 0.085, at=(0.0, -0.32)),
    )
    bodies, poses = follow(
        frames,
        fps,
        (Body(name="floor", parts=(ground,), fixture=True), standing_still(0.0, 0.0)),
        *(
            (Body(name=name, parts=(limb(colour, length, thickness),)), path)
            for name, _, length, colour, path in limbs
        ),
        (Body(name="torso", parts=figure), trunk),
    )
    pace = "quickly" if quick else "slowly"
    return Scene(
        type="jumping jack",
        kind="complex",
        caption=dice.pick(
            (
                f"a figure with a {torso} body, {arms} arms and {legs} legs does jumping jacks "
                f"{pace}",
                f"someone with {arms} arms, {legs} legs and a {torso} body jumps {pace} with arms "
                "and legs out and in",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        laws=(
            Law("oscillate", ("torso",), {"angle": math.pi / 2, "period": period}),
            Law("mirror", ("left arm", "right arm"), {"x": x}),
            Law("mirror", ("left leg", "right leg"), {"x": x}),
            *(hinge(name, (0.0, -length / 2), "torso", at) for name, at, length, _, _ in limbs),
        ),
        asked=(
            Asked(body="torso", colour=torso, speed=(0.27, 0.48) if quick else (0.13, 0.26)),
            Asked(body="left arm", colour=arms, shape="bar", count=2),
            Asked(body="left leg", colour=legs, shape="bar", count=2),
        ),
    )
