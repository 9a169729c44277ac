"""Cuts are found, motion is not taken for a cut, and no clip crosses one."""

from pathlib import Path

import numpy as np
from data_synthetic import captioned, moving_square, write

from videojam.data.source import decode
from videojam.data.source.scenes import find_cuts, scenes


def test_known_cuts_are_found_in_a_file(tmp_path: Path) -> None:
    shots = [moving_square(20, speed=3, seed=seed) // (1 + seed % 3) for seed in range(4)]
    path = write(tmp_path / "a.mp4", np.concatenate(shots))
    assert find_cuts(decode.scan(path).differences) == [20, 40, 60]


def test_fast_motion_and_flashes_are_no_cuts() -> None:
    steady = np.full(50, 30.0)
    assert find_cuts(steady) == []
    flash = np.ones(50)
    flash[20:22] = 60  # bright for one frame: up and down again
    assert find_cuts(flash) == []
    assert find_cuts(np.zeros(0)) == []


def test_scenes_cover_all_frames() -> None:
    assert scenes(10, []) == [(0, 9)]
    assert scenes(10, [3, 4]) == [(0, 2), (3, 3), (4, 9)]


def test_real_clips_have_no_false_cut_and_their_joins_are_found(
    tmp_path: Path, real_clips: Path
) -> None:
    from videojam.data.source.geometry import resize

    shots = []
    for name in ("sign_eat.mkv", "stream.mp4", "sign_want.mkv", "flower_opening.mp4"):
        scan = decode.scan(real_clips / name)
        assert find_cuts(scan.differences) == []
        frames = decode.decode(
            real_clips / name, scan.pts[:40], lambda frame: resize(frame, (72, 96))
        )
        shots.append(np.stack(frames))
    path = captioned(tmp_path / "joined.mp4", np.concatenate(shots), "four shots")
    assert find_cuts(decode.scan(path).differences) == [40, 80, 120]
