"""Two bobs, one below the other, by their equations of motion."""

import math

import torch

from videojam.lab.scene import GRAVITY, Asked, Body, Law, Scene, bar, disc
from videojam.lab.scenes.dice import Dice
from videojam.lab.scenes.limbs import below, hinge


def double_pendulum(dice: Dice, frames: int, fps: float) -> Scene:
    """Two bobs on stiff rods without weight, one below the other."""
    upper, lower = dice.colours(2)
    lengths = (dice.uniform(0.2, 0.24), dice.uniform(0.2, 0.24))
    radii = (dice.uniform(0.08, 0.09), dice.uniform(0.08, 0.09))
    masses = (radii[0] ** 2 * 100, radii[1] ** 2 * 100)
    pin = (0.5 + dice.uniform(-0.05, 0.05), dice.uniform(0.35, 0.4))
    side = dice.sign()  # where it starts
    quick = dice.chance(0.5)
    start = side * (dice.uniform(1.0, 1.3) if quick else dice.uniform(0.4, 0.55))
    second = start + side * (dice.uniform(-0.4, 0.4) if quick else dice.uniform(-0.15, 0.15))
    push = -side * (dice.uniform(2.0, 3.0) if quick else dice.uniform(0.2, 0.4))
    poses = []
    # By its equations: the engine keeps no energy with rods that weigh nothing.
    for a, b, _, _ in _double_swing(frames, fps, lengths, masses, (start, second, push, push)):
        middle = below(pin, -a, lengths[0])
        end = below(middle, -b, lengths[1])
        poses.append([(*pin, 0.0), (*middle, -a), (*end, -b)])
    bobs = [
        (bar("light", length, 0.03, at=(0.0, -length / 2), angle=math.pi / 2), disc(colour, radius))
        for colour, length, radius in zip((upper, lower), lengths, radii, strict=True)
    ]
    bodies = (
        Body(name="pin", parts=(disc("dark", 0.025),), fixture=True),
        Body(name="upper", parts=bobs[0]),
        Body(name="lower", parts=bobs[1]),
    )
    direction = "left" if side > 0 else "right"
    pace = "quickly" if quick else "slowly"
    return Scene(
        type="double pendulum",
        kind="complex",
        caption=dice.pick(
            (
                f"a {upper} ball hangs on a rod, a {lower} ball hangs below it, both swing {pace}, "
                f"first to the {direction}",
                f"a double pendulum with a {upper} ball above a {lower} ball swings {pace}, first "
                f"to the {direction}",
                f"two joined rods with a {upper} ball above and a {lower} ball below swing "
                f"{direction} {pace}",
            )
        ),
        bodies=bodies,
        poses=torch.tensor(poses),
        fps=fps,
        laws=(
            Law("energy", ("upper", "lower"), {"m0": masses[0], "m1": masses[1]}),
            hinge("upper", (0.0, -lengths[0]), "pin", (0.0, 0.0)),
            hinge("lower", (0.0, -lengths[1]), "upper", (0.0, 0.0)),
        ),
        asked=(
            Asked(body="upper", colour=upper, shape="circle", direction=direction),
            Asked(
                body="lower",
                colour=lower,
                shape="circle",
                direction=direction,
                speed=(0.8, 1.8) if quick else (0.25, 0.6),
            ),
        ),
    )


def _double_swing(
    frames: int,
    fps: float,
    lengths: tuple[float, float],
    masses: tuple[float, float],
    state: tuple[float, ...],
) -> list[tuple[float, ...]]:
    """Angles from straight down and their rates, per frame, by classical Runge-Kutta."""
    (l0, l1), (m0, m1) = lengths, masses

    def rates(s: tuple[float, ...]) -> tuple[float, ...]:
        a, b, u, v = s
        sin, cos = math.sin(a - b), math.cos(a - b)
        share = m0 + m1 * sin**2
        down_a, down_b = GRAVITY * math.sin(a), GRAVITY * math.sin(b)
        pull = m1 * sin * (l0 * u**2 * cos + l1 * v**2)
        turn = (m0 + m1) * (l0 * u**2 * sin - down_b + down_a * cos)
        swing_a = (m1 * down_b * cos - (m0 + m1) * down_a - pull) / (l0 * share)
        return u, v, swing_a, (turn + m1 * l1 * v**2 * sin * cos) / (l1 * share)

    def ahead(s: tuple[float, ...], slope: tuple[float, ...], time: float) -> tuple[float, ...]:
        return tuple(value + time * rate for value, rate in zip(s, slope, strict=True))

    substeps = max(1, round(240 / fps))
    step = 1 / (fps * substeps)
    states = [state]
    for _ in range(frames - 1):
        for _ in range(substeps):
            k1 = rates(state)
            k2 = rates(ahead(state, k1, step / 2))
            k3 = rates(ahead(state, k2, step / 2))
            k4 = rates(ahead(state, k3, step))
            for slope, share in ((k1, 6), (k2, 3), (k3, 3), (k4, 6)):
                state = ahead(state, slope, step / share)
        states.append(state)
    return states
