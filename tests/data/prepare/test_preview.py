"""Previews hold the clip beside its motion, and the contact sheet is drawn from them."""

from pathlib import Path

import cv2
import numpy as np
import torch
from data_synthetic import captioned, moving_square, run, table, tiny_config

from videojam.data.prepare.preview import preview_path
from videojam.data.source import decode
from videojam.motion.color import flow_to_rgb


def right_flow(clip: torch.Tensor) -> torch.Tensor:
    """Everything moves right at half of saturation: half red."""
    flow = torch.zeros(len(clip) - 1, 2, *clip.shape[1:3])
    flow[:, 0] = 0.5 * 0.15 * float(np.hypot(*clip.shape[1:3]))
    return flow


def test_previews_show_the_clip_and_its_motion(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    frames = moving_square(60, 64, 96)
    captioned(videos / "sub" / "a b.mp4", frames, "Ein Würfel moves right")
    captioned(videos / "t.mp4", frames, "one preview of this one")
    run(tiny_config(videos, tmp_path / "out", previews=3), right_flow)
    keys = [row["key"] for row in table(tmp_path / "out")]
    previews = tmp_path / "out" / "previews"
    assert sorted(previews.iterdir()) == sorted(preview_path(previews, key) for key in keys[:3])
    file = preview_path(previews, "sub/a b.mp4#0001")
    scan = decode.scan(file)
    assert len(scan.pts) == 9 and (scan.height, scan.width) == (32, 96)
    assert np.diff(scan.times_s).mean() == 0.1
    shown = np.stack(decode.decode(file, scan.pts, lambda image: image)).astype(int)
    source = np.stack([cv2.resize(f, (48, 32), interpolation=cv2.INTER_AREA) for f in frames])
    start = 27  # the second clip begins 0.9 s into 30 frames/s
    assert np.abs(shown[:, :, :48] - source[start : start + 27 : 3]).mean() < 12
    red = flow_to_rgb(right_flow(torch.zeros(9, 32, 48, 3)))[0, :, 0, 0].numpy() * 255
    assert np.abs(shown[:, 4:-4, 52:92] - red).max() < 12
    sheet = cv2.imread(str(tmp_path / "out" / "contact_sheet.png"))
    assert sheet is not None and sheet.shape[0] > 3 * 2 * 100 and sheet.shape[1] == 900


def test_every_video_is_shown_once_before_any_is_shown_twice(tmp_path: Path) -> None:
    videos, previews = tmp_path / "videos", tmp_path / "out" / "previews"
    for name in ("a.mp4", "b.mp4"):
        captioned(videos / name, moving_square(60), f"square of {name}")
    run(tiny_config(videos, tmp_path / "out", previews=2))
    expected = [preview_path(previews, f"{name}#0000") for name in ("a.mp4", "b.mp4")]
    assert sorted(previews.iterdir()) == sorted(expected)


def test_the_sheet_of_a_grown_dataset_shows_all_its_previews(tmp_path: Path) -> None:
    """Videos that come later may stand before the others in the alphabet."""
    videos, sheet = tmp_path / "videos", tmp_path / "out" / "contact_sheet.png"
    heights = []
    for names, previews in (("c", "d's"), 1), (("a", "b"), 3):
        for name in names:
            captioned(videos / f"{name}.mp4", moving_square(60), f"square of {name}")
        run(tiny_config(videos, tmp_path / "out", previews=previews))
        heights.append(cv2.imread(str(sheet)).shape[0])
    assert heights[1] == 3 * heights[0]


def test_a_lost_preview_is_made_again_and_none_are_made_when_off(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    captioned(videos / "a.mp4", moving_square(40), "a square")
    config = tiny_config(videos, tmp_path / "out", previews=1)
    run(config)
    file = preview_path(tmp_path / "out" / "previews", "a.mp4#0000")
    file.unlink()
    assert run(config).prepared == 0
    assert file.exists()
    run(tiny_config(videos, tmp_path / "none", previews=0))
    assert not (tmp_path / "none" / "previews").exists()
    assert not (tmp_path / "none" / "contact_sheet.png").exists()


def test_names_that_differ_only_in_odd_letters_do_not_collide(tmp_path: Path) -> None:
    assert preview_path(tmp_path, "a/b.mp4#0000") != preview_path(tmp_path, "a_b.mp4#0000")
