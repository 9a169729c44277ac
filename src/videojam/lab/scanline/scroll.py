"""Two grey textures that scroll behind coloured windows: everything moves, nothing stands still."""

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.lab.scanline import drawing
from videojam.lab.scanline.world import CHROMA, HUES, SPEEDS, Clips, World, place, speeds_px

_TINT = CHROMA / 2  # of a window
_DEVIATION = 0.9  # of the textures, the default of a still one


def draw(world: World, uniform: Float[Tensor, "n k"]) -> Clips:
    """Clips of these uniform numbers; a window fills each half."""
    n, half = len(uniform), world.width // 2
    waves, rest = uniform.split([drawing.DRAWS_OF_WAVES, uniform.shape[1] - 18], 1)
    colour, direction, speed, within = rest[:, :8].unflatten(1, (4, 2)).unbind(1)
    captions = torch.stack([place(colour, 3), place(direction, 2), place(speed, len(SPEEDS))], -1)
    velocity = speeds_px(world, captions[..., 2], within) * (2 * captions[..., 1] - 1)
    moved = velocity[:, None] * torch.arange(world.frames)[:, None]
    window = (torch.arange(world.width) >= half).long()  # of every pixel
    # The second texture is far along the same waves, so it has nothing of the first.
    x = torch.arange(world.width) + 1000.0 * window - moved[..., window]
    grey = drawing.texture(waves, x, _DEVIATION)
    tint = _TINT * HUES[captions[..., 0]][:, window]
    frames = grey.unsqueeze(-1) + tint.unsqueeze(1)
    across = velocity[:, None, window].expand(n, world.frames - 1, world.width)
    flow = torch.stack([across, torch.zeros_like(across)], 2)
    return Clips(frames.unsqueeze(2), flow.unsqueeze(3).contiguous(), captions, moved)
