"""Frames that only repeat the one before, and what looks like it but is motion."""

from pathlib import Path

import numpy as np
import pytest
from data_synthetic import moving_square, write

from videojam.data.prepare.stages import PlanOptions, plan_video
from videojam.data.source.decode import Reading, scan
from videojam.data.source.repeats import repeats


def bar(positions: np.ndarray) -> np.ndarray:
    """A textured bar at these places over a still texture, with a little noise."""
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 120, (72, 256, 3), dtype=np.uint8)
    body = rng.integers(120, 250, (40, 32, 3), dtype=np.uint8)
    frames = np.repeat(ground[None], len(positions), axis=0)
    for frame, left in zip(frames, np.round(positions).astype(int), strict=True):
        frame[16:56, left : left + 32] = body
    return frames


def found(path: Path, frames: np.ndarray, fps: int = 30) -> np.ndarray:
    write(path, frames, fps=fps, options={"crf": "23", "preset": "veryfast"})
    return repeats(scan(path).largest, 1 / fps)


@pytest.mark.parametrize("pictures_per_s", [6, 10, 12, 15, 20, 24, 25])
def test_converted_rates_are_seen_frame_by_frame(tmp_path: Path, pictures_per_s: int) -> None:
    shown = np.arange(90) * pictures_per_s // 30  # which picture each of 30 frames/s shows
    seen = found(tmp_path / "a.mp4", bar(4 + 60 * shown / pictures_per_s))
    true = np.diff(shown, prepend=-1) == 0
    assert (seen != true)[6:-6].mean() <= 0.06
    assert not (seen & ~true).any()


def test_motion_that_stands_turns_or_pauses_is_no_repeat(tmp_path: Path) -> None:
    k = np.arange(90)
    swinging = 110 + 90 * np.cos(2 * np.pi * k / 40)
    pausing = 4 + 3 * np.where(k < 30, k, np.maximum(30, k - 25))
    for name, places in (("still", 0 * k + 50), ("swing", swinging), ("pause", pausing)):
        assert not found(tmp_path / f"{name}.mp4", bar(places)).any(), name


def options(**changes: object) -> PlanOptions:
    return PlanOptions(**{
        "sizes": ((32, 48),), "fps": 16.0, "num_frames": 9, "stride_s": None, "max_clips": None,
        "min_source_fps_ratio": 0.99, "max_upscale": 1.05, "reading": Reading(), **changes,
    })  # fmt: skip


def test_a_file_with_ten_pictures_a_second_is_dropped_as_one_of_ten_frames(tmp_path: Path) -> None:
    ten = moving_square(40, speed=6)
    write(tmp_path / "ten.mp4", ten, fps=10)
    write(tmp_path / "thirty.mp4", np.repeat(ten, 3, axis=0), fps=30)
    for name in ("ten.mp4", "thirty.mp4"):
        plan = plan_video(name, tmp_path, options())
        assert not plan.pts and "10 frames/s, fewer than 0.99 x 16" in plan.dropped[0].reason
    assert "of its 120 frames repeat the one before" in plan.dropped[0].reason
    plan = plan_video("thirty.mp4", tmp_path, options(fps=5.0))
    assert len(plan.pts) >= 2 and plan.source_fps == pytest.approx(10, rel=0.03)


def test_film_in_thirty_frames_gives_only_frames_of_its_own(tmp_path: Path) -> None:
    """24 pictures a second shown in 30: each frame of a clip shows another picture."""
    shown = np.arange(120) * 24 // 30
    write(tmp_path / "a.mp4", moving_square(96, speed=5)[shown], fps=30)
    (pts, *_) = plan_video("a.mp4", tmp_path, options()).pts
    every = scan(tmp_path / "a.mp4").pts
    pictures = [shown[every.index(number)] for number in pts]
    assert len(set(pictures)) == len(pictures)
