"""Writing clips: mp4 files, and two clips side by side."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import Colorspace
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.records.atomic import replacing


def to_uint8(video: Float[Tensor, "*batch 3 f h w"]) -> UInt8[Tensor, "*batch f h w 3"]:
    """Pixels in [-1, 1], channels first, as models use them -> frames as files hold them."""
    frames = video.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return frames.movedim(-4, -1).cpu()


def to_pixels(clip: UInt8[Tensor, "*batch f h w 3"]) -> Float[Tensor, "*batch 3 f h w"]:
    """Frames as files hold them -> float32 pixels in [-1, 1], channels first."""
    return (clip.float() / 127.5 - 1).movedim(-1, -4)


def side_by_side(*clips: UInt8[Tensor, "f h _ 3"]) -> UInt8[Tensor, "f h _ 3"]:
    """Clips of equal length and height, left to right."""
    return torch.cat(clips, dim=2)


def write_video(path: Path, clip: UInt8[Tensor, "f h w 3"], fps: float, crf: int = 14) -> None:
    """An H.264 mp4 that every browser plays. Written beside and renamed, so never half a file.

    Colours are BT.709 of limited range, and the file says so: players guess by size otherwise. Odd
    sizes are padded by one repeated row or column, which yuv420p needs.
    """
    frames = np.ascontiguousarray(clip.cpu().numpy())
    frames = np.pad(
        frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge"
    )
    with (
        replacing(path) as part,
        av.open(str(part), "w", format="mp4", options={"movflags": "faststart"}) as container,
    ):
        # mbtree=0: with x264's tree of macroblocks, one file in a hundred differs from the others
        # that were made of the same frames.
        options = {"crf": str(crf), "mbtree": "0"}
        stream = container.add_stream(
            "libx264", rate=Fraction(fps).limit_denominator(1001), options=options
        )
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        _tag(stream.codec_context)
        for image in frames:
            container.mux(stream.encode(_bt709(image)))
        container.mux(stream.encode())


def _bt709(image: UInt8[np.ndarray, "h w 3"]) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, threads=1)
    _tag(frame)
    return frame


def _tag(target: av.VideoFrame | av.VideoCodecContext) -> None:
    """ITU-T H.273: 1 is BT.709 for matrix, primaries and transfer; range 1 is 16 to 235."""
    target.colorspace = target.color_primaries = target.color_trc = target.color_range = 1
