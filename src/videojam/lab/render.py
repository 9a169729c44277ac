"""Drawing scenes: frames, masks and exact optical flow, a batch of clips at a time, in torch.

Every part is a rounded box or a regular polygon given by its signed distance, covered with a
texture that moves with it. Textures change brightness and leave the hue, so that objects are found
by colour; backgrounds are nearly grey and busy, so that appearance dominates a pixel loss as it
does in real video.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from videojam.lab.look import WAVES, Look
from videojam.lab.scene import COLOURS, FIXTURES, Scene

BACKGROUND = -1  # in `ids`
_CHUNK_PIXELS = 2**22  # frames x height x width drawn at once, to bound memory


class Drawn(NamedTuple):
    """A batch of clips, on the device they were drawn on."""

    frames: UInt8[Tensor, "b f h w 3"]
    flow: Float[Tensor, "b f-1 2 h w"]
    "Pixels, x right, y down, of what is seen at the pixel's centre."
    ids: Int[Tensor, "b f h w"]
    "Index of the body seen at the pixel's centre; BACKGROUND where there is none."
    occluded: Bool[Tensor, "b f-1 h w"]
    "What is seen there in frame k is hidden, or has left the picture, in frame k+1."


def draw(
    scenes: list[Scene],
    looks: list[Look],
    size: tuple[int, int],
    device: torch.device | str = "cpu",
) -> Drawn:
    """Draw scenes of the same number of frames, with one look each.

    size: (height, width) in pixels. Raises ValueError for clips of different lengths.
    """
    lengths = {scene.poses.shape[0] for scene in scenes}
    if len(lengths) != 1 or len(looks) != len(scenes):
        raise ValueError(
            f"got {len(scenes)} scenes of {sorted(lengths)} frames and {len(looks)} looks; "
            "expected scenes of one length and as many looks"
        )
    per_clip = lengths.pop() * size[0] * size[1]
    at_once = max(1, _CHUNK_PIXELS // per_clip)
    parts = [
        _draw(_pack(scenes[i : i + at_once], looks[i : i + at_once], device), size)
        for i in range(0, len(scenes), at_once)
    ]
    return Drawn(*(torch.cat(field) for field in zip(*parts, strict=True)))


class _Packed(NamedTuple):
    """Scenes as tensors; parts padded to the largest number of them with parts of no size."""

    pose: Tensor  # (B, F, P, 3) of the part's body
    camera: Tensor  # (B, F, 3) zoom, centre x, centre y
    count: Tensor  # (B,) parts that are no padding
    body: Tensor  # (B, P) index
    half: Tensor  # (B, P, 2)
    rounding: Tensor  # (B, P)
    sides: Tensor  # (B, P)
    wall: Tensor  # (B, P)
    local: Tensor  # (B, P, 3) place in the body's frame
    colour: Tensor  # (B, P, 3)
    waves: Tensor  # (B, P, WAVES, 4) kx, ky, phase, strength
    back_colour: Tensor  # (B, 2, 3)
    back_waves: Tensor  # (B, WAVES, 4)
    light: Tensor  # (B, F, 3) level, slope x, slope y


def _pack(scenes: list[Scene], looks: list[Look], device: torch.device | str) -> _Packed:
    most = max(sum(len(body.parts) for body in scene.bodies) for scene in scenes)
    rows = []
    for scene, look in zip(scenes, looks, strict=True):
        flat = [(k, part) for k, body in enumerate(scene.bodies) for part in body.parts]
        spare = most - len(flat)
        index = torch.tensor([k for k, _ in flat] + [0] * spare)
        numbers = torch.tensor(
            [
                [*p.half, p.rounding, p.sides, p.wall, *p.at, p.angle, *_rgb(p.colour)]
                for _, p in flat
            ]
            + [[-1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * spare
        )
        rows.append(
            (
                scene.poses[:, index],
                look.camera,
                torch.tensor(len(flat)),
                index,
                numbers[:, 0:2],
                numbers[:, 2],
                numbers[:, 3],
                numbers[:, 4],
                numbers[:, 5:8],
                numbers[:, 8:11],
                look.waves[index],
                look.back_colour,
                look.back_waves,
                look.light,
            )
        )
    return _Packed(*(torch.stack(field).to(device) for field in zip(*rows, strict=True)))


def _rgb(colour: str) -> tuple[float, float, float]:
    known = COLOURS | FIXTURES
    if colour not in known:
        raise ValueError(f"no colour {colour!r}; expected one of {', '.join(known)}")
    red, green, blue = known[colour]
    return red / 255, green / 255, blue / 255


def _draw(scene: _Packed, size: tuple[int, int]) -> Drawn:
    height, width = size
    device = scene.pose.device
    B, F, P = scene.pose.shape[:3]
    y, x = torch.meshgrid(
        torch.arange(height, device=device) + 0.5,
        torch.arange(width, device=device) + 0.5,
        indexing="ij",
    )
    # World coordinates of every pixel: the unit square of a scene is in the middle.
    zoom, centre_x, centre_y = (c[..., None, None] for c in scene.camera.unbind(-1))
    world_x = (x / height - width / height / 2) / zoom + centre_x
    world_y = (y / height - 0.5) / zoom + centre_y
    pixel = 1 / (height * zoom)  # the size of a pixel in the world

    shade = _texture(world_x, world_y, scene.back_waves[:, None, None, None])
    mix = (0.5 + shade).clamp(0, 1).unsqueeze(-1)
    low, high = scene.back_colour[:, None, None, None].unbind(-2)
    image = low + (high - low) * mix
    ids = torch.full((B, F, height, width), BACKGROUND, dtype=torch.int32, device=device)
    for p in range(P):
        # Scenes have 2 to 23 parts: only those with this many are touched.
        rows = (scene.count > p).nonzero().flatten()
        some = _Packed(*(field[rows] for field in scene))
        cover, local_x, local_y = _cover(some, p, world_x[rows], world_y[rows], pixel[rows])
        tone = 1 + _texture(local_x, local_y, some.waves[:, p][:, None, None, None])
        painted = some.colour[:, p][:, None, None, None] * tone.unsqueeze(-1)
        image[rows] = torch.lerp(image[rows], painted, cover.unsqueeze(-1))
        seen = some.body[:, p].int()[:, None, None, None]
        ids[rows] = torch.where(cover > 0.5, seen, ids[rows])
    level, slope_x, slope_y = (c[..., None, None] for c in scene.light.unbind(-1))
    light = level + slope_x * (x / width - 0.5) + slope_y * (y / height - 0.5)
    frames = (image * light.unsqueeze(-1)).clamp(0, 1).mul(255).round().to(torch.uint8)
    flow = _flow(scene, ids, x, y, world_x, world_y)
    return Drawn(frames, flow, ids, _occluded(flow, ids, x, y))


def _texture(x: Tensor, y: Tensor, waves: Tensor) -> Tensor:
    """Sum of plane waves; waves: (B, 1, 1, 1, WAVES, 4)."""
    total = torch.zeros_like(x)
    for k in range(WAVES):
        kx, ky, phase, strength = waves[..., k, :].unbind(-1)
        total = total + strength * torch.sin(kx * x + ky * y + phase)
    return total


def _cover(
    scene: _Packed, p: int, world_x: Tensor, world_y: Tensor, pixel: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """How much of each pixel part p covers, and the pixel's place in the frame of its body."""
    px, py, turn = (c[..., None, None] for c in scene.pose[:, :, p].unbind(-1))
    dx, dy = world_x - px, world_y - py
    cos, sin = torch.cos(turn), torch.sin(turn)
    body_x, body_y = cos * dx + sin * dy, cos * dy - sin * dx
    at_x, at_y, angle = (c[:, None, None, None] for c in scene.local[:, p].unbind(-1))
    cos, sin = torch.cos(angle), torch.sin(angle)
    dx, dy = body_x - at_x, body_y - at_y
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    half_x, half_y = (c[:, None, None, None] for c in scene.half[:, p].unbind(-1))
    qx, qy = x.abs() - half_x, y.abs() - half_y
    distance = torch.hypot(qx.clamp(min=0), qy.clamp(min=0)) + torch.maximum(qx, qy).clamp(max=0)
    sides = scene.sides[:, p]
    if bool((sides > 0).any()):
        # Fold every sector of the polygon onto one whose edge is at the apothem.
        many = sides.clamp(min=3)[:, None, None, None]
        sector = 2 * math.pi / many
        folded = torch.atan2(x, -y).remainder(sector) - sector / 2
        edge = torch.hypot(x, y) * torch.cos(folded) - half_x * torch.cos(sector / 2)
        distance = torch.where(sides[:, None, None, None] > 0, edge, distance)
    distance = distance - scene.rounding[:, p][:, None, None, None]
    wall = scene.wall[:, p][:, None, None, None]
    distance = torch.where(wall > 0, (distance + wall / 2).abs() - wall / 2, distance)
    return (0.5 - distance / pixel).clamp(0, 1), body_x, body_y


def _flow(
    scene: _Packed, ids: Tensor, x: Tensor, y: Tensor, world_x: Tensor, world_y: Tensor
) -> Tensor:
    """Where the point seen at each pixel is one frame later, by the pose of its body."""
    height, width = x.shape
    B, F, P = scene.pose.shape[:3]
    # The pose of a body is that of any of its parts; the background is one more, at rest.
    bodies = int(scene.body.max()) + 1
    index = scene.body[:, None, :, None].expand(B, F, P, 3)
    poses = scene.pose.new_zeros(B, F, bodies + 1, 3).scatter(2, index, scene.pose)
    seen = torch.where(ids == BACKGROUND, bodies, ids).long()[:, :-1].flatten(2)

    def per_pixel(values: Tensor) -> Tensor:
        return values.gather(2, seen).view(B, F - 1, height, width)

    now, then = poses[:, :-1], poses[:, 1:]
    turn = then[..., 2] - now[..., 2]
    cos, sin = per_pixel(torch.cos(turn)), per_pixel(torch.sin(turn))
    dx = world_x[:, :-1] - per_pixel(now[..., 0])
    dy = world_y[:, :-1] - per_pixel(now[..., 1])
    to_x = cos * dx - sin * dy + per_pixel(then[..., 0])
    to_y = sin * dx + cos * dy + per_pixel(then[..., 1])
    zoom, centre_x, centre_y = (c[:, 1:, None, None] for c in scene.camera.unbind(-1))
    to_x = ((to_x - centre_x) * zoom + width / height / 2) * height
    to_y = ((to_y - centre_y) * zoom + 0.5) * height
    return torch.stack([to_x - x, to_y - y], dim=2)


def _occluded(flow: Tensor, ids: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The four pixels around the target do not all show the same body, or lie outside."""
    height, width = x.shape
    to_x, to_y = x + flow[:, :, 0] - 0.5, y + flow[:, :, 1] - 0.5
    hidden = (to_x < 0) | (to_y < 0) | (to_x > width - 1) | (to_y > height - 1)
    later, now = ids[:, 1:].flatten(2), ids[:, :-1]
    left, top = to_x.floor(), to_y.floor()
    for right in (0, 1):
        for below in (0, 1):
            column = (left + right).clamp(0, width - 1)
            row = (top + below).clamp(0, height - 1)
            seen = later.gather(2, (row * width + column).long().flatten(2)).view(now.shape)
            hidden = hidden | (seen != now)
    return hidden
