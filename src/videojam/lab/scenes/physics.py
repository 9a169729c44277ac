"""Physics: collisions, toppling, kicking, rolling."""

import math

from videojam.lab.scene import GRAVITY, Asked, Law, Part, Scene, bar, box, disc, ring
from videojam.lab.scenes.dice import Dice
from videojam.lab.scenes.world import World

FLOOR = 0.9  # height of the floor's surface


def collision(dice: Dice, frames: int, fps: float) -> Scene:
    """Two balls slide without friction, along the floor or on a table seen from above, and collide.

    They are of the same stuff, so mass goes with area.
    """
    first, second = dice.colours(2)
    way = dice.sign()
    on_floor = dice.chance(0.4)
    both = dice.chance(0.4)
    middling = dice.uniform(0.1, 0.12)
    # Only balls of one size meet level with the floor.
    sizes = ("", "") if on_floor else dice.pick((("", ""), ("big ", "small "), ("small ", "big ")))
    r0, r1 = ({"": middling, "big ": 0.14, "small ": 0.085}[size] for size in sizes)
    v0 = way * dice.uniform(0.5, 0.65)
    v1 = -way * dice.uniform(0.3, 0.45) if both else 0.0
    wait = dice.uniform(0.25, 0.4)  # seconds until they meet
    meet = 0.5 + way * dice.uniform(-0.03, 0.05)
    slant = 0.0 if on_floor else dice.uniform(-0.5, 0.5)  # of the line of centres
    height = FLOOR - r0 if on_floor else dice.uniform(0.4, 0.6)
    dx, dy = way * math.cos(slant), math.sin(slant)
    world = World(gravity=0.0)
    if on_floor:
        world.fixed("floor", box("wood", 5.0, 0.2, at=(0.5, FLOOR + 0.1)), solid=False)
    elasticity = math.sqrt(dice.uniform(0.7, 1.0))  # of one ball; the engine multiplies both
    for name, colour, radius, velocity, side in (
        ("first", first, r0, v0, -1),
        ("second", second, r1, v1, 1),
    ):
        world.moving(
            name,
            disc(colour, radius),
            at=(meet - velocity * wait + side * radius * dx, height + side * radius * dy),
            velocity=(velocity, 0.0),
            elasticity=elasticity,
            friction=0.0,
        )
    bodies, poses, contacts = world.run(frames, fps)
    direction, other = _left_right(way)
    one, two = f"a {sizes[0]}{first} ball", f"a {sizes[1]}{second} ball"
    place = "on the floor" if on_floor else "on a table"
    if both:
        captions = (
            f"{one} sliding {direction} and {two} sliding {other} collide {place}",
            f"{one} moves {direction}, {two} moves {other}, and they hit each other {place}",
        )
    else:
        captions = (
            f"{one} slides {direction} and hits {two} that rests {place}",
            f"{place} {one} moves {direction} and knocks {two} away",
            f"{two} at rest is hit by {one} sliding {direction} {place}",
        )
    return Scene(
        type="collision",
        kind="physics",
        caption=dice.pick(captions),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(
            Law("momentum", ("first", "second"), {"m0": r0**2, "m1": r1**2}),
            Law("steady", ("first",)),
            Law("steady", ("second",)),
            Law("apart", ("first", "second")),
        ),
        asked=(
            Asked(body="first", colour=first, shape="circle", direction=direction),
            Asked(
                body="second",
                colour=second,
                shape="circle",
                direction=other if both else direction,
            ),
        ),
    )


def topple(dice: Dice, frames: int, fps: float) -> Scene:
    """A stack of three boxes falls: hit by a ball, or because it leans too far."""
    way = dice.sign()
    hit = dice.chance(0.6)
    top, middle, bottom, ball = dice.colours(4)
    side = dice.uniform(0.15, 0.18)
    lean = way * side * (dice.uniform(-0.05, 0.05) if hit else dice.uniform(0.46, 0.6))
    x = 0.5 - way * (0.1 if hit else 0.12)
    world = World()
    world.fixed("floor", box("wood", 5.0, 0.2, at=(0.5, FLOOR + 0.1)), elasticity=0.2, friction=0.8)
    names = ("bottom", "middle", "top")
    for k, (name, colour) in enumerate(zip(names, (bottom, middle, top), strict=True)):
        world.moving(
            name,
            box(colour, side, side),
            at=(x + k * lean, FLOOR - (k + 0.5) * side),
            elasticity=0.1,
            friction=0.45 if hit else 0.7,
        )
    direction, _ = _left_right(way)
    stack = f"a {top} box, a {middle} box and a {bottom} box"
    asked = [
        Asked(
            body=name, colour=colour, shape="square", direction=direction if name == "top" else None
        )
        for name, colour in zip(names, (bottom, middle, top), strict=True)
    ]
    laws = [
        Law("apart", pair) for pair in (("bottom", "middle"), ("middle", "top"), ("bottom", "top"))
    ] + [Law("apart", (name, "floor")) for name in names]
    if hit:
        radius = dice.uniform(0.085, 0.1)
        wait = dice.uniform(0.18, 0.25)
        speed = dice.uniform(1.15, 1.35)
        # Thrown so that it arrives level with the upper part of the top box.
        aim = FLOOR - dice.uniform(2.25, 2.55) * side
        rise = 0.5 * GRAVITY * wait
        world.moving(
            "ball",
            disc(ball, radius),
            at=(x - way * (side / 2 + radius + speed * wait), aim),
            velocity=(way * speed, -rise),
            density=1.6,
            elasticity=0.3,
            friction=0.3,
        )
        asked.append(Asked(body="ball", colour=ball, shape="circle", direction=direction))
        laws += [Law("fall", ("ball",)), *(Law("apart", ("ball", name)) for name in names)]
        captions = (
            f"a {ball} ball flies {direction} and knocks down a stack of {top}, {middle} and "
            f"{bottom} boxes",
            f"three stacked boxes, {top}, {middle} and {bottom}, are toppled {direction} by a "
            f"{ball} ball",
            f"a {ball} ball thrown {direction} topples a tower of {top}, {middle} and {bottom} "
            "boxes",
        )
    else:
        captions = (
            f"a leaning stack of three boxes, {top}, {middle} and {bottom}, topples to the "
            f"{direction}",
            f"{stack} on top of each other tip over to the {direction}",
            f"a tower of {top}, {middle} and {bottom} boxes leans too far and falls {direction}",
        )
    bodies, poses, contacts = world.run(frames, fps)
    return Scene(
        type="topple",
        kind="physics",
        caption=dice.pick(captions),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=tuple(laws),
        asked=tuple(asked),
    )


def hoop(dice: Dice, frames: int, fps: float) -> Scene:
    """A ring rolls on a slippery floor towards a post, hits it and slides back."""
    colour, mark = dice.colours(2)
    way = dice.sign()
    quick = dice.chance(0.5)
    speed = dice.uniform(0.65, 0.85) if quick else dice.uniform(0.3, 0.42)
    radius = dice.uniform(0.14, 0.19)
    wait = dice.uniform(0.3, 0.5)  # seconds until it hits
    post = 0.5 + way * (dice.uniform(0.28, 0.34) if quick else dice.uniform(0.15, 0.3))
    wide = 0.08
    # Without gravity, floor and friction its motion is exact: the floor is only drawn.
    world = World(gravity=0.0)
    world.fixed("floor", box("wood", 5.0, 0.2, at=(0.5, FLOOR + 0.1)), solid=False)
    world.fixed("post", box("dark", wide, 0.6, at=(post, FLOOR - 0.3)), elasticity=1.0)
    world.moving(
        "hoop",
        ring(colour, radius, 0.08),
        disc(mark, 0.05, at=(0.0, 0.05 - radius)),
        at=(post - way * (wide / 2 + radius + speed * wait), FLOOR - radius),
        angle=dice.uniform(0.0, 2 * math.pi),
        velocity=(way * speed, 0.0),
        spin=way * speed / radius,
        elasticity=dice.uniform(0.85, 0.98),
        friction=0.0,
    )
    rigid = world.rigid("hoop")
    # The dot weighs nothing; the engine moves the body with its centre of gravity unless told.
    rigid.center_of_gravity, rigid.position = (0.0, 0.0), rigid.position
    bodies, poses, contacts = world.run(frames, fps)
    direction, other = _left_right(way)
    pace = "quickly" if quick else "slowly"
    return Scene(
        type="hoop",
        kind="physics",
        caption=dice.pick(
            (
                f"a {colour} ring with a {mark} dot rolls {direction} {pace}, hits a post and "
                "bounces back",
                f"a {colour} hoop with a {mark} dot rolls {pace} {direction} against a post and "
                f"rebounds to the {other}",
                f"rolling {pace} to the {direction}, a {colour} ring with a {mark} dot bounces "
                "off a post",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(
            Law("roll", ("hoop",), {"radius": radius}),
            Law("steady", ("hoop",)),
            Law("apart", ("hoop", "post")),
            Law("apart", ("hoop", "floor")),
        ),
        asked=(
            Asked(
                body="hoop",
                colour=colour,
                shape="ring",
                direction=direction,
                speed=(0.5, 0.9) if quick else (0.2, 0.45),
            ),
            Asked(body="hoop", colour=mark, shape="dot"),
        ),
    )


def kick(dice: Dice, frames: int, fps: float) -> Scene:
    """A leg swings from the hip and kicks a ball off the floor."""
    leg, ball = dice.colours(2)
    way = dice.sign()
    hip = (0.5 - way * dice.uniform(0.1, 0.16), dice.uniform(0.32, 0.38))
    length = FLOOR - 0.06 - hip[1]  # from the hip to the middle of the foot
    swing, period = dice.uniform(0.4, 0.48), dice.uniform(1.65, 1.9)
    ahead = dice.uniform(0.05, 0.15)  # seconds since the foot was farthest back
    radius = dice.uniform(0.085, 0.11)
    world = World()
    world.fixed("floor", box("wood", 5.0, 0.2, at=(0.5, FLOOR + 0.1)), elasticity=0.6, friction=0.0)
    world.moving(
        "ball",
        disc(ball, radius),
        at=(hip[0] + way * (dice.uniform(0.11, 0.18) + radius), FLOOR - radius),
        elasticity=0.8,
        friction=0.0,
    )

    def path(time: float) -> tuple[float, float, float]:
        angle = way * swing * math.cos(2 * math.pi * (time + ahead) / period)
        return hip[0] - length * math.sin(angle), hip[1] + length * math.cos(angle), angle

    world.scripted(
        "leg", *_leg(leg, length, way), path=path, solid=True, elasticity=0.1, friction=0.0
    )
    world.fixed("hip", disc("dark", 0.06), at=hip, solid=False)
    bodies, poses, contacts = world.run(frames, fps)
    direction, _ = _left_right(way)
    return Scene(
        type="kick",
        kind="physics",
        caption=dice.pick(
            (
                f"a {leg} leg swings and kicks a {ball} ball to the {direction}",
                f"a {ball} ball is kicked {direction} by a {leg} foot",
                f"a {leg} foot swings {direction} and hits a {ball} ball, which flies off",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(
            Law("fall", ("ball",)),
            Law("apart", ("ball", "floor")),
            Law("apart", ("ball", "leg")),
            Law("joined", ("leg", "hip"), {"x0": 0.0, "y0": -length, "x1": 0.0, "y1": 0.0}),
        ),
        asked=(
            Asked(body="leg", colour=leg, shape="leg", direction=direction),
            Asked(body="ball", colour=ball, shape="circle", direction=direction),
        ),
    )


def ramp(dice: Dice, frames: int, fps: float) -> Scene:
    """A ball rolls, or a box slides without friction, down a slope."""
    colour, mark = dice.colours(2)
    way = dice.sign()
    rolls = dice.chance(0.6)
    steep = dice.chance(0.5)
    slope = dice.uniform(0.5, 0.62) if steep else dice.uniform(0.26, 0.34)
    size = dice.uniform(0.11, 0.13) if rolls else dice.uniform(0.09, 0.11)  # radius or half side
    # A solid disc that rolls has half as much energy again in its turning.
    rate = GRAVITY * math.sin(slope) * (2 / 3 if rolls else 1.0)
    speed = dice.uniform(0.0, 0.15)
    along = (way * math.cos(slope), math.sin(slope))
    up = (way * math.sin(slope), -math.cos(slope))
    foot = (0.5, dice.uniform(0.58, 0.66))  # the slope's surface at the middle
    start = -0.55 * (speed + rate / 2) + dice.uniform(-0.05, 0.0)
    turned = dice.uniform(0.0, 2 * math.pi) if rolls else way * slope

    def path(time: float) -> tuple[float, float, float]:
        travel = speed * time + rate * time**2 / 2
        x, y = (
            f + (start + travel) * a + size * u for f, a, u in zip(foot, along, up, strict=True)
        )
        return x, y, turned + (way * travel / size if rolls else 0.0)

    parts = (
        (disc(colour, size), disc(mark, 0.05, at=(size - 0.06, 0.0)))
        if rolls
        else (box(colour, 2 * size, 2 * size),)
    )
    name = "ball" if rolls else "box"
    world = World()
    world.fixed(
        "ramp",
        box("wood", 5.0, 2.0, at=(0.0, 1.0)),
        at=foot,
        angle=way * slope,
        solid=False,
    )
    world.scripted(name, *parts, path=path)
    bodies, poses, contacts = world.run(frames, fps)
    direction, _ = _left_right(way)
    kind = "steep" if steep else "gentle"
    if rolls:
        captions = (
            f"a {colour} ball with a {mark} dot rolls down a {kind} slope to the {direction}",
            f"rolling down a {kind} ramp to the {direction}, a {colour} ball with a {mark} dot "
            "gets faster",
            f"a {colour} ball marked with a {mark} dot rolls {direction} down a {kind} hill",
        )
    else:
        captions = (
            f"a {colour} box slides down a {kind} slope to the {direction}",
            f"sliding down a {kind} ramp to the {direction}, a {colour} box gets faster",
            f"a {colour} square box slides {direction} down a {kind} icy hill",
        )
    laws = [
        Law("accelerate", (name,), {"ax": rate * along[0], "ay": rate * along[1]}),
        Law("apart", (name, "ramp")),
    ]
    asked = [
        Asked(body=name, colour=colour, shape="circle" if rolls else "square", direction=direction)
    ]
    if rolls:
        laws.append(Law("roll", (name,), {"radius": size}))
        asked.append(Asked(body=name, colour=mark, shape="dot"))
    return Scene(
        type="ramp",
        kind="physics",
        caption=dice.pick(captions),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=tuple(laws),
        asked=tuple(asked),
    )


def _left_right(way: int) -> tuple[str, str]:
    """The direction of this sign of x in words, and the opposite one."""
    return ("right", "left") if way > 0 else ("left", "right")


def _leg(colour: str, length: float, way: int) -> tuple[Part, Part]:
    """A foot at (0, 0), its toe pointing `way`, and the leg up to the hip above."""
    return (
        bar(colour, length + 0.08, 0.08, at=(0.0, -length / 2), angle=math.pi / 2),
        bar(colour, 0.16, 0.08, at=(way * 0.04, 0.0)),
    )
