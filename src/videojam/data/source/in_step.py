"""Files that go with a video frame by frame, such as its depth: their frames for those of a clip.

Such a file has as many frames as the video, at the same times, counted from the first one; whatever
else it is, it is not in step, and which of its frames belong to which would be a guess.
"""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from videojam.data.source.video_file import (
    VideoError,
    counts_in_decoding_order,
    open_video,
    time_base,
)
from videojam.records.object_store import Location

_FAR = 0.25  # of the time between frames


def pts_in_step(file: Location, video: Location, pts: Sequence[int]) -> list[int]:
    """The timestamps of its frames that go with these of the video.

    Raises VideoError for a file of another number of frames, or at other times.
    """
    its, its_s = _frames(file)
    ours, ours_s = _frames(video)
    if len(its) != len(ours):
        raise VideoError(f"it has {len(its)} frames, the video {len(ours)}")
    interval_s = ours_s[-1] / max(len(ours) - 1, 1)
    far = np.abs(its_s - ours_s) > _FAR * interval_s
    if far.any():
        place = int(far.argmax())
        raise VideoError(
            f"its frame {place} is at {its_s[place]:.3f} s, the video's at {ours_s[place]:.3f} s"
        )
    places = {number: place for place, number in enumerate(ours)}
    missing = [number for number in pts if number not in places]
    if missing:
        raise VideoError(f"the video has no packet at timestamp {missing[0]}; convert it to mp4")
    return [its[places[number]] for number in pts]


def _frames(file: Location) -> tuple[list[int], Float64[np.ndarray, "n"]]:
    stat = file.stat()
    return _read(file, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=6)  # clips of one video come one after the other
def _read(file: Location, *_: int) -> tuple[list[int], Float64[np.ndarray, "n"]]:
    """Timestamps of all frames, in order, and seconds after the first; nothing is decoded."""
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
    found.sort()
    return found, np.array([float((number - found[0]) * base) for number in found])
