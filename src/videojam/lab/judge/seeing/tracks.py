"""Where everything is in a clip, from its pixels: per colour, and per body with its own colours.

Lengths are in frame heights, as in the scene; nothing is taken from the scene's poses.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from videojam.lab.judge.seeing.colours import STRAY, coverage
from videojam.lab.judge.seeing.hulls import convexity, filled
from videojam.lab.judge.seeing.layers import grey_in_front
from videojam.lab.judge.seeing.seen import GONE, Seen, centroid, edge_pixels, full_area, grown, see
from videojam.lab.judge.seeing.templates import Template, harmonic, templates
from videojam.lab.scene import Scene

_WHOLE = 0.93  # share of the full area from which it counts as wholly seen
_FEW = 5  # frames under which a piece is not followed
_CONVEX = 0.85  # share of its hull from which a body counts as convex


class Track(NamedTuple):
    """A body whose colours no other body has, or one piece of a colour that several share."""

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
    cut: Bool[np.ndarray, "f"]
    "It touches the border of the picture."
    whole: Bool[np.ndarray, "f"]
    "All of it is seen, so that middle and angle can be trusted."


class Tracks(NamedTuple):
    scene: Scene
    height: int
    width: int
    times: Float[np.ndarray, "f"]
    "Seconds."
    grey: Float[np.ndarray, "f h w"]
    "Mean of the three channels, 0 to 255."
    colours: dict[str, Seen]
    stray: Float[np.ndarray, "f"]
    "Area of saturated colours that were not asked for."
    bodies: dict[str, Track]
    limbs: tuple[Track, ...]
    "Pieces of the colours that several bodies share, while they are as many as the bodies."
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
    seen = see(cover.share[:-1], tuple(owners), x, y)
    bodies = {}
    for name, template in shapes.items():
        if all(owners[colour] == (name,) for colour in template.colours):
            share = _union([seen[colour].share for colour in template.colours])
            mark = seen[template.mark.colour].share if template.mark is not None else share
            patched = len(template.colours) > 1 or grey_in_front(scene, (name,))
            if patched and convexity(template.share.sum(0)) > _CONVEX:
                share = filled(share)
            bodies[name] = _track(name, template, share, mark, x, y)
    limbs = [
        limb
        for colour, names in owners.items()
        if len(names) > 1
        for limb in _limbs(colour, seen[colour], [shapes[name] for name in names], x, y)
    ]
    return Tracks(
        scene=scene,
        height=height,
        width=width,
        times=np.arange(len(frames)) / scene.fps,
        grey=frames.mean(-1, dtype=np.float32),
        colours=seen,
        stray=cover.of(STRAY).sum((1, 2)) / height**2,
        bodies=bodies,
        limbs=tuple(limbs),
        owners=owners,
        templates=shapes,
    )


def _places(height: int, width: int) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Scene coordinates of the pixels; the stage is the square in the middle."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    return (x - width / 2) / height + 0.5, y / height


def _track(
    name: str,
    template: Template,
    share: Float[np.ndarray, "f h w"],
    marked: Float[np.ndarray, "f h w"],
    x: Float[np.ndarray, "h w"],
    y: Float[np.ndarray, "h w"],
) -> Track:
    """marked: the coverage of the colour that shows the angle."""
    height = x.shape[0]
    area = share.sum((1, 2)) / height**2
    full = full_area(area)
    middle = centroid(share, area > GONE * full, x, y)
    angle = np.full(len(area), np.nan)
    if template.mark is not None:
        there = np.isfinite(middle[:, 0]) & (marked.sum((1, 2)) > 1.0)
        at = middle[there]
        _, phase = harmonic(
            marked[there], x - at[:, 0, None, None], y - at[:, 1, None, None], template.mark.k
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
        cut=edge_pixels(share) > 1.0,
        whole=whole,
    )


def _union(shares: list[Float[np.ndarray, "f h w"]]) -> Float[np.ndarray, "f h w"]:
    """Of the colours of one body, with the seams between them, whose hue is of neither."""
    total = shares[0]
    for share in shares[1:]:
        seam = grown(total > 0.5) & grown(share > 0.5)
        total = np.where(seam, 1.0, np.minimum(total + share, 1.0))
    return total


def _limbs(
    colour: str,
    seen: Seen,
    shapes: list[Template],
    x: Float[np.ndarray, "h w"],
    y: Float[np.ndarray, "h w"],
) -> list[Track]:
    """Frames with as many pieces as bodies; each piece is followed to the nearest next one."""
    count = len(shapes)
    share = np.zeros((count, *seen.share.shape))
    last: list[tuple[float, float]] = []
    frames = 0
    for k, parts in enumerate(seen.pieces):
        if len(parts) != count or parts[-1].area < 0.5 * parts[0].area:
            continue
        frames += 1
        if last:
            parts = min(
                itertools.permutations(parts),
                key=lambda order: sum(
                    (p.x - at[0]) ** 2 + (p.y - at[1]) ** 2
                    for p, at in zip(order, last, strict=True)
                ),
            )
        last = [(part.x, part.y) for part in parts]
        for j, part in enumerate(parts):
            near = grown(seen.labels[k : k + 1] == part.label)[0]
            share[j, k] = np.where(near, seen.share[k], 0.0)
    if frames < _FEW:
        return []
    return [_track(f"{colour} {j}", shapes[j], share[j], share[j], x, y) for j in range(count)]
