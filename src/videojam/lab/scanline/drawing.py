"""Drawing on a line: textures of waves, and bodies whose edges cover a part of a pixel."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from videojam.lab.scanline.world import CHROMA, GREY, HUES, Clips, World, normal

NUM_WAVES = 6
_SHORTEST_PX, _LONGEST_PX = 3.5, 24.0
DRAWS_OF_WAVES = 3 * NUM_WAVES


def texture(
    uniform: Float[Tensor, "n 18"], x: Float[Tensor, "n *at"], deviation: float
) -> Float[Tensor, "n *at"]:
    """Sums of waves at places x in px; over clips, values have this standard deviation."""
    length, phase, height = uniform.unflatten(1, (3, NUM_WAVES)).unbind(1)
    waves_px = _SHORTEST_PX * (_LONGEST_PX / _SHORTEST_PX) ** length
    height = normal(height) * deviation * math.sqrt(2 / NUM_WAVES)
    shape = (len(x), *[1] * (x.ndim - 1))
    total = torch.zeros_like(x)
    for k in range(NUM_WAVES):
        turn = x / waves_px[:, k].view(shape) + phase[:, k].view(shape)
        total = total + height[:, k].view(shape) * torch.cos(2 * math.pi * turn)
    return total


def coverage(world: World, centres: Float[Tensor, "n f 2"]) -> Float[Tensor, "n f 2 w"]:
    """The share of every pixel that each body covers."""
    left = torch.arange(world.width, dtype=centres.dtype, device=centres.device)
    centre = centres.unsqueeze(-1)
    overlap = torch.minimum(left + 1, centre + world.radius) - torch.maximum(
        left, centre - world.radius
    )
    return overlap.clamp(0, 1)


def bodies(
    world: World,
    waves: Float[Tensor, "n 18"],
    centres: Float[Tensor, "n f 2"],
    captions: Int[Tensor, "n 2 3"],
) -> Clips:
    """Two coloured bodies on their ways before a still grey texture."""
    n = len(centres)
    x = torch.arange(world.width).expand(n, world.width).float()
    still = texture(waves, x, world.background)
    cover = coverage(world, centres)
    colours = GREY + CHROMA * HUES[captions[..., 0]]
    first, second = cover.unbind(2)
    frames = still[:, None, :, None] * (1 - first - second).unsqueeze(-1)
    frames = frames + first.unsqueeze(-1) * colours[:, None, None, 0]
    frames = frames + second.unsqueeze(-1) * colours[:, None, None, 1]
    return Clips(frames.unsqueeze(2), flow(world, centres), captions, centres)


def flow(world: World, centres: Float[Tensor, "n f 2"]) -> Float[Tensor, "n f-1 2 1 w"]:
    """Exact flow of bodies that are there in one frame after the other."""
    moved = centres.diff(dim=1).unsqueeze(-1) * coverage(world, centres[:, :-1])
    return across(moved.sum(2))


def across(dx: Float[Tensor, "n k w"]) -> Float[Tensor, "n k 2 1 w"]:
    """Flow along the line."""
    return torch.stack([dx, torch.zeros_like(dx)], 2).unsqueeze(3)
