"""What each body looks like by itself, from its parts: only shapes are used, no size or place."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from videojam.lab.judge.seeing.colours import coverage
from videojam.lab.look import WAVES, Look
from videojam.lab.render import draw
from videojam.lab.scene import COLOURS, Body, Scene

_SIDE = 64  # pixels
_FILL = 0.45  # half the body's reach, in heights of its picture
_HIGHEST = 6  # harmonic looked for
_PLAIN = 0.15  # strength from which a harmonic is taken before stronger, higher ones
_LEAST = 0.04  # strength under which a body is taken for round


class Mark(NamedTuple):
    """By what the angle of a body is seen: the harmonic k of one colour about its middle."""

    colour: str
    k: int
    phase: float
    "Of the harmonic at angle 0; the body's angle is (phase seen - phase) / k."


class Template(NamedTuple):
    """A body alone, at angle 0, in frame heights of the scene."""

    colours: tuple[str, ...]
    areas: dict[str, float]
    middle: Float[np.ndarray, "2"]
    "Centroid of its coloured parts in the body's frame."
    spread: float
    "Root of the mean squared distance of its coloured parts from there."
    reach: float
    "Largest distance of its coloured parts from there."
    mark: Mark | None
    share: Float[np.ndarray, "c h w"]
    "Its picture, per colour."
    scale: float
    "Frame heights per pixel of that picture."


def harmonic(
    share: Float[np.ndarray, "f h w"],
    x: Float[np.ndarray, "f h w"],
    y: Float[np.ndarray, "f h w"],
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """sum a r^2 exp(i k phi) / sum a r^2 over the pixels at (x, y): strength and phase."""
    z = x + 1j * y
    r = np.abs(z)
    total = (share * r**2).sum((1, 2))
    turned = (share * r**2 * (z / np.maximum(r, 1e-9)) ** k).sum((1, 2))
    mean = turned / np.maximum(total, 1e-12)
    return np.abs(mean), np.angle(mean)


def templates(scene: Scene) -> dict[str, Template]:
    """Templates of the bodies that have coloured parts."""
    bodies = [body for body in scene.bodies if _colours(body)]
    zooms = [_FILL / _extent(body) for body in bodies]
    blank = torch.zeros(1, WAVES, 4)
    drawn = draw(
        [
            Scene(
                type=scene.type,
                kind=scene.kind,
                caption="",
                bodies=(body,),
                poses=torch.zeros(1, 1, 3),
                fps=scene.fps,
            )
            for body in bodies
        ],
        [
            Look(
                waves=blank,
                back_colour=torch.full((2, 3), 0.5),
                back_waves=blank[0],
                light=torch.tensor([[1.0, 0.0, 0.0]]),
                camera=torch.tensor([[zoom, 0.0, 0.0]]),
            )
            for zoom in zooms
        ],
        (_SIDE, _SIDE),
    )
    return {
        body.name: _template(body, frames, 1 / (zoom * _SIDE))
        for body, frames, zoom in zip(bodies, drawn.frames.numpy(), zooms, strict=True)
    }


def _template(body: Body, frames: np.ndarray, scale: float) -> Template:
    names = _colours(body)
    share = coverage(frames, names).share[:-1, 0].astype(np.float64)
    y, x = (np.mgrid[0:_SIDE, 0:_SIDE] + 0.5 - _SIDE / 2) * scale
    union = np.minimum(share.sum(0), 1.0)
    total = max(union.sum(), 1e-9)
    middle = np.array([(union * x).sum(), (union * y).sum()]) / total
    x, y = x - middle[0], y - middle[1]
    r = np.hypot(x, y)
    return Template(
        colours=names,
        areas={name: float(share[k].sum() * scale**2) for k, name in enumerate(names)},
        middle=middle,
        spread=float(np.sqrt((union * r**2).sum() / total)),
        reach=float(r[union > 0.5].max(initial=scale)),
        mark=_mark(names, share, x, y),
        share=share,
        scale=scale,
    )


def _mark(names: tuple[str, ...], share: np.ndarray, x: np.ndarray, y: np.ndarray) -> Mark | None:
    best, strongest = None, _LEAST
    for k in range(1, _HIGHEST + 1):
        for colour, picture in zip(names, share, strict=True):
            strength, phase = harmonic(picture[None], x[None], y[None], k)
            if strength[0] > strongest:
                best, strongest = Mark(colour, k, float(phase[0])), float(strength[0])
        if best is not None and strongest > _PLAIN:
            return best
    return best


def _colours(body: Body) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.colour for part in body.parts if part.colour in COLOURS))


def _extent(body: Body) -> float:
    """No part reaches further from the body's origin."""
    return max(
        float(np.hypot(*part.at) + np.hypot(*part.half) + part.rounding)
        for part in body.parts
        if part.colour in COLOURS
    )
