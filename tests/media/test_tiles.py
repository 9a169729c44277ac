"""Rows of enlarged clips, lines of text, and GIFs that keep colours and time."""

import pytest
import torch
from PIL import Image

from videojam.media.tiles import PAPER, line, row, stack, write_gif


def flat(colour, frames=2, height=4, width=6):
    return torch.tensor(colour, dtype=torch.uint8).repeat(frames, height, width, 1)


def test_a_row_is_enlarged_and_keeps_its_order():
    both = row([flat((200, 0, 0)), flat((0, 0, 200), width=2)], 3)
    assert both.shape == (2, 12 + 8, (18 + 8) + (6 + 8), 3)
    assert both[0, 10, 10].tolist() == [200, 0, 0]
    assert both[1, 10, 30].tolist() == [0, 0, 200]
    assert both[0, 0, 0].tolist() == both[0, 10, 22].tolist() == list(PAPER)
    with pytest.raises(ValueError, match="factor is 0"):
        row([flat((1, 1, 1))], 0)


def test_enlarging_keeps_what_is_where():
    clip = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    clip[:, 1, 2] = 255
    large = row([clip], 8)[0, 4:-4, 4:-4, 0]
    assert large.max() == large[8:16, 16:24].max() > 200
    assert large[:4].max() < 60


def test_text_is_drawn_in_its_share_and_shrinks_to_fit():
    band = line(["base", "VideoJAM"], 200, 20)
    assert band.shape == (1, 32, 200, 3)
    ink = (band[0] != torch.tensor(PAPER, dtype=torch.uint8)).any(-1)
    left, right = ink[:, :100].any(0).nonzero(), ink[:, 100:].any(0).nonzero()
    for columns in (left, right):
        middle = float(columns.float().mean())
        assert abs(middle - 50) < 4
    crowded = line(["a caption that is much too long for so narrow a band"], 100, 20)
    ink = (crowded[0] != torch.tensor(PAPER, dtype=torch.uint8)).any(-1)
    assert not ink[:, :4].any()
    assert not ink[:, -4:].any()


def test_a_single_frame_is_shown_all_the_time():
    whole = stack([flat((9, 9, 9), frames=1), flat((5, 5, 5), frames=3)])
    assert whole.shape == (3, 8, 6, 3)
    assert whole[2, 0, 0].tolist() == [9, 9, 9]


@pytest.mark.parametrize("fps", [8.0, 16.0, 24.0])
def test_gif_holds_the_frames_and_the_rate(tmp_path, fps):
    g = torch.Generator().manual_seed(0)
    busy = (100 + 20 * torch.rand(16, 24, 32, 1, generator=g)).byte().repeat(1, 1, 1, 3)
    for k in range(16):  # a few pixels of cyan over much grey
        busy[k, 4:8, k : k + 4] = torch.tensor([40, 205, 215], dtype=torch.uint8)
    write_gif(tmp_path / "new" / "a.gif", busy, fps)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.gif"]
    with Image.open(tmp_path / "new" / "a.gif") as gif:
        assert (gif.size, gif.n_frames, gif.info["loop"]) == ((32, 24), 16, 0)
        total = 0
        for k in range(16):
            gif.seek(k)
            total += gif.info["duration"]
            red, green, blue = gif.convert("RGB").getpixel((k + 1, 6))
            assert abs(red - 40) + abs(green - 205) + abs(blue - 215) < 60
    assert abs(total - 1000 * 16 / fps) <= 10
