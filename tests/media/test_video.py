"""Writing clips."""

import av
import numpy as np
import pytest
import torch

from videojam.lab.clips import Lab, lab_clips
from videojam.media.video import side_by_side, to_pixels, to_uint8, write_video


def read(path):
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return np.stack(frames), float(container.streams.video[0].average_rate)


@pytest.mark.parametrize("fps", [8.0, 16.0, 24000 / 1001])
def test_mp4_holds_the_frames_and_the_rate(tmp_path, fps):
    clip = lab_clips(Lab(frames=9, height=48, width=48), [3])[1].frames[0]
    write_video(tmp_path / "new" / "a.mp4", clip, fps, crf=0)
    frames, rate = read(tmp_path / "new" / "a.mp4")
    assert frames.shape == clip.shape
    assert np.abs(frames.astype(int) - clip.numpy().astype(int)).mean() < 6  # chroma at half size
    assert abs(rate - fps) < 1e-2
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.mp4"]


def test_colours_are_tagged_so_that_no_player_guesses(tmp_path):
    """BT.709 in limited range, which (200, 40, 40) tells from BT.601 at any size."""
    clip = torch.tensor([200, 40, 40], dtype=torch.uint8).expand(3, 48, 64, 3)
    write_video(tmp_path / "a.mp4", clip, 8.0, crf=0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    tags = (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range)
    assert tags == (1, 1, 1, 1)
    shown = frame.reformat(format="rgb24").to_ndarray()[20, 20]
    assert np.abs(shown.astype(int) - [200, 40, 40]).max() <= 2


def test_odd_sizes_are_padded_not_refused(tmp_path):
    write_video(tmp_path / "a.mp4", torch.full((3, 33, 47, 3), 200, dtype=torch.uint8), 8.0)
    frames, _ = read(tmp_path / "a.mp4")
    assert frames.shape == (3, 34, 48, 3)
    assert frames.min() > 190


def test_pixels_and_bytes_invert_each_other():
    clip = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(2, -1, -1, 3).contiguous()
    assert torch.equal(to_uint8(to_pixels(clip)), clip)
    assert to_pixels(clip).aminmax() == (-1, 1)
    assert to_uint8(torch.full((3, 1, 2, 2), 7.0)).unique().tolist() == [255]


def test_side_by_side_keeps_order():
    left, right = torch.zeros(1, 4, 2, 3), torch.ones(1, 4, 6, 3)
    joined = side_by_side(left.byte(), right.byte())
    assert joined.shape == (1, 4, 8, 3)
    assert not joined[:, :, :2].any()
    assert joined[:, :, 2:].all()
