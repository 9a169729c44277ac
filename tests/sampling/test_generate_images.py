"""Images as they are given, and the sizes that follow them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.sampling.images import fitted, read_image, size_of_image


@pytest.fixture(scope="module")
def pipe() -> Any:
    sizes = SmallWan(num_layers=1, num_heads=1, head_dim=16, vae_width=4, text_layers=1)
    return small_wan_pipeline(sizes)


def test_a_photo_is_turned_and_what_is_transparent_is_black(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:, :3] = (250, 0, 0)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    image.save(tmp_path / "photo.png", exif=exif)
    turned = np.asarray(read_image(str(tmp_path / "photo.png")))
    assert turned.shape == (6, 4, 3)
    assert (turned[:3, :, 0] == 250).all() and not turned[3:].any()
    clear = Image.new("RGBA", (2, 2), (255, 255, 255, 0))
    clear.save(tmp_path / "clear.png")
    assert not np.asarray(read_image(tmp_path / "clear.png")).any()
    grey = read_image(Image.new("L", (2, 2), 7))
    assert grey.mode == "RGB" and np.asarray(grey).max() == 7
    tensor = torch.from_numpy(pixels)
    assert np.array_equal(np.asarray(read_image(tensor)), pixels)
    assert np.array_equal(np.asarray(read_image(pixels)), pixels)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((3, 4, 4), np.uint8), r"uint8 \(3, 4, 4\), expected uint8 \(H, W, 3\)"),
        (torch.zeros(4, 4, 3), r"float32 \(4, 4, 3\), expected uint8"),
        (7, "the image is a int, expected a path"),
        (np.zeros((0, 4, 3), np.uint8), "expected uint8"),
    ],
)
def test_what_is_no_image_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        read_image(bad)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"clip\.mp4 cannot be read as an image"):
        read_image(tmp_path / "clip.mp4")


def test_an_image_is_cut_about_its_middle_and_never_stretched():
    pixels = np.zeros((60, 100, 3), np.uint8)
    pixels[20:40, 40:60] = 255  # a square in the middle
    for height, width in ((30, 30), (30, 50), (60, 20), (120, 200)):
        found = np.asarray(fitted(Image.fromarray(pixels), height, width))[..., 0] > 127
        assert found.shape == (height, width)
        rows, columns = found.any(1).sum(), found.any(0).sum()
        if columns < width:
            assert abs(int(rows) - int(columns)) <= 1, (height, width)
        assert np.array_equal(found, found[::-1, ::-1])


@given(st.integers(8, 4000), st.integers(8, 4000), st.integers(1, 1_000_000))
def test_sizes_follow_the_image(height, width, area):
    pipe = SimpleNamespace(
        vae_scale_factor_temporal=4, vae_scale_factor_spatial=8, transformer=_transformer()
    )
    rows, columns = size_of_image(pipe, Image.new("1", (width, height)), area)
    assert rows % 16 == 0 and columns % 16 == 0 and min(rows, columns) >= 16
    if min(rows, columns) > 16:
        assert rows * columns <= area * 1.6
        assert abs(columns - rows * width / height) <= 8.001, "to the nearest multiple"


def _transformer() -> Any:
    if not hasattr(_transformer, "made"):
        from diffusers import WanTransformer3DModel

        _transformer.made = WanTransformer3DModel(  # pyright: ignore
            num_attention_heads=1, attention_head_dim=12, text_dim=4, freq_dim=4, ffn_dim=4,
            num_layers=1,
        )  # fmt: skip
    return _transformer.made  # pyright: ignore


def test_an_image_of_the_training_shape_has_the_training_size(pipe):
    for size in ((480, 832), (64, 64), (832, 480), (720, 1280)):
        image = Image.new("RGB", (size[1], size[0]))
        assert size_of_image(pipe, image, size[0] * size[1]) == size
