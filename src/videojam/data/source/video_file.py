"""Opening a file as a video: which formats, which stream, its pictures in order, and is it whole?

Only formats on a list are opened, and only the named file: a playlist would make FFmpeg open other
files or addresses. Whether a file is whole is judged by the packets that its index promises or the
bytes that its header promises. Durations in headers mean other things too: what an edit list
hides, sound that lasts longer, a last picture that stays.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, NamedTuple, cast

import av
import av.filter
from av.container import InputContainer
from av.stream import Disposition

from videojam.records.object_store import Location, ObjectPath

# FFmpeg's names of containers that hold one video by themselves; none that name other files.
FORMATS = (
    *("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "live_flv", "asf", "ogg"),
    *("gif", "apng", "mxf", "nut", "ivf", "mjpeg", "dv", "rm", "wtv", "yuv4mpegpipe", "h264"),
    *("hevc", "m4v", "mpegvideo", "obu"),
)
_LOST_SHARE = 0.1  # of packets or bytes; with less missing the rest is used
_READ_AHEAD = 1 << 20  # bytes of one request to a bucket
_WAYS_OUT = "convert it to mp4 or mkv"


class VideoError(ValueError):
    """A file that cannot be used; the message is the reason given in the report."""


class Picture(NamedTuple):
    """A decoded frame and its timestamp, in the time base of the stream."""

    pts: int
    frame: av.VideoFrame


@contextmanager
def open_video(path: Location) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """The file and the stream that a player shows; the library's errors become reasons."""
    try:
        if not path.is_file():
            raise VideoError("no such file any more" if not path.exists() else "not a file")
        if path.stat().st_size == 0:
            raise VideoError("the file is empty (0 bytes)")
        # Without a protocol in front, a name like "concat:a.mp4" would be one.
        options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
        remote = isinstance(path, ObjectPath)
        source: Any = path.open() if remote else f"file:{path.absolute()}"
        opened = av.open(source, "r", options=options, buffer_size=_READ_AHEAD)
        container = cast(InputContainer, opened)
    except av.ArgumentError as error:  # what FFmpeg answers for a format that is not on the list
        raise VideoError(f"not in a video format that is opened here; {_WAYS_OUT}") from error
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, VideoError):
            raise
        raise VideoError(f"not a readable video: {_message(error)}") from error
    except OSError as error:
        raise VideoError(f"cannot be read: {error.strerror or error}") from error
    with container:
        stream = _shown_stream(container)
        stream.codec_context.thread_count = 1  # prepare runs one process per core already
        try:
            yield container, stream
        except av.FFmpegError as error:
            raise VideoError(f"decoding fails: {_message(error)}") from error


def _shown_stream(container: InputContainer) -> av.VideoStream:
    """The default video, not a cover or a track of thumbnails that comes before it."""
    if not container.streams.video:
        raise VideoError("no video stream (audio only?)")
    moving = [s for s in container.streams.video if not s.disposition & _still()]
    if not moving:
        raise VideoError("no video stream, only a cover picture")
    decoded = [stream for stream in moving if stream.codec_context is not None]
    if not decoded:
        raise VideoError("no decoder for its codec; convert it to H.264")
    best = container.streams.best("video")
    stream = next((s for s in decoded if best is not None and s.index == best.index), None)
    if stream is None:
        stream = max(decoded, key=lambda s: s.codec_context.width * s.codec_context.height)
    if stream.metadata.get("alpha_mode") == "1":
        raise VideoError("transparency in a second layer (VP8, VP9), which is not read; flatten it")
    return stream


def _still() -> int:
    kinds = Disposition
    return int(kinds.attached_pic | kinds.timed_thumbnails | kinds.still_image)


def time_base(stream: av.VideoStream) -> Fraction:
    """Seconds per timestamp."""
    if not stream.time_base:
        raise VideoError("the stream has no time base; remux it into mp4 or mkv")
    return stream.time_base


def counts_in_decoding_order(container: InputContainer) -> bool:
    """True for AVI, whose packets have no times of their pictures but numbers in decoding order;
    where pictures are reordered, what is read as their times is wrong."""
    return container.format.name == "avi" and any(
        stream.codec_context is not None and stream.codec_context.has_b_frames
        for stream in container.streams.video
    )


def pictures(
    container: InputContainer,
    stream: av.VideoStream,
    deinterlace: bool,
    whole: Location | None = None,
) -> Iterator[Picture]:
    """The pictures from where the file stands, in order of their times.

    deinterlace: fields become pictures by the filter bwdif; without it interlaced pictures are
    refused. whole: the file, to be refused at its end if it is cut off.
    """
    if deinterlace:
        yield from _deinterlaced(_decoded(container, stream, whole), time_base(stream))
        return
    for count, picture in enumerate(_decoded(container, stream, whole)):
        if picture.frame.interlaced_frame:
            raise VideoError(
                f"interlaced (frame {count}): half of the lines are from another moment; "
                "--interlaced deinterlace makes whole pictures of them"
            )
        yield picture


def _decoded(
    container: InputContainer, stream: av.VideoStream, whole: Location | None
) -> Iterator[Picture]:
    packets = hidden = damaged = count = last = 0
    last_end = 0.0
    streams = container.streams if whole else [stream]
    try:
        for packet in container.demux([s for s in streams if s.type in ("video", "audio")]):
            if packet.pts is not None and packet.time_base is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                last_end = max(last_end, float(end))
            if packet.stream.index != stream.index:  # packet.stream_index is 0 in those that flush
                continue
            if packet.dts is not None or packet.size:
                packets += 1
                hidden += packet.is_discard  # by an edit list
                if packet.is_corrupt:  # the file ends within it
                    damaged += 1
                    continue
            for frame in packet.decode():
                assert isinstance(frame, av.VideoFrame)
                if not counts_in_decoding_order(container):
                    last = _pts(frame)
                else:  # the last pictures come when there are no numbers any more
                    last = frame.dts if frame.dts is not None else last + 1
                yield Picture(last, frame)
                count += 1
    except av.FFmpegError as error:
        raise VideoError(f"decoding fails after {count} frames: {_message(error)}") from error
    if whole:
        _refuse_cut_off(container, stream, whole, packets - damaged, last_end)
        if count < (1 - _LOST_SHARE) * (packets - hidden) - 2:
            raise VideoError(f"damaged: {count} of {packets - hidden} frames can be decoded")


def _refuse_cut_off(
    container: InputContainer, stream: av.VideoStream, path: Location, packets: int, last_end: float
) -> None:
    kind = container.format.name
    if "mov" in kind:
        # All that the index names, hidden by an edit list or not.
        promised, found, what = len(stream.index_entries), packets, "frames"
    elif "matroska" in kind or kind == "avi":
        found, what = path.stat().st_size, "bytes"
        promised = _promised_bytes(path)
    elif kind in ("flv", "asf"):
        # The longest stream lasts as long as the file says.
        promised, found, what = (container.duration or 0) / 1e6, last_end, "s"
    else:
        return
    if found < (1 - _LOST_SHARE) * promised - (0 if what == "s" else 2):
        raise VideoError(f"truncated: {found:.12g} of {promised:.12g} {what} are there")


def _promised_bytes(path: Location) -> int:
    """Where a Matroska segment or the first RIFF chunk ends, by its header; 0 if it says nothing.

    EBML (RFC 8794): a number has as many bytes as its first byte has leading zeros, and one more.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if head[:4] == b"RIFF":
        return 8 + struct.unpack("<I", head[4:8])[0]

    def number(at: int) -> tuple[int, int]:  # value, next place; -1 for "not known"
        length = 9 - head[at].bit_length()
        value = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)
        return (-1 if value == (1 << 7 * length) - 1 else value), at + length

    try:
        size, at = number(4)
        segment = at + size
        if head[segment : segment + 4] != b"\x18\x53\x80\x67":
            return 0
        size, at = number(segment + 4)
    except IndexError:
        return 0
    return 0 if size < 0 else at + size


def _deinterlaced(frames: Iterator[Picture], base: Fraction) -> Iterator[Picture]:
    """One picture for each frame, of whole lines; progressive frames stay as they are."""
    graph: av.filter.Graph | None = None
    for picture in frames:
        frame = picture.frame
        if graph is None:
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format.name,  # pyright: ignore[reportArgumentType]
                time_base=base,
            )
            filtered = graph.add("bwdif", "mode=send_frame:deint=interlaced")
            graph.link_nodes(source, filtered, graph.add("buffersink")).configure()
        frame.pts, frame.time_base = picture.pts, base
        graph.push(frame)
        yield from _pulled(graph, base)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph, base)


def _pulled(graph: av.filter.Graph, base: Fraction) -> Iterator[Picture]:
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        assert isinstance(frame, av.VideoFrame) and frame.pts is not None and frame.time_base
        yield Picture(round(frame.pts * frame.time_base / base), frame)


def _pts(frame: av.VideoFrame) -> int:
    number = frame.pts if frame.pts is not None else frame.dts
    if number is None:
        raise VideoError("frames carry no timestamps; remux it into mp4 or mkv")
    return number


def _message(error: Exception) -> str:
    """The library's words without the path in them."""
    return getattr(error, "strerror", None) or str(error)
