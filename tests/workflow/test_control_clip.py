"""Control clips of files: which frames, in which cut, and their masks."""

import re

import numpy as np
import pytest
import torch
from data_synthetic import gray_frames, write
from PIL import Image

from videojam.joint.sizes import Size
from videojam.workflow.control_clip import control_clip

SIZE = Size(5, 32, 48)


def test_frames_are_taken_by_their_times_and_cut_about_the_middle(tmp_path):
    shown = gray_frames(20, 64, 48)
    shown[:, :16] = shown[:, 48:] = 255  # cut away
    path = write(tmp_path / "c.mp4", shown)  # 30 frames/s
    found = control_clip(path, None, SIZE, 10.0)
    assert found.mask is None and found.video.shape == (*SIZE, 3)
    assert (found.video[:, 0, 0, 0].int() - 12 * torch.arange(5)).abs().max() <= 2
    assert found.video.int().amax() <= 52


def test_stills_and_cuts_stay(tmp_path):
    """What repeats, or changes at once, is what a control says, not a fault of a video."""
    still = np.full((20, 32, 48, 3), 128, np.uint8)
    still[7:] = 20
    found = control_clip(write(tmp_path / "c.mp4", still), None, SIZE, 10.0)
    assert (found.video[:3] > 120).all() and (found.video[3:] < 30).all()


@pytest.mark.parametrize("kind", ["clip", "image"])
def test_a_mask_is_a_clip_or_an_image(tmp_path, kind):
    path = write(tmp_path / "c.mp4", gray_frames(20, 32, 48))
    white = np.zeros((20, 64, 96, 3), np.uint8)
    white[:, :, :48] = 255
    if kind == "image":
        Image.fromarray(white[0]).save(tmp_path / "m.png")
        mask = tmp_path / "m.png"
    else:
        white[6:] = 0
        mask = write(tmp_path / "m.mp4", white)
    found = control_clip(path, mask, SIZE, 10.0)
    assert found.mask is not None and found.mask.dtype == torch.bool
    assert found.mask.shape == (1 if kind == "image" else 5, 32, 48)
    assert found.mask[0, :, :23].all() and not found.mask[0, :, 25:].any()
    assert kind == "image" or (found.mask[1].any() and not found.mask[2:].any())


def test_what_gives_no_control_is_named(tmp_path):
    path = write(tmp_path / "c.mp4", gray_frames(20, 32, 48))
    slow = write(tmp_path / "slow.mp4", gray_frames(20, 32, 48), fps=5)
    (tmp_path / "text.mp4").write_text("no video")
    tall = tmp_path / "tall.png"
    Image.new("L", (32, 48)).save(tall)
    for control, mask, message in (
        (path, tall, "tall.png is 0.667 times as wide as high, "),
        (path, tmp_path / "text.mp4", "text.mp4: not a readable video"),
        (path, tmp_path / "gone.png", "gone.png: no such file"),
        (tmp_path / "text.mp4", None, "text.mp4: not a readable video"),
        (slow, None, "slow.mp4 gives no clip of 5 frames at 10 frames/s: 5 frames/s, fewer than"),
        (tall, None, "tall.png"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            control_clip(control, mask, SIZE, 10.0)
    with pytest.raises(ValueError, match=r"c\.mp4 gives no clip of 9 frames .* too short"):
        control_clip(path, None, Size(9, 32, 48), 10.0)
