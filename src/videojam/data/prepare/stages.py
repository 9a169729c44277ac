"""What worker processes do: scan a video and plan its clips; decode a clip and find its flow."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from videojam.data.source import decode
from videojam.data.source.clip_sampling import frame_interval_s, plan_clips
from videojam.data.source.decode import Reading
from videojam.data.source.geometry import Size, choose_size, resize
from videojam.data.source.in_step import pts_in_step
from videojam.data.source.manifest import Dropped
from videojam.data.source.repeats import repeats
from videojam.data.source.scenes import find_cuts, scenes
from videojam.data.source.video_file import VideoError
from videojam.joint.control import white_where_bright
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


class ControlTask(NamedTuple):
    """The control that goes with a clip's video, and its mask."""

    file: Location
    mask: Location | None = None


class ClipTask(NamedTuple):
    """One clip to decode."""

    key: str
    file: Location
    pts: Sequence[int]
    size: Size
    pixel_aspect: float
    reading: Reading = Reading()
    control: ControlTask | None = None


class ClipData(NamedTuple):
    """Frames and flow of a clip at training size. Arrays, because they cross a pipe."""

    frames: UInt8[np.ndarray, "f h w 3"]
    flow: Float32[np.ndarray, "n 2 h w"]
    decode_s: float
    flow_s: float
    control: UInt8[np.ndarray, "f h w 3"] | None = None
    control_mask: Bool[np.ndarray, "f h w"] | None = None  # white is True


def load_clip(task: ClipTask, estimator: FlowEstimator) -> ClipData | Dropped:
    """Decode, crop, resize, then the flow between the resized frames."""
    begin = time.perf_counter()
    shapes: set[tuple[int, ...]] = set()  # of the whole pictures
    try:
        frames = _frames(task.file, task.pts, task, shapes)
        control, mask = _controls(task, shapes)
        decoded = time.perf_counter()
        flow = estimate_flow(torch.from_numpy(frames), estimator)
    except Exception as error:  # of this clip; the others go on
        return Dropped(task.key, reason_of(error))
    flow_s = time.perf_counter() - decoded
    return ClipData(frames, flow.numpy(), decoded - begin, flow_s, control, mask)


def _frames(
    file: Location, pts: Sequence[int], task: ClipTask, shapes: set[tuple[int, ...]]
) -> UInt8[np.ndarray, "f h w 3"]:
    """Cut as the clip is; the shapes that whole pictures have are added to `shapes`."""

    def cut(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
        shapes.add(frame.shape[:2])
        return resize(frame, task.size, task.pixel_aspect)

    return np.stack(decode.decode(file, pts, cut, task.reading))


def _controls(
    task: ClipTask, shapes: set[tuple[int, ...]]
) -> tuple[UInt8[np.ndarray, "f h w 3"] | None, Bool[np.ndarray, "f h w"] | None]:
    """The same frames, cut in the same way, of what goes with the video. Raises VideoError."""
    if task.control is None:
        return None, None
    found = []
    for what, file in (("control", task.control.file), ("control_mask", task.control.mask)):
        if file is None:
            continue
        its: set[tuple[int, ...]] = set()
        try:
            pts = pts_in_step(file, task.file, task.pts)
            found.append(torch.from_numpy(_frames(file, pts, task, its)))
            if its != shapes:
                ours, theirs = (" x ".join(map(str, min(one))) for one in (shapes, its))
                raise VideoError(f"it has {theirs} pixels (height x width), the video {ours}")
        except (VideoError, OSError) as error:
            raise VideoError(f"its {what} {file.name}: {reason_of(error)}") from error
    mask = white_where_bright(found[1]).numpy() if len(found) > 1 else None
    return found[0].numpy(), mask
