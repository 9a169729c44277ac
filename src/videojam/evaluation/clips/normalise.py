"""All systems in one form: frames a second, size and length, before anything is measured.

A model at 24 frames a second looks smoother than one at 8, a large clip sharper than a small one,
a long one more dynamic than a short one. So every clip is brought to the same: frame k is the
source frame nearest in time to k / fps, the largest centred box of the aspect is cut out and
resized, and frames after the common length are dropped. Nothing is slowed down, interpolated or
padded: a clip that is shorter stays shorter, and is named in the report.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from videojam.data.source.clip_sampling import frame_interval_s, nearest_frames
from videojam.data.source.decode import Scan, decode, scan
from videojam.data.source.geometry import resize

_FEWEST_FRAMES = 3  # for the change of motion


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """The common form of all clips."""

    fps: float
    num_frames: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.fps <= 0 or min(self.num_frames, self.height, self.width) < 1:
            raise ValueError(f"a form of {self}; expected positive numbers")
        if self.num_frames < _FEWEST_FRAMES:
            raise ValueError(f"num_frames is {self.num_frames}, expected at least {_FEWEST_FRAMES}")

    def text(self) -> str:
        return (
            f"{self.fps:g} frames a second, {self.num_frames} frames "
            f"({self.num_frames / self.fps:.2f} s), {self.width} x {self.height} pixels"
        )


class Native(NamedTuple):
    """A clip as it came."""

    fps: float
    num_frames: int
    height: int
    width: int


class Normalised(NamedTuple):
    """A clip in the common form, and how it came."""

    frames: UInt8[Tensor, "f h w 3"]
    native: Native


def native_form(found: Scan) -> Native:
    """Frame rate, length and displayed size of a scanned file."""
    step = frame_interval_s(found.times_s)
    fps = 1 / step if step > 0 else 0.0
    # Timestamps are rounded to milliseconds in some containers: 23.976 is no news, 24.002 neither.
    return Native(round(fps, 2), len(found.pts), found.height, found.width)


def common_form(systems: Iterable[Iterable[Native]]) -> Form:
    """What all systems can give: the lowest frame rate, the shortest duration and the smallest size
    of the systems' medians. Raises ValueError without clips.

    Durations are of median clips, so that one clip that was cut off shortens no others.
    """
    typical = [_typical([*clips]) for clips in systems]
    if not typical:
        raise ValueError(
            "no clips to find a common form of; give fps, num_frames, height and width"
        )
    fps = min(one.fps for one in typical)
    seconds = min(one.num_frames / one.fps for one in typical)
    small = min(typical, key=lambda one: one.height * one.width)
    frames = max(_FEWEST_FRAMES, int(seconds * fps + 0.01))
    return Form(fps=fps, num_frames=frames, height=small.height, width=small.width)


def _typical(clips: list[Native]) -> Native:
    middle = median(one.height * one.width for one in clips)
    size = min(clips, key=lambda one: abs(one.height * one.width - middle))
    return Native(
        fps=median(one.fps for one in clips),
        num_frames=int(median(one.num_frames for one in clips)),
        height=size.height,
        width=size.width,
    )


def normalise(path: Path, form: Form) -> Normalised:
    """The file's frames in the common form, fewer of them if it is shorter.

    Raises VideoError for a file that cannot be decoded, or of fewer than three frames in this form.
    """
    found = scan(path)
    native = native_form(found)
    times = found.times_s
    step = frame_interval_s(times)
    # The last frame is shown for a step too; a little is left to rounded timestamps.
    available = int((times[-1] + step) * form.fps + 0.01) if step > 0 else 1
    count = min(form.num_frames, available)
    if count < _FEWEST_FRAMES:
        raise ValueError(
            f"{path.name} has {count} frames at {form.fps:g} a second, metrics need "
            f"{_FEWEST_FRAMES}"
        )
    chosen = nearest_frames(times, np.arange(count) / form.fps)
    size = (form.height, form.width)
    frames = decode(
        path,
        [found.pts[k] for k in chosen],
        lambda frame: resize(frame, size, found.pixel_aspect),
    )
    return Normalised(torch.from_numpy(np.stack(frames)), native)
