"""The clips that a premise is measured on: those that preparing the same folder would give."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from videojam.data.prepare.stages import PlanOptions, VideoPlan, plan_video
from videojam.data.source import decode
from videojam.data.source.decode import Reading
from videojam.data.source.geometry import resize
from videojam.data.source.manifest import Dropped, Entry, read_manifest
from videojam.joint.sizes import Size


class Clip(NamedTuple):
    """Frames of a video with its caption."""

    path: str
    start_s: float
    caption: str
    frames: UInt8[Tensor, "f h w 3"]


class Folder(NamedTuple):
    """What was found in a folder: which clips, and what gives none and why."""

    places: list[tuple[Entry, VideoPlan, int]]
    "Video, its plan, and the number of a clip in it."
    dropped: list[Dropped]


def find_clips(folder: Path, captions: Path | None, size: Size, fps: float, most: int) -> Folder:
    """Up to `most` clips: the first of every video, then the second of every video, and so on.

    Videos are scanned until there are enough. ValueError if the folder gives no clip at all.
    """
    manifest = read_manifest(folder, captions)
    options = PlanOptions(
        sizes=((size.height, size.width),), fps=fps, num_frames=size.num_frames, stride_s=None,
        max_clips=None, min_source_fps_ratio=0.99, max_upscale=1.05, reading=Reading(),
    )  # fmt: skip
    dropped, own = [*manifest.dropped], []
    for entry in manifest.entries:
        if len(own) == most:
            break
        plan = plan_video(entry.path, folder, options)
        dropped += plan.dropped
        if plan.pts:
            own.append([(entry, plan, k) for k in range(len(plan.pts))])
    places = [place for round_ in zip_longest(*own) for place in round_ if place is not None]
    if not places:
        reasons = "; ".join(f"{one.name}: {one.reason}" for one in dropped[:3]) or "no videos"
        raise ValueError(
            f"{folder} gives no clip of {size.num_frames} frames at {fps:g} frames/s ({reasons}); "
            "give smaller --size, --num-frames or --fps, or other videos"
        )
    return Folder(places[:most], dropped)


def read_clips(folder: Path, found: Sequence[tuple[Entry, VideoPlan, int]]) -> Iterator[Clip]:
    """Decoded one by one, cropped and resized as for training."""
    for entry, plan, k in found:
        aspect = plan.pixel_aspect
        frames = decode.decode(
            folder / entry.path,
            plan.pts[k],
            lambda image: resize(image, plan.size, aspect),  # noqa: B023
        )
        yield Clip(entry.path, plan.starts_s[k], entry.caption, torch.from_numpy(np.stack(frames)))
