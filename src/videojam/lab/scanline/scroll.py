"""Two grey textures that scroll behind coloured windows: everything moves, nothing stands still."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from videojam.lab.scanline import drawing
from videojam.lab.scanline.world import CHROMA, HUES, SPEEDS, Clips, World, place, speeds_px

TINT = CHROMA / 2
"Length of a window's colour along its hue."
DEVIATION = 0.9
"Of the textures."


def draw(world: World, uniform: Float[Tensor, "n k"]) -> Clips:
    """Clips of these uniform numbers; a window fills each half."""
    waves, rest = uniform.split([drawing.DRAWS_OF_WAVES, uniform.shape[1] - 18], 1)
    colour, direction, speed, within = rest[:, :8].unflatten(1, (4, 2)).unbind(1)
    captions = torch.stack([place(colour, 3), place(direction, 2), place(speed, len(SPEEDS))], -1)
    velocity = speeds_px(world, captions[..., 2], within) * (2 * captions[..., 1] - 1)
    moved = velocity[:, None] * torch.arange(world.frames)[:, None]
    window = _window(world)
    # The second texture is far along the same waves, so it has nothing of the first.
    x = torch.arange(world.width) + 1000.0 * window - moved[..., window]
    grey = drawing.texture(waves, x, DEVIATION)
    tint = TINT * HUES[captions[..., 0]][:, window]
    frames = grey.unsqueeze(-1) + tint.unsqueeze(1)
    return Clips(frames.unsqueeze(2), flow(world, moved), captions, moved)


def flow(world: World, moved: Float[Tensor, "n f 2"]) -> Float[Tensor, "n f-1 2 1 w"]:
    """Exact flow of textures that have moved this far in each frame."""
    return drawing.across(moved.diff(dim=1)[..., _window(world)])


def _window(world: World) -> Int[Tensor, "w"]:
    """Of every pixel, 0 or 1."""
    return (torch.arange(world.width) >= world.width // 2).long()
