"""Two balls of equal mass that bounce off walls and each other, in closed form.

Take the balls' lengths out of the line, and they are points. Equal points that collide exchange
their velocities, so each of two ghosts flies on as if the other were not there, and the left ball
is whichever ghost is on the left. A ghost between two walls is a straight line, folded. Nothing is
integrated, so contacts are exact and time runs backwards as well as forwards.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.lab.scanline import drawing
from videojam.lab.scanline.world import NUM_BODIES, SPEEDS, Clips, World, place, speeds_px


def draw(world: World, uniform: Float[Tensor, "n k"]) -> Clips:
    """Clips of these uniform numbers; one ball starts in each half."""
    waves, rest = uniform.split([drawing.DRAWS_OF_WAVES, uniform.shape[1] - 18], 1)
    colour, start, direction, speed, within = rest[:, :10].unflatten(1, (5, 2)).unbind(1)
    first = place(colour[:, 0], 3)
    second = (first + 1 + place(colour[:, 1], 2)) % 3
    captions = torch.stack(
        [torch.stack([first, second], 1), place(direction, 2), place(speed, len(SPEEDS))], -1
    )
    half = world.width / 2
    centres = world.radius + start * (half - 2 * world.radius) + half * torch.arange(2)
    velocity = speeds_px(world, captions[..., 2], within) * (2 * captions[..., 1] - 1)
    ways = travel(world, centres, velocity, torch.arange(world.frames).float())
    return drawing.bodies(world, waves, ways, captions)


def travel(
    world: World,
    centres: Float[Tensor, "*n 2"],
    velocity: Float[Tensor, "*n 2"],
    times: Float[Tensor, "*m f"],
) -> Float[Tensor, "*n f 2"]:
    """Centres of the balls at times in frames, before or after the start; left ball first."""
    lengths = world.radius * (1 + 2 * torch.arange(2, device=centres.device))  # left of a centre
    room = world.width - 2 * NUM_BODIES * world.radius
    ghosts = (centres - lengths).unsqueeze(-2) + velocity.unsqueeze(-2) * times.unsqueeze(-1)
    return _fold(ghosts, room).sort(-1).values + lengths


def _fold(x: Tensor, length: float) -> Tensor:
    """A straight way between mirrors at 0 and length."""
    return length - (x.remainder(2 * length) - length).abs()
