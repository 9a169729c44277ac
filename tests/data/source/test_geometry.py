"""Buckets, crops, rotation and pixel formats."""

from pathlib import Path

import numpy as np
import pytest
from data_synthetic import gray_frames, write
from hypothesis import given
from hypothesis import strategies as st

from videojam.data.source import decode
from videojam.data.source.decode import VideoError
from videojam.data.source.geometry import choose_size, resize

SIZES = ((480, 832), (832, 480), (640, 640), (240, 416))


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (720, 1280, (480, 832)),
        (1280, 720, (832, 480)),
        (1000, 1000, (640, 640)),
        (480, 832, (480, 832)),
        (300, 520, (240, 416)),  # the larger of the same shape would need enlarging
    ],
)
def test_nearest_aspect_ratio_without_enlarging(height, width, size) -> None:
    assert choose_size(height, width, 1.0, SIZES, 1.05) == size


def test_too_small_is_dropped_unless_allowed() -> None:
    with pytest.raises(VideoError, match=r"480 x 480 would be enlarged 1.33 times to 640 x 640"):
        choose_size(480, 480, 1.0, SIZES, 1.05)
    assert choose_size(480, 480, 1.0, SIZES, 1.4) == (640, 640)


def test_pixel_aspect_counts() -> None:
    """720 x 576 PAL widescreen is shown 16:9 although its pixels are 5:4."""
    assert choose_size(576, 720, 64 / 45, SIZES, 1.2) == (480, 832)
    assert choose_size(576, 720, 1.0, SIZES, 2.0) == (640, 640)


def test_crop_is_centred_and_shrinking_averages() -> None:
    frame = np.zeros((8, 12, 3), dtype=np.uint8)
    frame[:, 2:10] = 100
    assert (resize(frame, (4, 4)) == 100).all()
    checks = np.indices((8, 8)).sum(axis=0) % 2 * 200
    checks = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    assert (resize(checks, (4, 4)) == 100).all()


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    aspect=st.floats(0.5, 2),
)
def test_resize_always_gives_the_size(height, width, size, aspect) -> None:
    frame = np.full((height, width, 3), 77, dtype=np.uint8)
    resized = resize(frame, size, aspect)
    assert resized.shape == (*size, 3) and (resized == 77).all()


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation_metadata_is_honoured(tmp_path: Path, rotation: int) -> None:
    frames = gray_frames(3, height=32, width=64, step=0)
    frames[:, :16, :32] = 255  # bright top left corner
    path = write(tmp_path / "a.mp4", frames, rotation=rotation)
    scan = decode.scan(path)
    image = decode.decode(path, scan.pts[:1], lambda frame: frame)[0]
    assert image.shape[:2] == (scan.height, scan.width)
    expected = np.rot90(frames[0], rotation // 90)  # the display matrix turns anticlockwise
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 4


def colours(height: int = 32, width: int = 64) -> np.ndarray:
    frame = np.zeros((3, height, width, 3), dtype=np.uint8)
    frame[:, : height // 2, : width // 2] = (255, 0, 0)
    frame[:, : height // 2, width // 2 :] = (0, 255, 0)
    frame[:, height // 2 :, : width // 2] = (0, 0, 255)
    frame[:, height // 2 :, width // 2 :] = (128, 128, 128)
    return frame


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuv444p", "yuv420p10le"])
def test_pixel_formats_come_out_as_8_bit_rgb(tmp_path: Path, pix_fmt: str) -> None:
    path = write(tmp_path / "a.mkv", colours(), pix_fmt=pix_fmt)
    image = decode.decode(path, decode.scan(path).pts[:1], lambda frame: frame)[0]
    assert image.dtype == np.uint8
    for y, x in ((8, 16), (8, 48), (24, 16), (24, 48)):
        assert np.abs(image[y, x].astype(int) - colours()[0, y, x]).max() <= 6


@pytest.mark.parametrize(("height", "width"), [(33, 47), (31, 64)])
def test_odd_sizes(tmp_path: Path, height: int, width: int) -> None:
    path = write(tmp_path / "a.mkv", gray_frames(5, height, width), codec="ffv1", pix_fmt="bgr0")
    scan = decode.scan(path)
    assert (scan.height, scan.width) == (height, width)
    frames = decode.decode(path, scan.pts, lambda frame: frame)
    np.testing.assert_array_equal(np.stack(frames), gray_frames(5, height, width))


def test_seeking_gives_the_same_pixels_as_decoding_from_the_start(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (80, 32, 48, 3), dtype=np.uint8)
    for options in ({"g": "10", "crf": "30"}, {"g": "12", "bf": "3", "x264-params": "open-gop=1"}):
        path = write(tmp_path / "a.mp4", frames, options=options)
        scan = decode.scan(path)
        straight = decode.decode(path, scan.pts, lambda frame: frame)
        for first in (1, 9, 37, 71):
            part = decode.decode(path, scan.pts[first : first + 6], lambda frame: frame)
            np.testing.assert_array_equal(np.stack(part), np.stack(straight[first : first + 6]))
