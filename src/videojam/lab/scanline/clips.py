"""Clips of one line of pixels with exact motion, in the regime that a `World` describes.

    clips = draw(World(kind="bounce"), seed=0, numbers=range(64))

Clip i depends on (seed, stream, i) and on the world alone, not on the clips drawn beside it.
"""

from collections.abc import Sequence

import torch

from videojam.lab.scanline import bounce, scroll
from videojam.lab.scanline.world import Clips, World
from videojam.rng import generator

_NUM_DRAWS = 40  # uniform numbers of a clip; each kind takes the first ones of them
_KINDS = {"bounce": bounce.draw, "scroll": scroll.draw}


def draw(world: World, seed: int, numbers: Sequence[int], stream: str = "clip") -> Clips:
    """Clips `numbers` of a seed. stream: sets of clips that share a seed and nothing else."""
    purpose = f"scanline {stream}"
    uniform = torch.stack(
        [torch.rand(_NUM_DRAWS, generator=generator(seed, purpose, number)) for number in numbers]
    )
    return _KINDS[world.kind](world, uniform)
