"""Where everything is in a clip, from its pixels: per colour, and per body with its own colours.

Lengths are in frame heights, as in the scene; nothing is taken from the scene's poses.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from videojam.lab.metrics.colours import STRAY, coverage
from videojam.lab.metrics.components import Piece, pieces
from videojam.lab.metrics.templates import Template, harmonic, templates
from videojam.lab.scene import Scene

_SPECK = 0.0015  # frame heights squared: smaller pieces are noise (6 pixels of 64 x 64)
_GONE = 0.15  # share of the usual area under which a thing counts as not there
_WHOLE = 0.93  # share of the full area from which it counts as wholly seen


class Seen(NamedTuple):
    """One colour."""

    share: Float[np.ndarray, "f h w"]
    area: Float[np.ndarray, "f"]
    "Frame heights squared."
    full: float
    "The area when all of it is seen: the upper quartile over the frames where there is any."
    centre: Float[np.ndarray, "f 2"]
    "NaN where it is not seen."
    pieces: list[list[Piece]]
    labels: Int[np.ndarray, "f h w"]
    cut: Bool[np.ndarray, "f"]
    "It touches the border of the picture."
    hidden: Bool[np.ndarray, "f"]
    "It touches another colour, which may cover some of it."


class Track(NamedTuple):
    """A body whose colours no other body has."""

    name: str
    template: Template
    share: Float[np.ndarray, "f h w"]
    area: Float[np.ndarray, "f"]
    full: float
    size: float
    "Its size in the clip over that in the scene."
    middle: Float[np.ndarray, "f 2"]
    "Centroid of its coloured parts; NaN where it is not seen."
    angle: Float[np.ndarray, "f"]
    "Unwrapped radians from its template; NaN for round bodies and where it is not seen."
    whole: Bool[np.ndarray, "f"]
    "All of it is seen, so that middle and angle can be trusted."


class Tracks(NamedTuple):
    scene: Scene
    height: int
    width: int
    times: Float[np.ndarray, "f"]
    "Seconds."
    colours: dict[str, Seen]
    stray: Float[np.ndarray, "f"]
    "Area of saturated colours that were not asked for."
    bodies: dict[str, Track]
    owners: dict[str, tuple[str, ...]]
    "Which bodies have parts of a colour."
    templates: dict[str, Template]


def track(frames: UInt8[np.ndarray, "f h w 3"], scene: Scene) -> Tracks:
    """Follows what the scene asks for through a clip of any size."""
    shapes = templates(scene)
    owners: dict[str, tuple[str, ...]] = {}
    for name, template in shapes.items():
        for colour in template.colours:
            owners[colour] = (*owners.get(colour, ()), name)
    cover = coverage(frames, tuple(owners))
    height, width = frames.shape[1:3]
    x, y = _places(height, width)
    seen = _seen(cover.share[:-1], tuple(owners), x, y)
    bodies = {}
    for name, template in shapes.items():
        if all(owners[colour] == (name,) for colour in template.colours):
            bodies[name] = _track(name, template, seen, x, y)
    return Tracks(
        scene=scene,
        height=height,
        width=width,
        times=np.arange(len(frames)) / scene.fps,
        colours=seen,
        stray=cover.of(STRAY).sum((1, 2)) / height**2,
        bodies=bodies,
        owners=owners,
        templates=shapes,
    )


def _places(
    height: int, width: int
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Scene coordinates of the pixels; the stage is the square in the middle."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    return (x - width / 2) / height + 0.5, y / height


def _seen(
    share: Float[np.ndarray, "c f h w"],
    names: tuple[str, ...],
    x: Float[np.ndarray, "h w"],
    y: Float[np.ndarray, "h w"],
) -> dict[str, Seen]:
    height = share.shape[2]
    around = [_grown(picture > 0.3) for picture in share]
    found = {}
    for k, name in enumerate(names):
        parts, labels = pieces(share[k], _SPECK * height**2)
        # Half-covered pixels beside a kept piece belong to it; specks do not.
        picture = np.where(_grown(labels > 0), share[k], 0.0).astype(np.float64)
        area = picture.sum((1, 2)) / height**2
        full = _full(area)
        others = [other for j, other in enumerate(around) if j != k]
        touching = np.zeros(len(area), bool)
        for other in others:
            touching |= (other & around[k]).sum((1, 2)) > 2
        found[name] = Seen(
            share=picture,
            area=area,
            full=full,
            centre=_centroid(picture, area > _GONE * full, x, y),
            pieces=parts,
            labels=labels,
            cut=_edge(picture) > 1.0,
            hidden=touching,
        )
    return found


def _track(
    name: str,
    template: Template,
    seen: dict[str, Seen],
    x: Float[np.ndarray, "h w"],
    y: Float[np.ndarray, "h w"],
) -> Track:
    height = x.shape[0]
    share = np.minimum(sum(seen[colour].share for colour in template.colours), 1.0)
    share = np.asarray(share)
    area = share.sum((1, 2)) / height**2
    full = _full(area)
    middle = _centroid(share, area > _GONE * full, x, y)
    angle = np.full(len(area), np.nan)
    if template.mark is not None:
        there = np.isfinite(middle[:, 0]) & (seen[template.mark.colour].area > 0)
        picture = seen[template.mark.colour].share[there]
        at = middle[there]
        _, phase = harmonic(
            picture, x - at[:, 0, None, None], y - at[:, 1, None, None], template.mark.k
        )
        angle[there] = np.unwrap(phase - template.mark.phase) / template.mark.k
    whole = (area > _WHOLE * full) & np.isfinite(middle[:, 0])
    return Track(
        name=name,
        template=template,
        share=share,
        area=area,
        full=full,
        size=float(np.sqrt(full / max(sum(template.areas.values()), 1e-9))),
        middle=middle,
        angle=angle,
        whole=whole,
    )


def _full(area: Float[np.ndarray, "f"]) -> float:
    present = area[area > _SPECK]
    return float(np.quantile(present, 0.75)) if len(present) else 0.0


def _centroid(
    share: Float[np.ndarray, "f h w"],
    there: Bool[np.ndarray, "f"],
    x: Float[np.ndarray, "h w"],
    y: Float[np.ndarray, "h w"],
) -> Float[np.ndarray, "f 2"]:
    total = np.maximum(share.sum((1, 2)), 1e-9)
    centre = np.stack([(share * x).sum((1, 2)), (share * y).sum((1, 2))], axis=-1)
    return np.where(there[:, None], centre / total[:, None], np.nan)


def _edge(share: Float[np.ndarray, "f h w"]) -> Float[np.ndarray, "f"]:
    """Covered pixels on the border of the picture."""
    rows = share[:, 0].sum(1) + share[:, -1].sum(1)
    return rows + share[:, :, 0].sum(1) + share[:, :, -1].sum(1)


def _grown(mask: Bool[np.ndarray, "f h w"]) -> Bool[np.ndarray, "f h w"]:
    """One pixel more on every side."""
    wide = mask.copy()
    wide[:, :, 1:] |= mask[:, :, :-1]
    wide[:, :, :-1] |= mask[:, :, 1:]
    tall = wide.copy()
    tall[:, 1:] |= wide[:, :-1]
    tall[:, :-1] |= wide[:, 1:]
    return tall
