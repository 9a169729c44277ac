"""Reading videos with PyAV: what a file holds, and its frames at chosen timestamps.

Timestamps (PTS) are integers in the stream's own time base and are compared exactly. Rotation
metadata is honoured; 10-bit and full-range sources become 8-bit RGB through swscale, with the
matrix that the file names.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from jaxtyping import Float64, UInt8

_THUMBNAIL = (64, 36)  # width, height; enough to tell a cut, small enough to cost nothing
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # ITU-T H.273 transfer characteristics
_SEEK_BACK_S = 10.0  # second try when the first key frame found lies after the wanted frame


class VideoError(ValueError):
    """A file that cannot be used; the message is the reason given in the report."""


class Scan(NamedTuple):
    """One pass over a video. times_s[k] = pts[k] * time_base, from the first frame on."""

    pts: list[int]
    time_base: Fraction
    differences: Float64[np.ndarray, "k"]  # frame k to k + 1: mean |change| of thumbnails, 0..255
    height: int  # as displayed, after rotation
    width: int
    pixel_aspect: float  # width of a displayed pixel / its height

    @property
    def times_s(self) -> Float64[np.ndarray, "n"]:
        base = self.pts[0]
        return np.array([float((p - base) * self.time_base) for p in self.pts])


def scan(path: Path) -> Scan:
    """Decode every frame once, small: timestamps, change from frame to frame, displayed size.

    Raises VideoError with the reason for anything that is not a whole, usable video.
    """
    pts: list[int] = []
    differences: list[float] = []
    before = None
    frame = None
    with _open(path) as container:
        stream = container.streams.video[0]
        expected, duration_s = stream.frames, _duration_s(container)
        for frame in _frames(container):
            thumbnail = frame.reformat(*_THUMBNAIL, "rgb24", interpolation="AREA").to_ndarray()
            thumbnail = thumbnail.astype(np.int16)
            if before is not None:
                differences.append(float(np.abs(thumbnail - before).mean()))
            before = thumbnail
            pts.append(_pts(frame))
            if len(pts) > 1 and pts[-1] <= pts[-2]:
                raise VideoError(
                    f"timestamps do not increase at frame {len(pts) - 1}; remux into mp4"
                )
        if frame is None:
            raise VideoError("no frame can be decoded")
        time_base = _time_base(stream)
        aspect = float(stream.sample_aspect_ratio or 1)
    # Edit lists hide a few frames; a file cut off in the middle loses many.
    if len(pts) < 0.9 * expected - 2:
        raise VideoError(f"truncated: {len(pts)} of {expected} frames can be decoded")
    # Matroska counts its duration from time zero, mp4 from the first frame.
    end_s = float(max(pts[-1], pts[-1] - pts[0]) * time_base)
    if end_s < 0.9 * duration_s - 0.5:
        raise VideoError(f"truncated: frames end at {end_s:.2f} s of {duration_s:.2f} s")
    turned = frame.rotation % 180 == 90
    height, width = (frame.width, frame.height) if turned else (frame.height, frame.width)
    return Scan(
        pts=pts,
        time_base=time_base,
        differences=np.array(differences),
        height=height,
        width=width,
        pixel_aspect=1 / aspect if turned else aspect,
    )


def decode(
    path: Path, pts: Sequence[int], transform: Callable[[UInt8[np.ndarray, "h w 3"]], np.ndarray]
) -> list[np.ndarray]:
    """The RGB frames with exactly these timestamps (ascending, repeats allowed), transformed.

    transform: applied to each frame as it is decoded, so that full frames are never kept.
    Decodes from the key frame before the first timestamp, or from the start where seeking does not
    give every frame. Raises VideoError if a frame is not there.
    """
    found: dict[int, np.ndarray] = {}
    for back_s in (0.0, _SEEK_BACK_S, None):
        found = _decode_from(path, pts, transform, back_s)
        if len(found) == len(set(pts)):
            return [found[number] for number in pts]
    missing = next(number for number in pts if number not in found)
    raise VideoError(f"the frame with timestamp {missing} cannot be decoded")


def _decode_from(
    path: Path, pts: Sequence[int], transform: Callable, back_s: float | None
) -> dict[int, np.ndarray]:
    """What one pass finds, after a seek to back_s before the first timestamp (None: no seek)."""
    wanted, found = set(pts), {}
    with _open(path) as container:
        stream = container.streams.video[0]
        if back_s is not None:
            start = pts[0] - round(back_s / _time_base(stream))
            try:
                container.seek(start, stream=stream, backward=True)
            except av.FFmpegError:
                return {}
        for frame in _frames(container):
            number = _pts(frame)
            # Frames before a key frame in an open group of pictures come broken after a seek.
            if number in wanted and not (frame.is_corrupt and back_s is not None):
                found[number] = transform(_to_rgb(frame))
            if number >= pts[-1]:
                break
    return found


@contextmanager
def _open(path: Path) -> Iterator[InputContainer]:
    """The file with a video stream that can be decoded; the library's errors become reasons."""
    if path.stat().st_size == 0:
        raise VideoError("the file is empty (0 bytes)")
    try:
        container = av.open(str(path))
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(f"not a readable video: {_message(error)}") from error
    with container:
        if not container.streams.video:
            raise VideoError("no video stream (audio only?)")
        codec = container.streams.video[0].codec_context
        if codec is None:
            raise VideoError("no decoder for its codec; convert it to H.264")
        codec.thread_count = 1  # prepare runs one process per core already
        try:
            yield container
        except av.FFmpegError as error:
            raise VideoError(f"decoding fails: {_message(error)}") from error


def _frames(container: InputContainer) -> Iterator[av.VideoFrame]:
    count = 0
    try:
        for frame in container.decode(container.streams.video[0]):
            if count == 0:
                _refuse_hdr(frame)
            yield frame
            count += 1
    except av.FFmpegError as error:
        raise VideoError(f"decoding fails after {count} frames: {_message(error)}") from error


def _refuse_hdr(frame: av.VideoFrame) -> None:
    if frame.color_trc in _HDR_TRANSFERS:
        name = _HDR_TRANSFERS[frame.color_trc]
        raise VideoError(f"high dynamic range ({name}); tone-map it to SDR first")


def _pts(frame: av.VideoFrame) -> int:
    number = frame.pts if frame.pts is not None else frame.dts
    if number is None:
        raise VideoError("frames carry no timestamps; remux it into mp4 or mkv")
    return number


def _duration_s(container: InputContainer) -> float:
    """What the header promises for the video, 0 if nothing. Matroska counts no frames."""
    stream = container.streams.video[0]
    if stream.duration is not None:
        return float(stream.duration * _time_base(stream))
    return (container.duration or 0) / 1e6


def _time_base(stream: av.VideoStream) -> Fraction:
    if not stream.time_base:
        raise VideoError("the stream has no time base; remux it into mp4 or mkv")
    return stream.time_base


def _to_rgb(frame: av.VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
    """8-bit RGB as displayed: colour matrix and range of the file, rotation applied."""
    image = frame.to_ndarray(format="rgb24")
    return np.rot90(image, (frame.rotation // 90) % 4)  # rotation counts anticlockwise


def _message(error: Exception) -> str:
    """The library's words without the path in them."""
    return getattr(error, "strerror", None) or str(error)
