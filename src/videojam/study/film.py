"""Two clips as one film: every frame holds both, so nothing can show them out of step.

A browser plays one file; its left half is one clip, its right half the other, and the page draws
both halves on one canvas at once. Whatever stalls or drops frames does so for both.

A film has a frame at every moment at which either clip has one, with the clips' own times: clips
of different rates keep their rates. The shorter clip shows its last frame until the longer ends.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import OutputContainer
from jaxtyping import UInt8

from videojam.data.source.decode import Scan, VideoError, decode, scan
from videojam.records.atomic import replacing
from videojam.rng import shuffler
from videojam.study.plan import Film

Frame = UInt8[np.ndarray, "h w 3"]
_SAME_S = 0.004  # moments nearer than this are one: Matroska rounds times to milliseconds
_CHUNK = 48  # frames of a clip in memory at a time
_CLOCK = 90_000  # ticks a second in the file
_CRF = 12  # no difference to be seen, also in still frames
_MIN_PX = 32


class Source(NamedTuple):
    """A clip, or a spoilt copy of it: which of its frames is shown at each of its times."""

    path: Path
    scan: Scan
    order: list[int]

    @property
    def times_s(self) -> list[float]:
        return self.scan.times_s.tolist()

    @property
    def end_s(self) -> float:
        """Of the last frame, which lasts as long as the others on average."""
        times = self.times_s
        return times[-1] + (times[-1] / (len(times) - 1) if len(times) > 1 else 1.0)

    @property
    def motion(self) -> float:
        """Mean change of a pixel from frame to frame, 0 to 255."""
        return float(self.scan.differences.mean()) if len(self.scan.differences) else 0.0


def intact(path: Path) -> Source:
    """The clip as it is. ValueError for a file that is no whole video."""
    try:
        scanned = scan(path)
    except (VideoError, OSError, av.FFmpegError) as error:
        raise ValueError(f"{path} cannot be shown: {error}") from error
    return Source(path, scanned, list(range(len(scanned.pts))))


def frozen(clip: Source) -> Source:
    """Its middle frame all the time."""
    return clip._replace(order=[len(clip.order) // 2] * len(clip.order))


def shuffled(clip: Source, seed: int) -> Source:
    """Its frames in random order."""
    order = list(clip.order)
    shuffler(seed, "study shuffled frames").shuffle(order)
    return clip._replace(order=order)


def write_film(path: Path, name: str, first: Source, second: Source, max_height: int = 720) -> Film:
    """Write both clips as one H.264 file; gives its size and times, without names of systems.

    Both are fitted into one box, as high as the higher clip (max_height at most), over black.
    Written beside and renamed. Raises ValueError for a file that cannot be decoded.
    """
    height, width = _box(first.scan, second.scan, max_height)
    moments = merged_times(first.times_s, second.times_s)
    end = max(first.end_s, second.end_s, moments[-1] + 0.01)
    ticks = [round(moment * _CLOCK) for moment in [*moments, end]]
    streams = (_frames(clip, moments, height, width) for clip in (first, second))
    with (
        replacing(path) as part,
        av.open(str(part), "w", format="mp4", options={"movflags": "faststart"}) as container,
    ):
        # A key frame every dozen: single steps and the jump to the start are quick.
        options = {"crf": str(_CRF), "mbtree": "0", "bf": "0", "g": "12", "preset": "fast"}
        stream = container.add_stream("libx264", rate=_rate(moments), options=options)
        stream.width, stream.height, stream.pix_fmt = 2 * width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        lasts = {start: stop - start for start, stop in pairwise(ticks)}
        for tick, left, right in zip(ticks, *streams, strict=False):
            image = av.VideoFrame.from_ndarray(np.hstack([left, right]), format="rgb24")
            image.pts, image.time_base = tick, Fraction(1, _CLOCK)
            _mux(container, stream.encode(image), lasts)
        _mux(container, stream.encode(), lasts)
    times_ms = [round(1000 * tick / _CLOCK, 3) for tick in ticks]
    return Film(name, "", 0, "", "", width, height, times_ms)


def merged_times(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Moments at which either clip has a frame, ascending, in seconds."""
    moments: list[float] = []
    for moment in sorted([*first, *second]):
        if not moments or moment - moments[-1] > _SAME_S:
            moments.append(moment)
    return moments


def shown_at(times: Sequence[float], moments: Sequence[float]) -> list[int]:
    """Which frame of a clip is on the screen at each moment."""
    at = np.searchsorted(np.asarray(times), np.asarray(moments) + _SAME_S, side="right") - 1
    return at.clip(0).tolist()


def _frames(clip: Source, moments: list[float], height: int, width: int) -> Iterator[Frame]:
    """The clip's frame at every moment, in the box; few at a time in memory."""
    shown = [clip.order[place] for place in shown_at(clip.times_s, moments)]
    fit = _fitted(height, width, clip.scan)
    for start in range(0, len(shown), _CHUNK):
        chunk = shown[start : start + _CHUNK]
        wanted = sorted({*chunk})
        try:
            found = decode(clip.path, [clip.scan.pts[k] for k in wanted], fit)
        except (VideoError, av.FFmpegError) as error:
            raise ValueError(f"{clip.path} cannot be shown: {error}") from error
        frames = dict(zip(wanted, found, strict=True))
        yield from (frames[k] for k in chunk)


def _box(first: Scan, second: Scan, max_height: int) -> tuple[int, int]:
    """Even height and width that hold both clips at one height."""
    height = min(max_height, max(first.height, second.height))
    widths = (height * clip.width * clip.pixel_aspect / clip.height for clip in (first, second))
    width = max(widths)
    return max(_MIN_PX, height + height % 2), max(_MIN_PX, 2 * round(width / 2))


def _fitted(height: int, width: int, clip: Scan) -> Callable[[Frame], np.ndarray]:
    """Scale a frame into the middle of a black box, its shape kept."""
    aspect = clip.width * clip.pixel_aspect / clip.height
    w = min(width, round(height * aspect))
    h = min(height, round(w / aspect))
    top, left = (height - h) // 2, (width - w) // 2

    def fit(frame: Frame) -> np.ndarray:
        if frame.shape[:2] != (h, w):
            scaled = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            frame = scaled.reformat(w, h, "rgb24", interpolation="LANCZOS").to_ndarray()
        box = np.zeros((height, width, 3), np.uint8)
        box[top : top + h, left : left + w] = frame
        return box

    return fit


def _rate(moments: list[float]) -> Fraction:
    """A hint for the encoder; the times of the frames decide."""
    mean = (len(moments) - 1) / moments[-1] if len(moments) > 1 else 1.0
    return Fraction(mean).limit_denominator(1001)


def _mux(container: OutputContainer, packets: list, lasts: dict[int, int]) -> None:
    for packet in packets:
        packet.duration = lasts.get(round(packet.pts * packet.time_base * _CLOCK), packet.duration)
        container.mux(packet)
