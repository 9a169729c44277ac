"""Files that go with a video frame by frame, such as its depth: the frames of theirs at its times.

Such a file has as many frames as the video, at the same times, counted from the first one; whatever
else it is, it is not in step, and which of its frames belong to which would be a guess.
"""

import functools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from videojam.data.source.video_file import (
    VideoError,
    counts_in_decoding_order,
    open_video,
    time_base,
)
from videojam.records.object_store import Location

_FAR = 0.25  # of the time between frames


def pts_in_step(file: Location, times_s: Sequence[float], num_frames: int) -> list[int]:
    """The timestamps of its frames at these times after its first one.

    num_frames: of the video that it goes with. Raises VideoError for another number of frames, and
    for a time at which it has none.
    """
    stat = file.stat()
    pts, base = _frames(file, (stat.st_size, stat.st_mtime_ns))
    if len(pts) != num_frames:
        raise VideoError(f"it has {len(pts)} frames, the video {num_frames}")
    found_s = np.array([float((number - pts[0]) * base) for number in pts])
    interval_s = found_s[-1] / max(len(pts) - 1, 1)
    nearest = np.abs(found_s[None] - np.asarray(times_s)[:, None]).argmin(1)
    far = np.abs(found_s[nearest] - times_s) > _FAR * interval_s
    if far.any():
        at_s = times_s[int(far.argmax())]
        raise VideoError(f"it has no frame at {at_s:.3f} s, as the video has; its rate is another")
    return [pts[place] for place in nearest]


def times_of(file: Location, pts: Sequence[int], start_s: float) -> list[float]:
    """Seconds of a clip's frames after the first frame of their video; start_s: of the clip."""
    with open_video(file) as (_, stream):
        base = time_base(stream)
    return [start_s + float((number - pts[0]) * base) for number in pts]


@functools.lru_cache(maxsize=4)  # clips of one video come one after the other
def _frames(file: Location, _: tuple[int, int]) -> tuple[list[int], Fraction]:
    """The timestamps of all frames, in order, and their unit; nothing is decoded."""
    with open_video(file) as (container, stream):
        if counts_in_decoding_order(container):
            raise VideoError("AVI with reordered pictures, which has no times; convert it to mp4")
        found = [
            packet.pts
            for packet in container.demux(stream)
            if packet.pts is not None and not packet.is_discard and not packet.is_corrupt
        ]
        base = time_base(stream)
    if not found:
        raise VideoError("frames carry no timestamps; remux it into mp4 or mkv")
    return sorted(found), base
