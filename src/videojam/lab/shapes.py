"""A few moving shapes: the smallest captioned video set, for the demo and for tests.

One textured shape moves over a plain background at constant speed and bounces off the borders.
Clip i depends on (seed, i) alone; its optical flow is known exactly.
"""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.rng import generator
from videojam.video import write_video

_COLOURS = {
    "red": (225, 50, 45), "green": (50, 190, 80), "blue": (60, 100, 235), "yellow": (240, 210, 60),
}  # fmt: skip
_DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
_SPEEDS = {"slowly": 2.0, "quickly": 5.0}  # pixels per frame of a clip of 48 pixels
_BACKGROUND = 15


class ShapeClip(NamedTuple):
    """frames: (F, H, W, 3). flow: (F-1, 2, H, W) in pixels, zero outside the shape."""

    frames: UInt8[Tensor, "f h w 3"]
    flow: Float[Tensor, "n 2 h w"]
    caption: str


def shape_clip(seed: int, index: int, frames: int = 9, size: int = 48) -> ShapeClip:
    """Clip number `index`: a ball or a square of `size` x `size` pixels, `frames` long."""
    draw = generator(seed, "shapes", index)

    def pick(options):
        return list(options)[int(torch.randint(len(options), (), generator=draw))]

    colour, shape, way, pace = (
        pick(_COLOURS),
        pick(("ball", "square")),
        pick(_DIRECTIONS),
        pick(_SPEEDS),
    )
    radius = size * (0.2 + 0.08 * float(torch.rand((), generator=draw)))
    at = radius + (size - 2 * radius) * torch.rand(2, generator=draw)
    step = torch.tensor(_DIRECTIONS[way]) * _SPEEDS[pace] * size / 48
    texture = 0.75 + 0.5 * torch.rand(64, 64, generator=draw)
    rgb = torch.tensor(_COLOURS[colour])

    images, flows = [], []
    for _ in range(frames):
        mask, local = _coverage(shape, at, radius, size)
        grid = (local * 2 + 32).long().clamp(0, 63)
        painted = rgb * texture[grid[1], grid[0]].unsqueeze(-1)
        image = mask.unsqueeze(-1) * painted + (1 - mask.unsqueeze(-1)) * _BACKGROUND
        images.append(image.clamp(0, 255).round().to(torch.uint8))
        beyond = (at + step < radius) | (at + step > size - radius)
        step = torch.where(beyond, -step, step)
        flows.append(step.view(2, 1, 1) * (mask > 0.5))
        at = at + step
    caption = f"a {colour} {shape} moves {way} {pace}"
    return ShapeClip(torch.stack(images), torch.stack(flows[:-1]).float(), caption)


def write_shape_clips(folder: Path, count: int, seed: int = 0, fps: float = 8.0) -> Path:
    """`count` mp4 clips and captions.jsonl, as `videojam prepare` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index in range(count):
        clip = shape_clip(seed, index)
        name = f"shape_{index:04d}.mp4"
        write_video(folder / name, clip.frames, fps, crf=8)
        lines.append(json.dumps({"path": name, "caption": clip.caption}))
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def _coverage(
    shape: str, at: Float[Tensor, "2"], radius: float, size: int
) -> tuple[Float[Tensor, "h w"], Float[Tensor, "2 h w"]]:
    """How much of each pixel the shape covers, and coordinates relative to its centre."""
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    local = torch.stack([x - at[0], y - at[1]])
    distance = local.norm(dim=0) if shape == "ball" else local.abs().amax(0)
    return (radius - distance + 0.5).clamp(0, 1), local
