"""Motion that is drawn: moves of the camera and things that are dragged, as optical flow.

A file says it in JSON, in shares of the frame, so that it fits every size and length of clip:

    {"camera": {"pan": [0.2, 0], "zoom": 1.5, "roll": 10},
     "drags": [{"radius": 0.1, "path": [[0.3, 0.5], [0.7, 0.5], [0.7, 0.2]]}]}

camera, over the whole clip and evenly: pan, how far it turns right and down, in widths and heights
of the frame, so that the picture goes the other way; zoom, how many times larger everything gets;
roll, degrees that it rolls clockwise, so that the picture turns the other way. drags: discs whose
centres go along a path of points (x, y), (0, 0) the top left corner and (1, 1) the bottom right
one, that lie equal times apart; radius in heights of the frame. A later disc is in front.

With A = (z R(-roll))^(1/n) and the pan's step b, n = F - 1, a point q of the picture goes to
c + A (q - c) - b in each of the n steps, so that its flow is (A - 1)(q - c) - b. In a disc the flow
is the way of its centre. What comes into the picture is the model's matter.
"""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from videojam.motion.color import SIGMA


class Camera(NamedTuple):
    """What the camera does in the whole clip."""

    pan: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0
    roll: float = 0.0


class Drag(NamedTuple):
    """A disc whose centre goes along a path."""

    radius: float
    path: tuple[tuple[float, float], ...]


class Trajectory(NamedTuple):
    """Motion of a clip of any size."""

    camera: Camera = Camera()
    drags: tuple[Drag, ...] = ()


def read_trajectory(path: Path) -> Trajectory:
    """Of a JSON file. ValueError, naming file and place, for what is no trajectory."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    try:
        return trajectory_of(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def trajectory_of(content: Any) -> Trajectory:
    """Of what JSON gives. ValueError for unknown names, wrong numbers, and one without motion."""
    _check_names("a trajectory", content, ("camera", "drags"))
    camera, drags = content.get("camera", {}), content.get("drags", [])
    _check_names("camera", camera, Camera._fields)
    if not isinstance(drags, list):
        raise ValueError(f"drags is {drags!r}, expected a list of objects")
    found = Trajectory(
        Camera(
            _point("camera pan", camera.get("pan", [0, 0])),
            _number("camera zoom", camera.get("zoom", 1.0), 0.1, 10.0),
            _number("camera roll", camera.get("roll", 0.0), -360.0, 360.0),
        ),
        tuple(_drag(number, drag) for number, drag in enumerate(drags, 1)),
    )
    if found.camera == Camera() and not found.drags:
        raise ValueError("a trajectory without motion; give a camera that moves, or drags")
    return found


def trajectory_flow(
    trajectory: Trajectory, num_frames: int, height: int, width: int, sigma: float = SIGMA
) -> Float[Tensor, "n 2 h w"]:
    """The flow of a clip of this size, in pixels.

    Raises ValueError for motion that is faster than its colours can say: sigma of the diagonal.
    """
    steps = num_frames - 1
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64),
        indexing="ij",
    )  # fmt: skip
    flow = _camera_flow(trajectory.camera, x, y, steps).expand(steps, 2, height, width).clone()
    for drag in trajectory.drags:
        centres = _along(drag.path, num_frames) * np.array([width, height]) - 0.5
        for k, (here, there) in enumerate(pairwise(torch.from_numpy(centres))):
            inside = torch.hypot(x - here[0], y - here[1]) <= drag.radius * height
            flow[k, :, inside] = (there - here)[:, None]
    fastest, limit = float(flow.norm(dim=1).max()), sigma * math.hypot(height, width)
    if fastest > limit:
        raise ValueError(
            f"the trajectory moves up to {fastest:.1f} pixels a frame, and a model is told of "
            f"{limit:.1f} at most ({sigma:g} of the diagonal); move less, or make a longer clip"
        )
    return flow.float()


def _camera_flow(camera: Camera, x: Tensor, y: Tensor, steps: int) -> Float[Tensor, "2 h w"]:
    """Of one step; all steps are alike."""
    height, width = x.shape
    scale, angle = camera.zoom ** (1 / steps), -math.radians(camera.roll) / steps
    right, down = x - (width - 1) / 2, y - (height - 1) / 2
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    pan_x, pan_y = camera.pan[0] * width / steps, camera.pan[1] * height / steps
    return torch.stack(
        [
            (cos - 1) * right - sin * down - pan_x,
            sin * right + (cos - 1) * down - pan_y,
        ]
    )


def _along(path: tuple[tuple[float, float], ...], num_frames: int) -> np.ndarray:
    """Where the centre is in each frame (F, 2); the points lie equal times apart."""
    points = np.array(path)
    times = np.linspace(0, len(points) - 1, num_frames)
    return np.stack([np.interp(times, np.arange(len(points)), axis) for axis in points.T], 1)


def _drag(number: int, content: Any) -> Drag:
    what = f"drag {number}"
    _check_names(what, content, Drag._fields)
    missing = [name for name in Drag._fields if name not in content]
    if missing:
        raise ValueError(f"{what} has no {', '.join(missing)}")
    path = content["path"]
    if not isinstance(path, list) or len(path) < 2:
        raise ValueError(f"{what}: path is {path!r}, expected at least two points [x, y]")
    points = tuple(_point(f"{what}: a point of its path", point) for point in path)
    return Drag(_number(f"{what}: radius", content["radius"], 0.001, 10.0), points)


def _check_names(what: str, content: Any, names: tuple[str, ...]) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{what} is {content!r}, expected an object with {' or '.join(names)}")
    unknown = [name for name in content if name not in names]
    if unknown:
        raise ValueError(f"{what} has {unknown[0]!r}, expected {' or '.join(names)}")


def _point(what: str, content: Any) -> tuple[float, float]:
    if not isinstance(content, list) or len(content) != 2:
        raise ValueError(f"{what} is {content!r}, expected two numbers [x, y]")
    x, y = (_number(what, value, -10.0, 10.0) for value in content)
    return x, y


def _number(what: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{what} is {value!r}, expected a number from {low:g} to {high:g}")
    return float(value)
