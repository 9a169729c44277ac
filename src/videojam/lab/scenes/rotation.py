"""Rotation: wheels and other things that turn at a constant rate.

A part of another colour marks each body, so that its angle and direction can be seen.
"""

import math

from videojam.lab.scene import Asked, Law, Part, Scene, bar, box, disc, ring
from videojam.lab.scenes.dice import Dice
from videojam.lab.scenes.world import Path, World

FLOOR = 0.9  # height of the floor's surface
NUMBERS = {3: "three", 4: "four", 5: "five"}


def wheel(dice: Dice, frames: int, fps: float) -> Scene:
    """A spoked wheel turns in place on a stand."""
    colour, mark = dice.colours(2)
    spokes = dice.pick(tuple(NUMBERS))
    radius = dice.uniform(0.28, 0.35)
    hub = (dice.uniform(0.4, 0.6), dice.uniform(0.4, 0.52))
    rate, direction, pace, speed = _turning(dice)
    world = World(gravity=0.0)
    world.fixed("stand", box("wood", 0.08, 1.0, at=(0.0, 0.5)), at=hub, solid=False)
    world.scripted("wheel", *_spoked(colour, mark, radius, spokes), path=_spin(dice, hub, rate))
    bodies, poses, contacts = world.run(frames, fps)
    number = NUMBERS[spokes]
    return Scene(
        type="wheel",
        kind="rotation",
        caption=dice.pick(
            (
                f"a {colour} wheel with {number} spokes, one of them {mark}, turns {direction} "
                f"{pace}",
                f"a {colour} wheel turns {pace} {direction} in place, one of its {number} spokes "
                f"is {mark}",
                f"a {colour} wheel on a stand spins {direction} {pace}, it has {number} spokes "
                f"and one is {mark}",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(Law("spin", ("wheel",), {"x": hub[0], "y": hub[1], "rate": rate}),),
        asked=(
            Asked(body="wheel", colour=colour, shape="wheel", direction=direction, speed=speed),
            Asked(body="wheel", colour=mark, shape="spoke"),
        ),
    )


def rolling_wheel(dice: Dice, frames: int, fps: float) -> Scene:
    """A spoked wheel rolls over the ground without slipping."""
    colour, mark = dice.colours(2)
    spokes = dice.pick((3, 4))
    radius = dice.uniform(0.2, 0.27)
    way = dice.sign()
    quick = dice.chance(0.5)
    velocity = way * (dice.uniform(0.55, 0.75) if quick else dice.uniform(0.2, 0.32))
    start = 0.5 - 0.5 * velocity + dice.uniform(-0.05, 0.05)
    turned = dice.uniform(0.0, 2 * math.pi)

    def path(time: float) -> tuple[float, float, float]:
        travel = velocity * time
        return start + travel, FLOOR - radius, turned + travel / radius

    world = World(gravity=0.0)
    world.fixed("floor", box("wood", 5.0, 0.2, at=(0.5, FLOOR + 0.1)), solid=False)
    world.scripted("wheel", *_spoked(colour, mark, radius, spokes), path=path)
    bodies, poses, contacts = world.run(frames, fps)
    direction = "right" if way > 0 else "left"
    pace = "quickly" if quick else "slowly"
    number = NUMBERS[spokes]
    return Scene(
        type="rolling wheel",
        kind="rotation",
        caption=dice.pick(
            (
                f"a {colour} wheel with {number} spokes, one of them {mark}, rolls {direction} "
                f"{pace} over the ground",
                f"a {colour} wheel rolls {pace} to the {direction}, one of its {number} spokes "
                f"is {mark}",
                f"a {colour} wheel rolls {direction} {pace}, it has {number} spokes and one "
                f"is {mark}",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(
            Law("roll", ("wheel",), {"radius": radius}),
            Law("steady", ("wheel",)),
            Law("apart", ("wheel", "floor")),
        ),
        asked=(
            Asked(
                body="wheel",
                colour=colour,
                shape="wheel",
                direction=direction,
                speed=(0.5, 0.8) if quick else (0.15, 0.37),
            ),
            Asked(body="wheel", colour=mark, shape="spoke"),
        ),
    )


def fan(dice: Dice, frames: int, fps: float) -> Scene:
    """A fan of three blades on a stand."""
    colour, mark = dice.colours(2)
    reach = dice.uniform(0.28, 0.36)
    breadth = dice.uniform(0.1, 0.14)
    hub = (dice.uniform(0.4, 0.6), dice.uniform(0.4, 0.5))
    rate, direction, pace, speed = _turning(dice)
    blades = [
        bar(hue, reach, breadth, at=_polar(reach / 2, turn), angle=turn)
        for hue, turn in zip((colour, colour, mark), _around(3), strict=True)
    ]
    world = World(gravity=0.0)
    world.fixed("stand", box("wood", 0.08, 1.0, at=(0.0, 0.5)), at=hub, solid=False)
    world.scripted("fan", *blades, disc("dark", 0.06), path=_spin(dice, hub, rate))
    bodies, poses, contacts = world.run(frames, fps)
    return Scene(
        type="fan",
        kind="rotation",
        caption=dice.pick(
            (
                f"a fan with two {colour} blades and one {mark} blade turns {direction} {pace}",
                f"a {colour} fan with three blades, one of them {mark}, spins {pace} {direction}",
                f"three blades of a fan, two {colour} and one {mark}, turn {pace} {direction}",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(Law("spin", ("fan",), {"x": hub[0], "y": hub[1], "rate": rate}),),
        asked=(
            Asked(body="fan", colour=colour, shape="fan", direction=direction, speed=speed),
            Asked(body="fan", colour=mark, shape="blade"),
        ),
    )


def gears(dice: Dice, frames: int, fps: float) -> Scene:
    """Two toothed wheels side by side mesh and turn opposite ways."""
    left, right, left_mark, right_mark = dice.colours(4)
    teeth = dice.pick(((8, 8), (9, 9), (8, 10), (10, 8), (7, 10), (10, 7)))
    span = dice.uniform(0.43, 0.45)  # from hub to hub
    radii = [span * count / sum(teeth) for count in teeth]  # where the teeth meet
    tilt = dice.uniform(-0.2, 0.2)  # of the line from hub to hub
    middle = (0.5, dice.uniform(0.4, 0.6))  # between the outer rims
    shift = (radii[0] - radii[1]) / 2
    hubs = [
        (middle[0] + x, middle[1] + y)
        for x, y in (_polar(shift - span / 2, tilt), _polar(shift + span / 2, tilt))
    ]
    rate, direction, pace, speed = _turning(dice, slow=(1.0, 1.8), quick=(3.2, 4.2))
    ratio = teeth[0] / teeth[1]
    other = "counterclockwise" if direction == "clockwise" else "clockwise"
    # Where a tooth of the left one points at the other hub, the right one has a gap.
    ahead = dice.uniform(0.0, 1.0)  # in teeth
    first = tilt + ahead * 2 * math.pi / teeth[0]
    second = tilt + math.pi - (ahead + 0.5) * 2 * math.pi / teeth[1]
    world = World(gravity=0.0)
    world.scripted(
        "left gear",
        *_toothed(left, left_mark, radii[0], teeth[0]),
        path=lambda time: (*hubs[0], first + rate * time),
    )
    world.scripted(
        "right gear",
        *_toothed(right, right_mark, radii[1], teeth[1]),
        path=lambda time: (*hubs[1], second - ratio * rate * time),
    )
    for name, hub in zip(("left pin", "right pin"), hubs, strict=True):
        world.fixed(name, disc("dark", 0.03), at=hub, solid=False)
    bodies, poses, contacts = world.run(frames, fps)
    return Scene(
        type="gears",
        kind="rotation",
        caption=dice.pick(
            (
                f"a {left} gear with a {left_mark} dot turns {direction} {pace} and drives "
                f"a {right} gear with a {right_mark} dot",
                f"two gears turn {pace}, {left} with a {left_mark} dot {direction}, {right} with "
                f"a {right_mark} dot {other}",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(
            Law("mesh", ("left gear", "right gear"), {"ratio": ratio}),
            Law("spin", ("left gear",), {"x": hubs[0][0], "y": hubs[0][1], "rate": rate}),
            Law("spin", ("right gear",), {"x": hubs[1][0], "y": hubs[1][1], "rate": -ratio * rate}),
        ),
        asked=(
            Asked(body="left gear", colour=left, shape="gear", direction=direction, speed=speed),
            Asked(body="left gear", colour=left_mark, shape="dot"),
            Asked(body="right gear", colour=right, shape="gear", direction=other),
            Asked(body="right gear", colour=right_mark, shape="dot"),
        ),
    )


def spinning_square(dice: Dice, frames: int, fps: float) -> Scene:
    """A square with one corner or one side of another colour spins in place."""
    colour, mark = dice.colours(2)
    side = dice.uniform(0.36, 0.48)
    centre = (dice.uniform(0.4, 0.6), dice.uniform(0.4, 0.6))
    part = dice.pick(("corner", "side"))
    rate, direction, pace, speed = _turning(dice)
    wide = 0.4 * side
    if part == "corner":
        marker = box(mark, wide, wide, at=((side - wide) / 2, (side - wide) / 2))
    else:
        marker = box(mark, side, 0.3 * side, at=(0.0, 0.35 * side))
    world = World(gravity=0.0)
    world.scripted("square", box(colour, side, side), marker, path=_spin(dice, centre, rate))
    bodies, poses, contacts = world.run(frames, fps)
    return Scene(
        type="spinning square",
        kind="rotation",
        caption=dice.pick(
            (
                f"a {colour} square with one {mark} {part} spins {direction} {pace}",
                f"a {colour} square spins {pace} {direction} in place, one {part} is {mark}",
                f"a {colour} square with a {mark} {part} turns {pace} {direction} in the air",
            )
        ),
        bodies=bodies,
        poses=poses,
        fps=fps,
        contacts=contacts,
        laws=(Law("spin", ("square",), {"x": centre[0], "y": centre[1], "rate": rate}),),
        asked=(
            Asked(body="square", colour=colour, shape="square", direction=direction, speed=speed),
            Asked(body="square", colour=mark, shape=part),
        ),
    )


def _turning(
    dice: Dice,
    slow: tuple[float, float] = (1.0, 2.2),
    quick: tuple[float, float] = (4.0, 6.5),
) -> tuple[float, str, str, tuple[float, float]]:
    """A rate (clockwise positive), its direction and pace in words, and the range it is from."""
    way = dice.sign()
    pace, speed = dice.pick((("slowly", slow), ("quickly", quick)))
    direction = "clockwise" if way > 0 else "counterclockwise"
    return way * dice.uniform(*speed), direction, pace, speed


def _spin(dice: Dice, centre: tuple[float, float], rate: float) -> Path:
    """Turning in place at a constant rate, from a random angle."""
    start = dice.uniform(0.0, 2 * math.pi)
    return lambda time: (*centre, start + rate * time)


def _polar(radius: float, angle: float) -> tuple[float, float]:
    return radius * math.cos(angle), radius * math.sin(angle)


def _around(count: int) -> list[float]:
    """Angles that divide the full turn."""
    return [2 * math.pi * k / count for k in range(count)]


def _spoked(colour: str, mark: str, radius: float, spokes: int) -> list[Part]:
    """A rim and spokes, one of them of the colour `mark`."""
    hues = [colour] * (spokes - 1) + [mark]
    return [
        *(
            bar(hue, radius, 0.07, at=_polar(radius / 2, turn), angle=turn)
            for hue, turn in zip(hues, _around(spokes), strict=True)
        ),
        ring(colour, radius, 0.06),
        disc("dark", 0.05),
    ]


def _toothed(colour: str, mark: str, radius: float, teeth: int) -> list[Part]:
    """A gear that meets others at `radius`, one tooth along x, with an off-centre dot."""
    depth = 0.034  # of the teeth on either side of that radius
    width = 0.36 * 2 * math.pi * radius / teeth
    return [
        *(
            box(colour, 3 * depth, width, at=_polar(radius - depth / 2, turn), angle=turn)
            for turn in _around(teeth)
        ),
        disc(colour, radius - depth),
        disc(mark, 0.06, at=(radius - depth - 0.07, 0.0)),
    ]
