"""Basic motion: things that repeat."""

import math

from videojam.lab.dice import Dice
from videojam.lab.scene import Asked, Law, Scene, bar, box, disc
from videojam.lab.world import World

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
