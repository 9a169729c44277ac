"""What worker processes do: scan a video and plan its clips; decode a clip and find its flow."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from videojam.data.source import decode
from videojam.data.source.clip_sampling import frame_interval_s, plan_clips
from videojam.data.source.decode import Reading
from videojam.data.source.geometry import Size, choose_size, resize
from videojam.data.source.manifest import Dropped
from videojam.data.source.repeats import repeats
from videojam.data.source.scenes import find_cuts, scenes
from videojam.data.source.video_file import VideoError
from videojam.motion.flow import FlowEstimator, estimate_flow
from videojam.records.object_store import Location


class PlanOptions(NamedTuple):
    """The part of PrepareConfig that decides which clips a video gives."""

    sizes: tuple[Size, ...]
    fps: float
    num_frames: int
    stride_s: float | None
    max_clips: int | None
    min_source_fps_ratio: float
    max_upscale: float
    reading: Reading


class VideoPlan(NamedTuple):
    """One scanned video: where its clips are, or why it has none."""

    path: str
    source_bytes: int
    num_frames: int
    duration_s: float
    source_fps: float  # mean
    pixel_aspect: float
    size: Size
    starts_s: list[float]
    pts: list[list[int]]  # of each clip, the timestamp of each frame
    dropped: list[Dropped]
    seconds: float  # spent on it
    passing: bool = False  # what is wrong may be another time: a disk that could not be read


def unusable(
    path: str, source_bytes: int, reason: str, seconds: float = 0.0, passing: bool = False
) -> VideoPlan:
    """The plan of a video that gives nothing."""
    dropped = [Dropped(path, reason)]
    return VideoPlan(
        path, source_bytes, 0, 0.0, 0.0, 1.0, (0, 0), [], [], dropped, seconds, passing
    )


def plan_video(path: str, folder: Location, options: PlanOptions) -> VideoPlan:
    """Scan one video and place its clips. A video that cannot be used has its reason in dropped."""
    begin = time.perf_counter()
    num_bytes = 0
    try:
        num_bytes = (folder / path).stat().st_size
        return _plan(path, num_bytes, decode.scan(folder / path, options.reading), options, begin)
    except Exception as error:  # whatever is wrong with one file is that file's reason
        passing = isinstance(error, OSError | MemoryError) or isinstance(error.__cause__, OSError)
        return unusable(path, num_bytes, reason_of(error), time.perf_counter() - begin, passing)


def reason_of(error: Exception) -> str:
    """In one line: our own reasons as they are, others with the name of their kind."""
    if isinstance(error, VideoError):
        return str(error)
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return " ".join(f"{type(error).__name__}: {error}".split())


def _plan(
    path: str, num_bytes: int, found: decode.Scan, options: PlanOptions, begin: float
) -> VideoPlan:
    if len(found.pts) == 1:
        raise VideoError("it has one frame only")
    size = choose_size(
        found.height, found.width, found.pixel_aspect, options.sizes, options.max_upscale
    )
    all_times_s = found.times_s
    interval_s = frame_interval_s(all_times_s)
    repeated = repeats(found.largest, interval_s)
    kept = np.flatnonzero(~repeated)
    times_s, pts = all_times_s[kept], [found.pts[k] for k in kept]
    # Between two kept frames the picture changes once, at the later one.
    cuts = find_cuts(found.differences[kept[1:] - 1])
    clips, reasons = plan_clips(
        times_s,
        scenes(len(times_s), cuts),
        fps=options.fps,
        num_frames=options.num_frames,
        stride_s=options.stride_s,
        max_clips=options.max_clips,
        min_source_fps_ratio=options.min_source_fps_ratio,
    )
    if repeated.any():
        share = f"{repeated.sum()} of its {len(repeated)} frames repeat the one before"
        reasons = [f"{reason} ({share})" for reason in reasons]
    return VideoPlan(
        path=path,
        source_bytes=num_bytes,
        num_frames=len(all_times_s),
        duration_s=float(all_times_s[-1]) + interval_s,
        source_fps=(len(times_s) - 1) / float(times_s[-1]) if len(times_s) > 1 else 0.0,
        pixel_aspect=found.pixel_aspect,
        size=size,
        starts_s=[clip.start_s for clip in clips],
        pts=[[pts[k] for k in clip.frames] for clip in clips],
        dropped=[Dropped(path, reason) for reason in reasons],
        seconds=time.perf_counter() - begin,
    )


class ClipTask(NamedTuple):
    """One clip to decode."""

    key: str
    file: Location
    pts: Sequence[int]
    size: Size
    pixel_aspect: float
    reading: Reading = Reading()


class ClipData(NamedTuple):
    """Frames and flow of a clip at training size. Arrays, because they cross a pipe."""

    frames: UInt8[np.ndarray, "f h w 3"]
    flow: Float32[np.ndarray, "n 2 h w"]
    decode_s: float
    flow_s: float


def load_clip(task: ClipTask, estimator: FlowEstimator) -> ClipData | Dropped:
    """Decode, crop, resize, then the flow between the resized frames."""
    begin = time.perf_counter()
    try:
        frames = np.stack(
            decode.decode(
                task.file,
                task.pts,
                lambda frame: resize(frame, task.size, task.pixel_aspect),
                task.reading,
            )
        )
        decoded = time.perf_counter()
        flow = estimate_flow(torch.from_numpy(frames), estimator)
    except Exception as error:  # of this clip; the others go on
        return Dropped(task.key, reason_of(error))
    return ClipData(frames, flow.numpy(), decoded - begin, time.perf_counter() - decoded)
