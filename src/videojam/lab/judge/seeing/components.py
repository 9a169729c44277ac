"""Connected pieces of a mask, by joining the runs of its rows."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Piece(NamedTuple):
    """One connected piece in one frame; pixels, x right, y down, of pixel centres."""

    area: float
    x: float
    y: float
    label: int
    "Its number in the label image of its frame, from 1."


def pieces(
    share: Float[np.ndarray, "f h w"], least: float = 0.0
) -> tuple[list[list[Piece]], Int[np.ndarray, "f h w"]]:
    """The pieces (covered by more than half) of every frame, largest first, and their labels.

    least: pieces of a smaller area, in pixels, are left out and labelled 0; so are those nowhere
    three pixels across, such as the seam of a third hue between two colours.
    """
    mask = share > 0.5
    labels = label(mask)
    found: list[list[Piece]] = []
    many = int(labels.max()) + 1
    core = thick_core(mask)
    height, width = mask.shape[1:]
    y, x = np.mgrid[0:height, 0:width] + 0.5
    for k, frame in enumerate(labels):
        flat = frame.ravel()
        weight = np.where(mask[k], share[k], 0.0).ravel()
        area = np.bincount(flat, weight, many)
        sum_x = np.bincount(flat, weight * x.ravel(), many)
        sum_y = np.bincount(flat, weight * y.ravel(), many)
        thick = np.bincount(frame[core[k]], minlength=many) > 0
        present = [n for n in np.flatnonzero(area) if n]
        kept = [n for n in present if area[n] >= least and thick[n]]
        if len(kept) < len(present):
            frame[~np.isin(frame, kept)] = 0
        kept.sort(key=lambda n, area=area: -area[n])
        found.append(
            [Piece(float(area[n]), sum_x[n] / area[n], sum_y[n] / area[n], int(n)) for n in kept]
        )
    return found, labels


def thick_core(mask: Bool[np.ndarray, "f h w"]) -> Bool[np.ndarray, "f h w"]:
    """Pixels with all eight neighbours."""
    core = np.zeros_like(mask)
    rows = mask[:, :, :-2] & mask[:, :, 1:-1] & mask[:, :, 2:]
    core[:, 1:-1, 1:-1] = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
    return core


def label(mask: Bool[np.ndarray, "f h w"]) -> Int[np.ndarray, "f h w"]:
    """0 outside, from 1 up in every frame; neighbours share a side or a corner."""
    labels = np.zeros(mask.shape, np.int64)
    padded = np.zeros((*mask.shape[:2], mask.shape[2] + 2), np.int8)
    padded[:, :, 1:-1] = mask
    edges = np.diff(padded, axis=2)
    for k in range(mask.shape[0]):
        rows, starts = np.nonzero(edges[k] == 1)
        _, ends = np.nonzero(edges[k] == -1)
        for number, row, start, end in zip(
            _joined(rows.tolist(), starts.tolist(), ends.tolist()), rows, starts, ends, strict=True
        ):
            labels[k, row, start:end] = number
    return labels


def _joined(rows: list[int], starts: list[int], ends: list[int]) -> list[int]:
    """The number of the piece of every run, runs in reading order; union-find."""
    parent = list(range(len(rows)))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    above = 0
    for k, row in enumerate(rows):
        while above < k and (
            rows[above] < row - 1 or (rows[above] == row - 1 and ends[above] < starts[k])
        ):
            above += 1
        other = above
        while other < k and rows[other] == row - 1 and starts[other] <= ends[k]:
            parent[root(other)] = root(k)
            other += 1
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(k), len(numbers) + 1) for k in range(len(rows))]
