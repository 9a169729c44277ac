"""What a simulated clip is: named rigid bodies with a pose per frame, and what must hold of them.

Lengths are in frame heights, time in seconds, angles in radians; x points right, y down, so a
growing angle turns clockwise on the screen. The stage is the square from (0, 0) to (1, 1), in the
middle of pictures of any shape. Everything seen is a rigid part of some body, so the
optical flow follows from the poses exactly.
"""

from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float
from torch import Tensor

GRAVITY = 2.5  # frame heights per second squared, down: 0.6 of the frame falls in 0.7 s

# Objects wear saturated hues 60 degrees apart, so that each is found by its colour; fixtures
# (floors, posts, pivots) and backgrounds are nearly grey.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 40, 40), "yellow": (235, 210, 40), "green": (45, 190, 60),
    "cyan": (40, 205, 215), "blue": (50, 80, 235), "pink": (225, 60, 215),
}  # fmt: skip
FIXTURES: dict[str, tuple[int, int, int]] = {
    "dark": (45, 42, 40), "wood": (120, 108, 94), "light": (205, 203, 198),
}  # fmt: skip

Kind = Literal["basic", "complex", "physics", "rotation"]
KINDS: tuple[Kind, ...] = ("basic", "complex", "physics", "rotation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A rounded box or a regular polygon, fixed to its body. Use the constructors below."""

    colour: str
    "A name in COLOURS or FIXTURES."
    half: tuple[float, float] = (0.0, 0.0)
    "Half width and half height of the box before rounding; (circumradius, 0) of a polygon."
    rounding: float = 0.0
    "Radius added around it: a disc is a box of no extent, rounded."
    sides: int = 0
    "0 for a box, else the sides of a regular polygon, one corner up."
    wall: float = 0.0
    "Thickness of the wall of a hollow part; 0 for a solid one."
    at: tuple[float, float] = (0.0, 0.0)
    "Its centre in the body's frame."
    angle: float = 0.0
    "Its turn in the body's frame."


def disc(colour: str, radius: float, at: tuple[float, float] = (0.0, 0.0)) -> Part:
    return Part(colour=colour, rounding=radius, at=at)


def ring(colour: str, radius: float, wall: float, at: tuple[float, float] = (0.0, 0.0)) -> Part:
    """radius: to the outer edge."""
    return Part(colour=colour, rounding=radius, wall=wall, at=at)


def box(
    colour: str,
    width: float,
    height: float,
    at: tuple[float, float] = (0.0, 0.0),
    angle: float = 0.0,
) -> Part:
    return Part(colour=colour, half=(width / 2, height / 2), at=at, angle=angle)


def bar(
    colour: str,
    length: float,
    thickness: float,
    at: tuple[float, float] = (0.0, 0.0),
    angle: float = 0.0,
) -> Part:
    """A rod along x with round ends; length from end to end."""
    half = (max(length - thickness, 0.0) / 2, 0.0)
    return Part(colour=colour, half=half, rounding=thickness / 2, at=at, angle=angle)


def polygon(
    colour: str,
    radius: float,
    sides: int,
    at: tuple[float, float] = (0.0, 0.0),
    angle: float = 0.0,
) -> Part:
    """radius: from the centre to a corner."""
    return Part(colour=colour, half=(radius, 0.0), sides=sides, at=at, angle=angle)


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """A rigid thing with a name that is unique in its scene."""

    name: str
    parts: tuple[Part, ...]
    fixture: bool = False
    "Part of the stage (floor, post, pivot): does not move, is not asked for, grey."


@dataclass(frozen=True, kw_only=True, slots=True)
class Contact:
    """Two bodies touching within frame `frame` (until the next one)."""

    frame: int
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Law:
    """Something that must hold of named bodies; `lab/judge` measures it from pixels.

    kind and its `values`:
    "fall"       free flight of bodies[0] under GRAVITY between contacts; no values
    "swing"      bodies[0] swings about the point (x, y) at distance length: x, y, length
    "spin"       bodies[0] turns about (x, y) at a constant rate (sign: clockwise positive): x, y,
                 rate (radians per second)
    "oscillate"  bodies[0] moves to and fro along the direction angle, period: angle, period
    "steady"     bodies[0] moves at constant velocity between contacts; no values
    "accelerate" bodies[0] has the constant acceleration (ax, ay) while it slides: ax, ay
    "momentum"   m0 v0 + m1 v1 is kept through the collision of bodies[0], bodies[1]: m0, m1
    "mesh"       bodies[1] turns at -ratio times the rate of bodies[0]: ratio
    "roll"       bodies[0] turns by its travel over radius, until its first contact: radius
    "alternate"  bodies[0] and bodies[1] (legs) move in antiphase with period: period
    "crank"      bodies[1] slides along the direction angle from (x, y), driven by a rod of this
                 length from the point (radius, 0) of bodies[0], turning about (x, y): x, y, angle,
                 radius, length
    "energy"     sum of m (v^2 / 2 - GRAVITY y) over the bodies' origins is kept: m0, m1, ...
    "fall together"  the common centre of mass of the bodies, each in its origin, falls freely until
                 the first contact: m0, m1, ...
    "mirror"     bodies[0] and bodies[1] are mirror images about the vertical at x: x
    "apart"      bodies[0] and bodies[1] never overlap; no values
    "joined"     point (x0, y0) of bodies[0] stays on point (x1, y1) of bodies[1]: x0, y0, x1, y1
    "still"      bodies[0] does not move; no values
    """

    kind: str
    bodies: tuple[str, ...]
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the caption asks of one named body; None where it does not say."""

    body: str
    colour: str
    shape: str | None = None
    "circle, ring, square, triangle, bar, ... as in the caption."
    count: int = 1
    "How many such bodies (of this colour) there are."
    direction: str | None = None
    "left, right, up, down, clockwise, counterclockwise: of its first motion."
    speed: tuple[float, float] | None = None
    "Range of the mean speed in frame heights per second (of turning: radians per second)."


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One simulated clip before it is drawn."""

    type: str
    kind: Kind
    caption: str
    bodies: tuple[Body, ...]
    "Back to front."
    poses: Float[Tensor, "f n 3"]
    "x, y, angle of every body in every frame."
    fps: float
    contacts: tuple[Contact, ...] = ()
    laws: tuple[Law, ...] = ()
    asked: tuple[Asked, ...] = ()

    def pose(self, name: str) -> Float[Tensor, "f 3"]:
        """The path of one body. KeyError names the bodies there are."""
        names = [body.name for body in self.bodies]
        if name not in names:
            raise KeyError(f"no body {name!r} in this {self.type}; it has {', '.join(names)}")
        return self.poses[:, names.index(name)]
