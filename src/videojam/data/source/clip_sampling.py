"""Which frames make a clip: true to frames per second, inside one scene, for one size.

Frame j of a clip shows the source at start + j / fps: the nearest real timestamp, whatever the
source's rate and however it varies, so that motion keeps its physical speed. Nothing is slowed
down, sped up or padded; what does not fit is dropped with a reason.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

# Matroska and WebM round timestamps to 1 ms, which must not turn a tie either way by chance.
_TIE_S = 1.5e-3


class Clip(NamedTuple):
    """One clip of a video. frames: source frame index of each clip frame, ascending."""

    start_s: float
    frames: list[int]


def nearest_frames(
    times_s: Float64[np.ndarray, "n"], wanted_s: Float64[np.ndarray, "k"]
) -> Int64[np.ndarray, "k"]:
    """The frame nearest in time to each wanted time; the earlier one of a tie."""
    after = np.searchsorted(times_s, wanted_s).clip(1, max(len(times_s) - 1, 1))
    before = after - 1
    if len(times_s) == 1:
        return np.zeros(len(wanted_s), dtype=np.int64)
    later = times_s[after] - wanted_s + _TIE_S < wanted_s - times_s[before]
    return np.where(later, after, before).astype(np.int64)


def frame_interval_s(times_s: Float64[np.ndarray, "n"]) -> float:
    """Seconds between frames; 0 for one frame.

    The mean, unless pauses make it longer than the median; the median alone is as coarse as the
    timestamps (17 ms for 59.94 frames/s in Matroska).
    """
    steps_s = np.diff(times_s)
    return float(min(steps_s.mean(), np.median(steps_s))) if len(steps_s) else 0.0


def plan_clips(
    times_s: Float64[np.ndarray, "n"],
    scenes: Sequence[tuple[int, int]],
    *,
    fps: float,
    num_frames: int,
    stride_s: float | None = None,
    max_clips: int | None = None,
    min_source_fps_ratio: float = 0.99,
) -> tuple[list[Clip], list[str]]:
    """Clips of num_frames at fps, each inside one scene (first, last frame index, inclusive).

    stride_s: seconds between clip starts in a scene; default one clip length, back to back.
    max_clips: keep this many, spread evenly over the video.
    min_source_fps_ratio: a clip may repeat a share of 1 - ratio of its frames, plus one frame for
    rounding; more means that the source has too few frames there. 0 allows anything.
    Returns the clips in time order and a reason for each scene or clip that gave none.
    """
    length_s = num_frames / fps
    offsets_s = np.arange(num_frames) / fps
    interval_s = frame_interval_s(times_s)
    if interval_s * fps * min_source_fps_ratio > 1:
        return [], [
            f"{1 / interval_s:.4g} frames/s, fewer than {min_source_fps_ratio:g} x {fps:g}: "
            "frames would repeat"
        ]
    most_repeats = math.floor((1 - min_source_fps_ratio) * num_frames) + 1
    clips, reasons = [], []
    for first, last in scenes:
        # The last frame of a scene stays on screen; half of that time is nearest to it.
        end_s = times_s[last] + interval_s / 2
        room_s = end_s - times_s[first] - offsets_s[-1] + 1e-9
        if room_s < 0:
            reasons.append(
                f"too short: {'scene' if len(scenes) > 1 else 'video'} from "
                f"{times_s[first]:.2f} s to {times_s[last] + interval_s:.2f} s, "
                f"{num_frames} frames at {fps:g} frames/s need {length_s:.2f} s"
            )
            continue
        step_s = length_s if stride_s is None else stride_s
        for number in range(math.floor(room_s / step_s) + 1):
            start_s = float(times_s[first] + number * step_s)
            frames = nearest_frames(times_s, start_s + offsets_s).clip(first, last)
            repeats = int((np.diff(frames) == 0).sum())
            if repeats > most_repeats and min_source_fps_ratio > 0:
                reasons.append(
                    f"too few frames: clip at {start_s:.2f} s would repeat {repeats} of "
                    f"{num_frames} frames"
                )
                continue
            clips.append(Clip(start_s, frames.tolist()))
    if max_clips is not None and len(clips) > max_clips:
        chosen = np.linspace(0, len(clips) - 1, max_clips).round().astype(int)
        clips = [clips[i] for i in chosen]
    return clips, reasons
