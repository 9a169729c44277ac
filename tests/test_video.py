"""Writing clips, and the simulated ones."""

import json

import av
import numpy as np
import pytest
import torch

from videojam.lab.shapes import shape_clip, write_shape_clips
from videojam.video import side_by_side, to_pixels, to_uint8, write_video


def read(path):
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return np.stack(frames), float(container.streams.video[0].average_rate)


@pytest.mark.parametrize("fps", [8.0, 16.0, 24000 / 1001])
def test_mp4_holds_the_frames_and_the_rate(tmp_path, fps):
    clip = shape_clip(0, 3).frames
    write_video(tmp_path / "new" / "a.mp4", clip, fps, crf=0)
    frames, rate = read(tmp_path / "new" / "a.mp4")
    assert frames.shape == clip.shape
    assert np.abs(frames.astype(int) - clip.numpy().astype(int)).mean() < 6  # chroma at half size
    assert abs(rate - fps) < 1e-2
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.mp4"]


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


def test_shape_clips_depend_on_seed_and_index_alone(tmp_path):
    again = shape_clip(3, 5)
    assert torch.equal(again.frames, shape_clip(3, 5).frames)
    assert not torch.equal(again.frames, shape_clip(3, 6).frames)
    assert not torch.equal(again.frames, shape_clip(4, 5).frames)
    write_shape_clips(tmp_path, 3, seed=3)
    lines = [json.loads(line) for line in (tmp_path / "captions.jsonl").read_text().splitlines()]
    assert [line["caption"] for line in lines] == [shape_clip(3, i).caption for i in range(3)]


def test_captions_say_where_shapes_go():
    ways = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
    for index in range(12):
        clip = shape_clip(0, index, frames=2)
        first = clip.flow[0].flatten(1)
        moving = first[:, first.abs().sum(0) > 0].mean(1)
        word = clip.caption.split()[-2]
        direction = moving / moving.norm()
        # The first step may already bounce off the border.
        assert abs(float(direction @ torch.tensor(ways[word], dtype=torch.float32))) > 0.99
