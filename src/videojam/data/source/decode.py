"""Reading videos with PyAV: what a file holds, and its frames at chosen timestamps.

Timestamps (PTS) are integers in the stream's own time base and are compared exactly.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Float64, UInt8

from videojam.data.source import combing
from videojam.data.source.picture import Turn, refuse_hdr, to_rgb, turn_of, turned
from videojam.data.source.video_file import (
    VideoError,
    counts_in_decoding_order,
    open_video,
    pictures,
    time_base,
)
from videojam.records.object_store import Location

_THUMBNAIL = (64, 36)  # width, height; enough to tell a cut, small enough to cost nothing
_SEEK_BACK_S = 10.0  # second try when the first key frame found lies after the wanted frame


class Reading(NamedTuple):
    """How pictures are taken that are not simply whole and opaque."""

    deinterlace: bool = False  # else interlaced files are refused
    background: int = 0  # gray under transparent pictures, 0 to 255


class Scan(NamedTuple):
    """One pass over a video. times_s[k] = pts[k] * time_base, from the first frame on."""

    pts: list[int]
    time_base: Fraction
    differences: Float64[np.ndarray, "k"]  # frame k to k + 1: mean |change| of thumbnails, 0..255
    largest: Float64[np.ndarray, "k"]  # the same, of the pixel that changes most
    height: int  # as displayed, after rotation
    width: int
    pixel_aspect: float  # width of a displayed pixel / its height

    @property
    def times_s(self) -> Float64[np.ndarray, "n"]:
        base = self.pts[0]
        return np.array([float((p - base) * self.time_base) for p in self.pts])


class _Shape(NamedTuple):
    height: int
    width: int
    turn: Turn


def scan(path: Location, reading: Reading = Reading()) -> Scan:
    """Decode every frame once, small: timestamps, change from frame to frame, displayed size.

    Raises VideoError with the reason for anything that is not a whole, usable video.
    """
    pts: list[int] = []
    changes: list[tuple[float, float]] = []
    combed: list[bool] = []
    before = shape = brightness = None
    with open_video(path) as (container, stream):
        for number, frame in pictures(container, stream, reading.deinterlace, whole=path):
            if shape is None:
                refuse_hdr(frame)
            shape = _same_shape(frame, shape, len(pts))
            thumbnail = to_rgb(frame, reading.background, _THUMBNAIL).astype(np.int16)
            if before is not None:
                change = np.abs(thumbnail - before)
                changes.append((float(change.mean()), float(change.max())))
            before = thumbnail
            if not frame.format.is_rgb and len(pts) % combing.EVERY >= combing.EVERY - 2:
                last, brightness = brightness, combing.luma(frame)
                if last is not None and len(pts) % combing.EVERY == combing.EVERY - 1:
                    combed.append(combing.is_combed(last, brightness))
            if pts and number <= pts[-1]:
                raise VideoError(f"timestamps do not increase at frame {len(pts)}; remux into mp4")
            pts.append(number)
        if shape is None:
            raise VideoError("no frame can be decoded")
        if combing.are_combed(combed):
            raise VideoError(
                f"combed: in {sum(combed)} of {len(combed)} frames looked at, lines are from two "
                "moments, though the file says progressive; undo it with FFmpeg's bwdif=deint=all, "
                "or fieldmatch,decimate for film"
            )
        base = time_base(stream)
        aspect = float(stream.sample_aspect_ratio or 1)
    height, width, (sideways, _, _) = shape
    measured = np.array(changes).reshape(-1, 2)
    return Scan(
        pts=pts,
        time_base=base,
        differences=measured[:, 0],
        largest=measured[:, 1],
        height=width if sideways else height,
        width=height if sideways else width,
        pixel_aspect=1 / aspect if sideways else aspect,
    )


def decode(
    path: Location,
    pts: Sequence[int],
    transform: Callable[[UInt8[np.ndarray, "h w 3"]], np.ndarray],
    reading: Reading = Reading(),
) -> list[np.ndarray]:
    """The RGB frames with exactly these timestamps (ascending, repeats allowed), transformed.

    transform: applied to each frame as it is decoded, so that full frames are never kept.
    Decodes from the key frame before the first timestamp, or from the start where seeking does not
    give every frame. Raises VideoError if a frame is not there.
    """
    found: dict[int, np.ndarray] = {}
    for back_s in (0.0, _SEEK_BACK_S, None):
        found = _decode_from(path, pts, transform, reading, back_s)
        if len(found) == len(set(pts)):
            return [found[number] for number in pts]
    missing = next(number for number in pts if number not in found)
    raise VideoError(f"the frame with timestamp {missing} cannot be decoded")


def _decode_from(
    path: Location, pts: Sequence[int], transform: Callable, reading: Reading, back_s: float | None
) -> dict[int, np.ndarray]:
    """What one pass finds, after a seek to back_s before the first timestamp (None: no seek)."""
    wanted, found = set(pts), {}
    with open_video(path) as (container, stream):
        if back_s is not None:
            if counts_in_decoding_order(container):  # after a seek it would begin anew
                return {}
            start = pts[0] - round(back_s / time_base(stream))
            try:
                container.seek(start, stream=stream, backward=True)
            except av.FFmpegError:
                return {}
        for number, frame in pictures(container, stream, reading.deinterlace):
            # Frames before a key frame in an open group of pictures come broken after a seek.
            if number in wanted and not (frame.is_corrupt and back_s is not None):
                image = turned(to_rgb(frame, reading.background), turn_of(frame))
                found[number] = transform(image)
            if number >= pts[-1]:
                break
    return found


def _same_shape(frame: av.VideoFrame, shape: _Shape | None, count: int) -> _Shape:
    if shape is None:
        return _Shape(frame.height, frame.width, turn_of(frame))
    if (frame.height, frame.width) != shape[:2]:
        raise VideoError(
            f"the picture changes its size at frame {count}, from {shape.height} x {shape.width} "
            f"to {frame.height} x {frame.width}; re-encode it to one size"
        )
    return shape
