"""Basic motion: things that repeat."""

import math

from videojam.lab.scene import Asked, Body, Law, Scene, bar, box, disc
from videojam.lab.scenes.dice import Dice
from videojam.lab.scenes.limbs import below, follow, hinge, limb, standing_still
from videojam.lab.scenes.world import Path, World

FLOOR = 0.9  # height of the floor's surface


def bouncing_ball(dice: Dice, frames: int, fps: float) -> Scene:
    """A ball thrown sideways falls, and bounces off the floor."""
    (colour,) = dice.colours(1)
    way = dice.sign()
    quick = dice.chance(0.5)
    speed = dice.uniform(0.45, 0.6) if quick else dice.uniform(0.15, 0.3)
    radius = dice.uniform(0.09, 0.13)
    x = 0.5 - way * (dice.uniform(0.3, 0.36) if quick else dice.uniform(0.1, 0.2))
    world = World()
    world.fixed("floor", box("wood", 5.0, 0.2, at=(0.5, FLOOR + 0.1)), elasticity=1.0, friction=0.0)
    world.moving(
        "ball",
        disc(colour, radius),
        at=(x, dice.uniform(0.2, 0.45)),
        velocity=(way * speed, dice.uniform(-0.2, 0.2)),
        elasticity=dice.uniform(0.75, 0.95),
        friction=0.0,
    )
    direction = "right" if way > 0 else "left"
    pace = "quickly" if quick else "slowly"
    bodies, poses, contacts = world.run(frames, fps)
    return Scene(
        type="bouncing ball",
        kind="basic",
        caption=dice.pick(
            (
                f"a {colour} ball bounces on the floor and moves {direction} {pace}",
                f"one {colour} ball is thrown {direction} {pace} and bounces",
                f"a {colour} ball hops {direction} {pace} on the ground",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(Law("fall", ("ball",)), Law("apart", ("ball", "floor"))),
        asked=(
            Asked(
                body="ball",
                colour=colour,
                shape="circle",
                direction=direction,
                speed=(0.4, 0.65) if quick else (0.1, 0.35),
            ),
        ),
    )


def pendulum(dice: Dice, frames: int, fps: float) -> Scene:
    """A bob on a stiff rod swings about a pin."""
    (colour,) = dice.colours(1)
    length = dice.uniform(0.35, 0.55)
    radius = dice.uniform(0.08, 0.11)
    pin = (0.5 + dice.uniform(-0.1, 0.1), dice.uniform(0.15, 0.25))
    wide = dice.chance(0.5)
    start = dice.sign() * (dice.uniform(0.9, 1.3) if wide else dice.uniform(0.35, 0.55))
    world = World()
    # The rod weighs nothing, so this is the mathematical pendulum of the law.
    bob = (pin[0] + length * math.sin(start), pin[1] + length * math.cos(start))
    world.fixed("pin", disc("dark", 0.025), at=pin, solid=False)
    world.moving(
        "bob",
        bar("light", length, 0.025, at=(0.0, -length / 2), angle=math.pi / 2),
        disc(colour, radius),
        at=bob,
        angle=-start,
        solid=False,
    )
    rigid = world.rigid("bob")
    rigid.mass, rigid.moment, rigid.center_of_gravity = 1.0, 1e-3, (0.0, 0.0)
    world.pin("bob", None, pin)
    direction = "left" if start > 0 else "right"
    size = "widely" if wide else "gently"
    bodies, poses, contacts = world.run(frames, fps, warm_up=0.0)
    return Scene(
        type="pendulum",
        kind="basic",
        caption=dice.pick(
            (
                f"a pendulum with a {colour} ball swings {size}, first to the {direction}",
                f"a {colour} ball on a rod swings {size} and starts to the {direction}",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(Law("swing", ("bob",), {"x": pin[0], "y": pin[1], "length": length}),),
        asked=(Asked(body="bob", colour=colour, shape="circle", direction=direction),),
    )


def piston(dice: Dice, frames: int, fps: float) -> Scene:
    """A crank wheel turns, and by a rod drives a piston to and fro between two rails."""
    wheel_colour, piston_colour, mark = dice.colours(3)
    quick = dice.chance(0.5)
    rate = dice.sign() * (dice.uniform(7.0, 9.5) if quick else dice.uniform(3.0, 4.5))
    phase = dice.uniform(0.0, 2 * math.pi)
    facing = math.pi / 2 * dice.pick((-1, 0, 1, 2))  # from the wheel to the piston
    crank = dice.uniform(0.1, 0.13)
    wheel, half = crank + 0.05, 0.085
    rod = wheel + crank + half + dice.uniform(0.01, 0.03)
    ahead_x, ahead_y = math.cos(facing), math.sin(facing)
    back = (rod + crank + half - wheel) / 2  # centres the machine
    hub_x, hub_y = 0.5 - back * ahead_x, 0.5 - back * ahead_y

    def wheel_path(time: float) -> tuple[float, float, float]:
        return hub_x, hub_y, phase + rate * time

    def piston_path(time: float) -> tuple[float, float, float]:
        turn = phase + rate * time - facing
        reach = crank * math.cos(turn) + math.sqrt(rod**2 - (crank * math.sin(turn)) ** 2)
        return hub_x + reach * ahead_x, hub_y + reach * ahead_y, facing

    def rod_path(time: float) -> tuple[float, float, float]:
        turn = phase + rate * time
        x, y = hub_x + crank * math.cos(turn), hub_y + crank * math.sin(turn)
        to_x, to_y, _ = piston_path(time)
        return x, y, math.atan2(to_y - y, to_x - x)

    rails = tuple(
        box("dark", 2 * (crank + half), 0.03, at=(rod, side * (half + 0.015))) for side in (-1, 1)
    )
    wheel_parts = (disc(wheel_colour, wheel), disc(mark, 0.045, at=(crank, 0.0)))
    rod_parts = (
        bar("light", rod + 0.04, 0.04, at=(rod / 2, 0.0)),
        disc("dark", 0.03),
        disc("dark", 0.03, at=(rod, 0.0)),
    )
    bodies, poses = follow(
        frames,
        fps,
        (Body(name="rails", parts=rails, fixture=True), standing_still(hub_x, hub_y, facing)),
        # The rod runs behind the wheel, which so always shows the dot on its crank pin.
        (Body(name="rod", parts=rod_parts), rod_path),
        (Body(name="wheel", parts=wheel_parts), wheel_path),
        (
            Body(name="axle", parts=(disc("dark", 0.025),), fixture=True),
            standing_still(hub_x, hub_y),
        ),
        (Body(name="piston", parts=(box(piston_colour, 2 * half, 2 * half),)), piston_path),
    )
    way = "clockwise" if rate > 0 else "counterclockwise"
    pace = "quickly" if quick else "slowly"
    to_and_fro = "left and right" if abs(ahead_x) > 0.5 else "up and down"
    hub = {"x": hub_x, "y": hub_y}
    return Scene(
        type="piston",
        kind="basic",
        caption=dice.pick(
            (
                f"a {wheel_colour} wheel with a {mark} dot turns {way} {pace} and drives a "
                f"{piston_colour} piston {to_and_fro}",
                f"a {piston_colour} piston moves {to_and_fro} {pace}, driven by a {wheel_colour} "
                f"wheel with a {mark} dot turning {way}",
                f"an engine, its {wheel_colour} wheel with a {mark} dot turns {way} {pace}, its "
                f"{piston_colour} piston moves {to_and_fro}",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        laws=(
            Law("spin", ("wheel",), {**hub, "rate": rate}),
            Law("oscillate", ("piston",), {"angle": facing, "period": 2 * math.pi / abs(rate)}),
            Law(
                "crank",
                ("wheel", "piston"),
                {**hub, "angle": facing, "radius": crank, "length": rod},
            ),
            hinge("rod", (0.0, 0.0), "wheel", (crank, 0.0)),
            hinge("rod", (rod, 0.0), "piston", (0.0, 0.0)),
            Law("apart", ("wheel", "piston")),
        ),
        asked=(
            Asked(
                body="wheel",
                colour=wheel_colour,
                shape="circle",
                direction=way,
                speed=(6.5, 10.0) if quick else (2.5, 5.0),
            ),
            Asked(body="wheel", colour=mark, shape="dot"),
            Asked(body="piston", colour=piston_colour, shape="square"),
        ),
    )


def walker(dice: Dice, frames: int, fps: float) -> Scene:
    """A figure seen from the side walks on two legs with knees; the foot on the floor stays put."""
    near, far, torso = dice.colours(3)
    way = dice.sign()
    quick = dice.chance(0.5)
    speed = dice.uniform(0.5, 0.65) if quick else dice.uniform(0.22, 0.32)
    stride = dice.uniform(0.24, 0.28) if quick else dice.uniform(0.17, 0.2)
    period = 2 * stride / speed
    phase = dice.uniform(0.0, 1.0)
    start = 0.5 - way * (0.5 * speed + dice.uniform(-0.05, 0.05))
    bone, thickness, lean = 0.2, 0.075, 0.08
    highest = 0.388  # nearly straight legs
    lowest = math.sqrt(highest**2 - (stride / 2) ** 2)  # with the legs apart

    def hip(time: float) -> tuple[float, float, float]:
        turn = time / period + phase
        height = lowest + (highest - lowest) * math.sin(2 * math.pi * turn) ** 2
        y = FLOOR - thickness / 2 - height
        return start + way * speed * time, y, way * lean

    def leg(offset: float) -> tuple[Path, Path]:
        """The paths of a thigh and a shank."""

        def bend(time: float) -> tuple[float, float]:
            """Angles of thigh and shank, forward from straight down."""
            turn = (time / period + phase + offset) % 1.0
            ahead, lift = stride * (0.5 - 2 * turn), 0.0  # on the floor
            if turn > 0.5:  # in the air; leaves and meets the floor at rest
                part = 2 * turn - 1
                ahead = stride * (6 * part**2 - 4 * part**3 - part - 0.5)
                lift = 0.08 * math.sin(math.pi * part) ** 2
            below = FLOOR - thickness / 2 - lift - hip(time)[1]
            knee = math.acos(math.hypot(ahead, below) / (2 * bone))
            to_foot = math.atan2(ahead, below)
            return to_foot + knee, to_foot - knee

        def thigh(time: float) -> tuple[float, float, float]:
            angle = -way * bend(time)[0]
            return *below(hip(time)[:2], angle, bone / 2), angle

        def shank(time: float) -> tuple[float, float, float]:
            x, y, angle = thigh(time)
            knee = below((x, y), angle, bone / 2)
            angle = -way * bend(time)[1]
            return *below(knee, angle, bone / 2), angle

        return thigh, shank

    far_thigh, far_shank = leg(0.5)
    near_thigh, near_shank = leg(0.0)
    ground = (box("wood", 5.0, 0.2, at=(0.5, FLOOR + 0.1)),)
    trunk = (
        bar(torso, 0.3, 0.11, at=(0.0, -0.1), angle=math.pi / 2),
        disc(torso, 0.085, at=(0.0, -0.3)),
    )
    bodies, poses = follow(
        frames,
        fps,
        (Body(name="floor", parts=ground, fixture=True), standing_still(0.0, 0.0)),
        (Body(name="far shank", parts=(limb(far, bone, thickness),)), far_shank),
        (Body(name="far thigh", parts=(limb(far, bone, thickness),)), far_thigh),
        (Body(name="torso", parts=trunk), hip),
        (Body(name="near shank", parts=(limb(near, bone, thickness),)), near_shank),
        (Body(name="near thigh", parts=(limb(near, bone, thickness),)), near_thigh),
    )
    direction = "right" if way > 0 else "left"
    pace = "quickly" if quick else "slowly"
    joints = tuple(
        law
        for side in ("near", "far")
        for law in (
            hinge(f"{side} thigh", (0.0, -bone / 2), "torso", (0.0, 0.0)),
            hinge(f"{side} shank", (0.0, -bone / 2), f"{side} thigh", (0.0, bone / 2)),
        )
    )
    return Scene(
        type="walker",
        kind="basic",
        caption=dice.pick(
            (
                f"a {torso} figure with a {near} leg and a {far} leg walks {direction} {pace}",
                f"someone with a {torso} body, one {near} leg and one {far} leg walks {pace} to "
                f"the {direction}",
                f"a {torso} stick figure walks {direction} {pace}, one leg is {near} and the other "
                f"{far}",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        laws=(
            Law("alternate", ("near thigh", "far thigh"), {"period": period}),
            Law("alternate", ("near shank", "far shank"), {"period": period}),
            *joints,
        ),
        asked=(
            Asked(
                body="torso",
                colour=torso,
                direction=direction,
                speed=(0.45, 0.7) if quick else (0.18, 0.36),
            ),
            Asked(body="near thigh", colour=near),
            Asked(body="far thigh", colour=far),
        ),
    )
