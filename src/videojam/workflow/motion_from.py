"""A clip on the disk and its motion, for samples that are to move as it does."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.data.prepare.stages import ClipTask, PlanOptions, load_clip, plan_video
from videojam.data.source.decode import Reading
from videojam.data.source.manifest import Dropped
from videojam.joint.sizes import Size
from videojam.motion.flow import FlowEstimator


class Moving(NamedTuple):
    """A clip and its flow in pixels."""

    video: UInt8[Tensor, "f h w 3"]
    motion: Float[Tensor, "n 2 h w"]


def moving_clip(path: Path, size: Size, fps: float, estimator: FlowEstimator) -> Moving:
    """The first frames of a video that make a clip of this size and rate, and their flow.

    Cut and timed as preparation does it, so that motion keeps its speed. Raises ValueError for a
    video that is too short for the clip, or cannot be read.
    """
    options = PlanOptions(
        sizes=((size.height, size.width),),
        fps=fps,
        num_frames=size.num_frames,
        stride_s=None,
        max_clips=None,
        min_source_fps_ratio=0.99,
        max_upscale=float("inf"),
        reading=Reading(),
    )
    plan = plan_video(path.name, path.parent, options)
    if not plan.pts:
        reasons = "; ".join(dropped.reason for dropped in plan.dropped)
        raise ValueError(
            f"{path} gives no clip of {size.num_frames} frames at {fps:g} frames/s: {reasons}"
        )
    task = ClipTask(path.name, path, plan.pts[0], plan.size, plan.pixel_aspect)
    clip = load_clip(task, estimator)
    if isinstance(clip, Dropped):
        raise ValueError(f"{path}: {clip.reason}")
    return Moving(torch.from_numpy(clip.frames), torch.from_numpy(clip.flow))
