"""Clips are true to frames per second: decoded pixels tell which source frame was taken."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from data_synthetic import gray_frames, write
from hypothesis import given
from hypothesis import strategies as st

from videojam.data.source import decode
from videojam.data.source.clip_sampling import nearest_frames, plan_clips

STEP = 4


def whole(scan: decode.Scan) -> list[tuple[int, int]]:
    return [(0, len(scan.pts) - 1)]


def clip_values(path: Path, clip, scan: decode.Scan) -> np.ndarray:
    """Which source frames a clip really holds, read from the pixels."""
    frames = decode.decode(path, [scan.pts[k] for k in clip.frames], lambda frame: frame)
    return np.rint(np.stack(frames).mean(axis=(1, 2, 3)) / STEP).astype(int)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov"])
@pytest.mark.parametrize(("source", "target"), [(30, 30), (30, 16), (24, 16), (30, 24), (60, 16)])
def test_each_frame_is_the_nearest_in_time(tmp_path: Path, suffix, source, target) -> None:
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    options = {"crf": "10", "deadline": "realtime", "cpu-used": "8"} if suffix == ".webm" else None
    path = write(
        tmp_path / f"a{suffix}",
        gray_frames(60, step=STEP),
        fps=source,
        codec=codec,
        options=options,
    )
    scan = decode.scan(path)
    clips, reasons = plan_clips(scan.times_s, whole(scan), fps=float(target), num_frames=9)
    assert clips and not reasons
    for clip in clips:
        taken = clip_values(path, clip, scan)
        wanted_s = clip.start_s + np.arange(9) / target
        # Half a source frame, and the millisecond to which Matroska rounds.
        assert np.abs(taken / source - wanted_s).max() <= 0.5 / source + 2e-3


def test_same_rate_takes_every_frame_once_whatever_the_container_rounds(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv"):
        path = write(tmp_path / f"a{suffix}", gray_frames(60, step=STEP), fps=Fraction(30000, 1001))
        scan = decode.scan(path)
        clips, _ = plan_clips(scan.times_s, whole(scan), fps=30000 / 1001, num_frames=57)
        assert clip_values(path, clips[0], scan).tolist() == list(range(57))


def test_variable_frame_rate_keeps_physical_speed(tmp_path: Path) -> None:
    """Frame times 0, 20, 70, 80, ... ms; the frame shown is the nearest by time, not by count."""
    rng = np.random.default_rng(0)
    pts = np.concatenate([[0], np.cumsum(rng.integers(10, 50, 59))]).tolist()
    for suffix in (".mkv", ".mp4"):
        path = write(tmp_path / f"a{suffix}", gray_frames(60, step=STEP), pts=pts)
        scan = decode.scan(path)
        np.testing.assert_allclose(scan.times_s * 1000, pts, atol=0.5)
        clips, _ = plan_clips(
            scan.times_s, whole(scan), fps=20.0, num_frames=17, min_source_fps_ratio=0.0
        )
        for clip in clips:
            taken = np.array(pts)[clip_values(path, clip, scan)] / 1000
            wanted_s = clip.start_s + np.arange(17) / 20
            best = np.abs(np.array(pts)[None] / 1000 - wanted_s[:, None]).min(axis=1)
            assert (np.abs(taken - wanted_s) <= best + 2e-3).all()


def test_a_first_timestamp_other_than_zero_does_not_shift_the_clip(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mkv", gray_frames(30, step=STEP), pts=[5000 + 40 * k for k in range(30)]
    )
    scan = decode.scan(path)
    clips, _ = plan_clips(scan.times_s, whole(scan), fps=25.0, num_frames=13)
    assert [clip.start_s for clip in clips] == pytest.approx([0, 13 / 25])
    assert clip_values(path, clips[1], scan).tolist() == list(range(13, 26))


@pytest.mark.parametrize(
    ("source", "kept"), [(30, True), (29.97, True), (29.6, False), (25, False), (12.5, False)]
)
def test_slow_sources_are_dropped_with_their_rate(source: float, kept: bool) -> None:
    times = np.arange(200) / source
    clips, reasons = plan_clips(times, [(0, 199)], fps=30.0, num_frames=33)
    assert bool(clips) == kept
    if not kept:
        assert f"{source:g} frames/s" in reasons[0]
        clips, _ = plan_clips(times, [(0, 199)], fps=30.0, num_frames=33, min_source_fps_ratio=0.0)
        assert clips


def test_timestamps_rounded_to_milliseconds_do_not_make_a_source_slow() -> None:
    times = np.round(np.arange(200) * 1001 / 60, 0) / 1000  # 59.94 frames/s in Matroska
    clips, reasons = plan_clips(times, [(0, 199)], fps=60.0, num_frames=33)
    assert clips and not reasons
    assert plan_clips(times, [(0, 199)], fps=30.0, num_frames=33)[0][0].frames == [*range(0, 66, 2)]


def test_a_gap_drops_only_the_clips_it_touches() -> None:
    times = np.arange(200) / 30
    times[50:] += 1.0  # from 1.63 s to 2.67 s: inside the second and the third clip
    clips, reasons = plan_clips(times, [(0, 199)], fps=30.0, num_frames=33)
    assert len(reasons) == 2 and all("would repeat" in reason for reason in reasons)
    for clip in clips:
        assert (np.diff(clip.frames) > 0).all()


def test_too_short_is_dropped_with_both_lengths() -> None:
    clips, reasons = plan_clips(np.arange(32) / 16, [(0, 31)], fps=16.0, num_frames=33)
    assert not clips
    assert reasons == [
        "too short: video from 0.00 s to 2.00 s, 33 frames at 16 frames/s need 2.06 s"
    ]
    clips, _ = plan_clips(np.arange(33) / 16, [(0, 32)], fps=16.0, num_frames=33)
    assert len(clips) == 1


def test_options_decide_how_many_clips() -> None:
    times = np.arange(400) / 16
    plan = {"fps": 16.0, "num_frames": 33}
    starts = [clip.start_s for clip in plan_clips(times, [(0, 399)], **plan)[0]]
    assert starts == pytest.approx([33 / 16 * k for k in range(12)])
    dense, _ = plan_clips(times, [(0, 399)], stride_s=1.0, **plan)
    assert [clip.start_s for clip in dense] == pytest.approx(list(range(23)))
    few, _ = plan_clips(times, [(0, 399)], max_clips=3, **plan)
    assert [few[0].start_s, few[-1].start_s] == [starts[0], starts[-1]] and len(few) == 3


@given(
    source=st.floats(5, 120),
    target=st.floats(4, 60),
    num_frames=st.integers(2, 40),
    cuts=st.lists(st.integers(1, 299), max_size=4, unique=True),
    jitter=st.integers(0, 10**6),
)
def test_every_clip_lies_in_one_scene_and_on_time(source, target, num_frames, cuts, jitter) -> None:
    rng = np.random.default_rng(jitter)
    times = (np.arange(300) + rng.uniform(-0.3, 0.3, 300)) / source
    times -= times[0]
    edges = [0, *sorted(cuts), 300]
    scenes = [(a, b - 1) for a, b in pairwise(edges)]
    clips, _ = plan_clips(times, scenes, fps=target, num_frames=num_frames)
    for clip in clips:
        assert any(a <= clip.frames[0] and clip.frames[-1] <= b for a, b in scenes)
        wanted = clip.start_s + np.arange(num_frames) / target
        assert np.abs(times[clip.frames] - wanted).max() <= 0.5 * 1.7 / source + 2e-3


def test_nearest_frame_of_a_tie_is_the_earlier_one() -> None:
    times = np.array([0.0, 0.042, 0.083, 0.125, 0.167, 0.208])  # 24 fps as Matroska rounds it
    assert nearest_frames(times, np.arange(4) / 16).tolist() == [0, 1, 3, 4]
    assert nearest_frames(np.array([0.0]), np.array([0.0, 9.0])).tolist() == [0, 0]
