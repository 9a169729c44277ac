"""How a scene looks: textures, background, light and camera. Independent of how it moves."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.lab.scene import Scene

WAVES = 4  # plane waves per texture


class Look(NamedTuple):
    waves: Float[Tensor, "n waves 4"]
    "Per body: wave vector (radians per frame height), phase, strength."
    back_colour: Float[Tensor, "2 3"]
    back_waves: Float[Tensor, "waves 4"]
    light: Float[Tensor, "f 3"]
    "Level and slopes over the picture, per frame."
    camera: Float[Tensor, "f 3"]
    "Zoom and the world point in the middle of the picture, per frame."


def draw_look(
    scene: Scene,
    draw: torch.Generator,
    texture: float = 1.0,
    camera: str = "still",
    backdrop: float = 0.0,
) -> Look:
    """A random look for the scene.

    texture: 0 is flat colours, 1 the strongest that leaves hues recognisable.
    backdrop: added contrast of the still background, in shares of half the brightness range.
    camera: "still", "pan" or "zoom out".
    """
    frames, n = scene.poses.shape[:2]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=draw)

    def waves(count: int, coarsest: float, finest: float, strength: float) -> Tensor:
        length = torch.exp(uniform(math.log(finest), math.log(coarsest), count, WAVES))
        direction = uniform(0.0, 2 * math.pi, count, WAVES)
        number = 2 * math.pi / length
        phase = uniform(0.0, 2 * math.pi, count, WAVES)
        weight = uniform(0.3, 1.0, count, WAVES)
        weight = texture * strength * weight / weight.sum(1, keepdim=True)
        return torch.stack(
            [number * torch.cos(direction), number * torch.sin(direction), phase, weight], dim=-1
        )

    tint = uniform(-0.05, 0.05, 2, 3)
    level = uniform(0.25, 0.75, 1)
    contrast = (uniform(0.1, 0.3, 1) + 0.5 * backdrop) * texture
    back = torch.stack([level - contrast / 2, level + contrast / 2]) + tint
    drift = torch.linspace(-0.5, 0.5, frames) * uniform(-0.08, 0.08, 1)
    light = torch.stack(
        [
            uniform(0.85, 1.1, 1) + drift,
            uniform(-0.15, 0.15, 1).expand(frames),
            uniform(-0.15, 0.15, 1).expand(frames),
        ],
        dim=-1,
    )
    return Look(
        waves(n, 0.25, 0.06, 0.35),
        back,
        waves(1, 0.7, 0.1, 1.0)[0],
        light,
        _camera(camera, frames, scene.fps, uniform),
    )


def _camera(kind: str, frames: int, fps: float, uniform) -> Float[Tensor, "f 3"]:
    seconds = torch.arange(frames) / fps
    zoom = torch.ones(frames)
    x, y = torch.full((frames,), 0.5), torch.full((frames,), 0.5)
    if kind == "pan":
        angle = uniform(0.0, 2 * math.pi, 1)
        speed = uniform(0.05, 0.15, 1)
        middle = seconds - seconds[-1] / 2
        x = x + middle * speed * torch.cos(angle)
        y = y + middle * speed * torch.sin(angle)
    elif kind == "zoom out":
        end = uniform(0.5, 0.7, 1)
        zoom = 1 + (end - 1) * seconds / seconds[-1].clamp(min=1e-6)
    elif kind != "still":
        raise ValueError(f"camera is {kind!r}, expected 'still', 'pan' or 'zoom out'")
    return torch.stack([zoom, x, y], dim=-1)
