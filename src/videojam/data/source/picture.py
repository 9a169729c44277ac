"""A decoded frame -> 8-bit RGB as a player shows it: turned, in the right colours, on a background.

Untagged colour is taken as players take it, by the size of the picture: BT.709 for high definition
and BT.601 below. 10-bit and full-range sources become 8 bits through swscale.
"""

from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type
from jaxtyping import UInt8

from videojam.data.source.video_file import VideoError

_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # ITU-T H.273 transfer characteristics
_BT709, _UNSPECIFIED = 1, 2  # ITU-T H.273 matrix coefficients
_HD_WIDTH, _HD_HEIGHT = 1280, 577  # mpv's rule: from here on untagged is BT.709

Turn = tuple[bool, bool, bool]  # transpose, then flip left-right, then flip top-bottom


def refuse_hdr(frame: av.VideoFrame) -> None:
    """VideoError for pictures that look washed out without tone mapping."""
    if frame.color_trc in _HDR_TRANSFERS:
        name = _HDR_TRANSFERS[frame.color_trc]
        raise VideoError(f"high dynamic range ({name}); tone-map it to SDR first")


def turn_of(frame: av.VideoFrame) -> Turn:
    """What the display matrix asks for. VideoError unless it is quarter turns and mirrors.

    The matrix ((a, b, u), (c, d, v), (x, y, w)) shows point (p, q) at (ap + cq + x, bp + dq + y).
    """
    data = frame.side_data.get(Type.DISPLAYMATRIX)  # pyright: ignore[reportCallIssue, reportArgumentType]
    if data is None:
        return False, False, False
    a, b, _, c, d, _, _, _, _ = np.frombuffer(bytes(data), dtype=np.int32).tolist()
    near = max(abs(a), abs(b), abs(c), abs(d)) / 100
    upright = abs(b) <= near and abs(c) <= near and _alike(a, d)
    sideways = abs(a) <= near and abs(d) <= near and _alike(b, c)
    if not upright and not sideways:
        shown = ", ".join(f"{value / 65536:.3g}" for value in (a, b, c, d))
        raise VideoError(f"a display matrix ({shown}) that is no quarter turn or mirror image")
    return (False, a < 0, d < 0) if upright else (True, c < 0, b < 0)


def to_rgb(
    frame: av.VideoFrame, background: int, size: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture, not turned, where it is transparent over a gray background (0 to 255).

    size: width, height to scale to, by area.
    """
    large = frame.width >= _HD_WIDTH or frame.height >= _HD_HEIGHT
    if frame.colorspace == _UNSPECIFIED and large and not frame.format.is_rgb:
        frame.colorspace = _BT709
    transparent = any(component.is_alpha for component in frame.format.components)
    kind = "rgba" if transparent else "rgb24"
    width, height = size or (None, None)
    scaling: dict[str, Any] = {} if size is None else {"interpolation": "AREA"}
    image = frame.reformat(width, height, kind, threads=1, **scaling).to_ndarray()
    return _over(image, background) if transparent else image


def turned(image: UInt8[np.ndarray, "h w 3"], turn: Turn) -> UInt8[np.ndarray, "H W 3"]:
    """The image as displayed."""
    transpose, mirrored, upside_down = turn
    image = image.swapaxes(0, 1) if transpose else image
    return image[:: -1 if upside_down else 1, :: -1 if mirrored else 1]


def _over(image: UInt8[np.ndarray, "h w 4"], background: int) -> UInt8[np.ndarray, "h w 3"]:
    """colour * alpha + background * (1 - alpha)."""
    alpha = image[..., 3:].astype(np.uint16)
    mixed = image[..., :3] * alpha + np.uint16(background) * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _alike(one: int, other: int) -> bool:
    return 0.99 < abs(one) / max(abs(other), 1) < 1.01
