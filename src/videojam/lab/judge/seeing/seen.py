"""What is seen of one colour in every frame: how much of it, where, in which pieces."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from videojam.lab.judge.seeing.components import Piece, pieces

SPECK = 0.0015  # frame heights squared: smaller pieces are noise (6 pixels of 64 x 64)
GONE = 0.15  # share of the usual area under which a thing counts as not there


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


def see(
    share: Float[np.ndarray, "c f h w"],
    names: tuple[str, ...],
    x: Float[np.ndarray, "h w"],
    y: Float[np.ndarray, "h w"],
) -> dict[str, Seen]:
    height = share.shape[2]
    around = [grown(picture > 0.3) for picture in share]
    found = {}
    for k, name in enumerate(names):
        parts, labels = pieces(share[k], SPECK * height**2)
        # What is within two pixels of a kept piece belongs to it, such as a tooth; specks do not.
        picture = np.where(grown(grown(labels > 0)), share[k], 0.0).astype(np.float64)
        area = picture.sum((1, 2)) / height**2
        full = full_area(area)
        others = [other for j, other in enumerate(around) if j != k]
        touching = np.zeros(len(area), bool)
        for other in others:
            touching |= (other & around[k]).sum((1, 2)) > 2
        found[name] = Seen(
            share=picture,
            area=area,
            full=full,
            centre=centroid(picture, area > GONE * full, x, y),
            pieces=parts,
            labels=labels,
            cut=edge_pixels(picture) > 1.0,
            hidden=touching,
        )
    return found


def full_area(area: Float[np.ndarray, "f"]) -> float:
    present = area[area > SPECK]
    return float(np.quantile(present, 0.75)) if len(present) else 0.0


def centroid(
    share: Float[np.ndarray, "f h w"],
    there: Bool[np.ndarray, "f"],
    x: Float[np.ndarray, "h w"],
    y: Float[np.ndarray, "h w"],
) -> Float[np.ndarray, "f 2"]:
    total = np.maximum(share.sum((1, 2)), 1e-9)
    centre = np.stack([(share * x).sum((1, 2)), (share * y).sum((1, 2))], axis=-1)
    return np.where(there[:, None], centre / total[:, None], np.nan)


def edge_pixels(share: Float[np.ndarray, "f h w"]) -> Float[np.ndarray, "f"]:
    """Covered pixels on the border of the picture."""
    rows = share[:, 0].sum(1) + share[:, -1].sum(1)
    return rows + share[:, :, 0].sum(1) + share[:, :, -1].sum(1)


def grown(mask: Bool[np.ndarray, "f h w"]) -> Bool[np.ndarray, "f h w"]:
    """One pixel more on every side."""
    wide = mask.copy()
    wide[:, :, 1:] |= mask[:, :, :-1]
    wide[:, :, :-1] |= mask[:, :, 1:]
    tall = wide.copy()
    tall[:, 1:] |= wide[:, :-1]
    tall[:, :-1] |= wide[:, 1:]
    return tall
