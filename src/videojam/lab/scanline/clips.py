"""Clips of one line of pixels with exact motion, in the regime that a `World` describes.

    clips = draw(World(kind="bounce"), seed=0, numbers=range(64))

Clip i depends on (seed, stream, i) and on the world alone, not on the clips drawn beside it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from videojam.lab.scanline import bounce, drawing, scroll
from videojam.lab.scanline.world import Clips, World
from videojam.rng import generator

_NUM_DRAWS = 40  # uniform numbers of a clip; each kind takes the first ones of them
_KINDS = {"bounce": (bounce.draw, drawing.flow), "scroll": (scroll.draw, scroll.flow)}


def draw(world: World, seed: int, numbers: Sequence[int], stream: str = "clip") -> Clips:
    """Clips `numbers` of a seed. stream: sets of clips that share a seed and nothing else."""
    purpose = f"scanline {stream}"
    uniform = torch.stack(
        [torch.rand(_NUM_DRAWS, generator=generator(seed, purpose, number)) for number in numbers]
    )
    return _KINDS[world.kind][0](world, uniform)


def shuffled(world: World, clips: Clips, seed: int, numbers: Sequence[int]) -> Clips:
    """The same frames in another order, drawn for each clip, with the exact flow of that order."""
    n, frames = clips.positions.shape[:2]
    order = torch.stack(
        [_another_order(frames, generator(seed, "scanline order", number)) for number in numbers]
    )
    rows = torch.arange(n)[:, None]
    positions = clips.positions[rows, order]
    flow = _KINDS[world.kind][1](world, positions)
    return Clips(clips.frames[rows, order], flow, clips.captions, positions)


def _another_order(count: int, random: torch.Generator) -> Int[Tensor, "f"]:
    order = torch.randperm(count, generator=random)
    return order.roll(1) if bool((order.diff() == 1).all()) else order
