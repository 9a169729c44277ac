"""Control clips beside videos: the same frames in the same cut, kept with samples, or a reason."""

import csv
import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from data_synthetic import (
    encode_text,
    encode_video,
    gray_frames,
    moving_square,
    shift_flow,
    table,
    tiny_config,
    write,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from videojam.data import dataset, loader
from videojam.data.prepare.prepare import join_shards, prepare, samples_path
from videojam.data.prepare.stages import ClipData, ClipTask, ControlTask, load_clip
from videojam.data.source.decode import scan
from videojam.data.source.in_step import pts_in_step
from videojam.data.source.manifest import Dropped, Entry, read_manifest
from videojam.data.source.video_file import VideoError


def encode_control(frames: np.ndarray, mask: np.ndarray | None) -> dict[str, torch.Tensor]:
    """The brightness of every frame, and where the mask is white."""
    white = np.ones(frames.shape[:3], bool) if mask is None else mask
    values = torch.from_numpy(frames[:, 0, 0, 0].copy()).float() / 255
    return {"values": values, "white": torch.from_numpy(white.mean((1, 2)))}


def run(config):
    return prepare(
        config, encode_video=encode_video, encode_text=encode_text, encode_control=encode_control,
        estimator=shift_flow, console=Console(quiet=True),
    )  # fmt: skip


def listed(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "captions.jsonl"
    path.write_text("".join(json.dumps({"caption": "gray", **row}) + "\n" for row in rows))
    return path


def left_half(count: int) -> np.ndarray:
    """A mask that is white on the left."""
    frames = np.zeros((count, 32, 48, 3), np.uint8)
    frames[:, :, :24] = 255
    return frames


# --- which frames ---------------------------------------------------------------------------------


def test_a_control_shows_the_moments_of_its_clip_in_the_same_cut(tmp_path: Path) -> None:
    """In another container, with times that begin elsewhere; a frame's gray says which it is."""
    shown = gray_frames(40, 64, 48, step=6)  # higher than the clip: the middle is cut out
    shown[:, :16] = shown[:, 48:] = 255
    write(tmp_path / "a.mp4", shown)
    pts = [500 + round(k * 1000 / 30) for k in range(40)]
    write(tmp_path / "depth.mkv", 255 - shown, pts=pts)
    upright = np.pad(left_half(40), [(0, 0), (16, 16), (0, 0), (0, 0)])
    write(tmp_path / "mask.mp4", upright)
    found = scan(tmp_path / "a.mp4")
    for first in (0, 7, 15):
        frames = [first + 3 * k for k in range(9)]
        task = ClipTask(
            "a", tmp_path / "a.mp4", [found.pts[k] for k in frames], (32, 48), 1.0,
            control=ControlTask(tmp_path / "depth.mkv", tmp_path / "mask.mp4"),
        )  # fmt: skip
        clip = load_clip(task, shift_flow)
        assert isinstance(clip, ClipData) and clip.control is not None
        assert clip.control_mask is not None and clip.control_mask.dtype == bool
        assert np.abs(clip.frames[:, 0, 0, 0].astype(int) - 6 * np.array(frames)).max() <= 2
        assert np.abs(clip.control.astype(int) + clip.frames - 255).max() <= 4
        assert clip.control_mask[:, :, :23].all() and not clip.control_mask[:, :, 25:].any()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps_ms=st.lists(st.integers(20, 80), min_size=4, max_size=12),
    late_ms=st.integers(0, 3000),
    error=st.integers(-3, 3),
)
def test_frames_of_any_rate_are_found_by_their_times(tmp_path_factory, steps_ms, late_ms, error):
    """Times that vary, another beginning, and a rounding of a few milliseconds."""
    folder = tmp_path_factory.mktemp("step")
    times = np.concatenate([[0], np.cumsum(steps_ms)])
    ours = [int(t) for t in times]
    jitter = np.where(np.arange(len(times)) % 2, error, 0)
    its = [int(t) for t in late_ms + times + jitter]
    shown = gray_frames(len(times), 16, 16)
    video = write(folder / "v.mkv", shown, pts=ours)
    path = write(folder / "c.mkv", shown, pts=its)
    wanted = [0, 1, len(times) // 2, len(times) - 1]
    assert pts_in_step(path, video, [ours[k] for k in wanted]) == [its[k] for k in wanted]
    one_more = write(folder / "more.mkv", gray_frames(len(times) + 1, 16, 16), pts=[*its, 99999])
    with pytest.raises(
        VideoError, match=rf"it has {len(times) + 1} frames, the video {len(times)}"
    ):
        pts_in_step(one_more, video, ours[:1])
    later = write(folder / "later.mkv", shown, pts=[*its[:-1], its[-1] + 25])
    with pytest.raises(VideoError, match=rf"its frame {len(times) - 1} is at .* s, the video's at"):
        pts_in_step(later, video, ours[:1])


def test_clips_that_begin_between_frames_are_in_step(tmp_path: Path) -> None:
    """From the plan on, at rates that do not divide each other: clips start where no frame is."""
    rate, shown = Fraction(30000, 1001), gray_frames(80, 32, 48, step=3)
    write(tmp_path / "a.mp4", shown, fps=rate)
    write(tmp_path / "b.mp4", 255 - shown, fps=rate)
    captions = listed(tmp_path, [{"path": "a.mp4", "control": "b.mp4"}])
    config = tiny_config(
        tmp_path, tmp_path / "out", captions=captions, controls=True, fps=11.0, stride_s=0.31,
        previews=0,
    )  # fmt: skip
    report = run(config)
    assert report.prepared >= 5 and not report.dropped
    batch = loader.load_batch(samples_path(config.out), range(report.prepared))
    for x, kept in zip(batch.x, batch.images or [], strict=True):
        shown_first = float(x[0, 0].mean() + 1) / 2
        assert abs(float(kept["values"][0]) + shown_first - 1) < 2.5 / 255


def test_a_control_that_is_not_in_step_drops_the_clip_with_a_reason(tmp_path: Path) -> None:
    frames = moving_square(40, 32, 48)
    (tmp_path / "text.mp4").write_text("no video")
    write(tmp_path / "short.mp4", frames[:39])
    write(tmp_path / "slow.mp4", frames, fps=Fraction(25))
    write(tmp_path / "half.mp4", frames[:, ::2, ::2])
    write(tmp_path / "good.mp4", frames)
    reasons = {
        "short.mp4": "its control short.mp4: it has 39 frames, the video 40",
        "slow.mp4": "its control slow.mp4: its frame 2 is at 0.080 s, the video's at 0.067 s",
        "half.mp4": "its control half.mp4: it has 16 x 24 pixels (height x width), the video 32 x",
        "text.mp4": "its control text.mp4: not a readable video",
        "gone.mp4": "its control 'gone.mp4', in row 5 of captions.jsonl, is not in",
    }
    rows = []
    for number, control in enumerate([*reasons, "good.mp4"]):
        write(tmp_path / f"{number}.mp4", frames)
        rows.append({"path": f"{number}.mp4", "control": control})
    for name, control, mask in (("6", "good.mp4", "short.mp4"), ("7", None, "good.mp4")):
        write(tmp_path / f"{name}.mp4", frames)
        rows.append({"path": f"{name}.mp4", "control": control, "control_mask": mask})
    captions = listed(tmp_path, rows)
    config = tiny_config(tmp_path, tmp_path / "out", captions=captions, controls=True, previews=0)
    report = run(config)
    assert report.prepared == 1
    said = {item.name.split("#")[0]: item.reason for item in report.dropped}
    for number, reason in enumerate(reasons.values()):
        assert reason in said[f"{number}.mp4"]
    assert "its control_mask short.mp4: it has 39 frames" in said["6.mp4"]
    assert "a control_mask without a control in row 8" in said["7.mp4"]
    assert {*said} == {f"{n}.mp4" for n in (0, 1, 2, 3, 4, 6, 7)}, "controls need no captions"


# --- what is kept ---------------------------------------------------------------------------------


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two with a control, one of them with a mask, and one without."""
    folder = tmp_path / "videos"
    for k in range(3):
        shown = gray_frames(60, 32, 48, step=3) + 10 * k
        write(folder / f"{k}.mp4", shown)
        if k != 1:
            write(folder / "depth" / f"{k}.mp4", 255 - shown)
    write(folder / "mask.mp4", left_half(60))
    listed(folder, [
        {"path": "0.mp4", "control": "depth/0.mp4"},
        {"path": "1.mp4"},
        {"path": "2.mp4", "control": "depth/2.mp4", "control_mask": "mask.mp4"},
    ])  # fmt: skip
    return folder


def config_of(videos: Path, out: Path, **changes: Any):
    return tiny_config(videos, out, captions=videos / "captions.jsonl", controls=True, **changes)


def test_samples_keep_what_their_control_becomes_and_others_nothing(
    tmp_path: Path, videos: Path
) -> None:
    config = config_of(videos, tmp_path / "out")
    report = run(config)
    assert report.prepared == 6 and not report.dropped
    path = samples_path(config.out)
    assert dataset.has_images(path)
    batch = loader.load_batch(path, range(6))
    assert batch.images is not None
    for x, key, kept in zip(batch.x, batch.keys, batch.images, strict=True):
        if key.startswith("1.mp4"):
            assert kept == {}
            continue
        shown = float(x[0, 0].mean() + 1) / 2  # of the clip's first frame
        assert abs(float(kept["values"][0]) + shown - 1) < 0.02, "the control is its negative"
        white = 0.5 if key.startswith("2.mp4") else 1.0
        assert torch.allclose(kept["white"].float(), torch.tensor(white), atol=0.03)
    assert run(config).prepared == 0


def test_shards_and_a_run_that_was_stopped_keep_the_same(tmp_path: Path, videos: Path) -> None:
    """The first rows that are written may all be without a control."""
    run(config_of(videos, tmp_path / "one"))
    for shard in ("2/2", "1/2"):
        run(config_of(videos, tmp_path / "two", shard=shard))
    join_shards(config_of(videos, tmp_path / "two", join=True))
    assert table(tmp_path / "one") == table(tmp_path / "two")
    rows = [json.loads(line) for line in (videos / "captions.jsonl").read_text().splitlines()]
    write(videos / "0.mp4", gray_frames(60, 32, 48, step=3))
    listed(videos, [{**rows[1], "path": "0.mp4"}, rows[2]])
    (videos / "1.mp4").unlink()
    config = config_of(videos, tmp_path / "three", commit_samples=1)
    run(config)
    found = table(config.out)
    assert [row["image"] is not None for row in found] == [True] * 4
    batch = loader.load_batch(samples_path(config.out), [0, 2])
    assert batch.images is not None and batch.images[0] == {} and batch.images[1]


def test_controls_are_priced(tmp_path: Path, videos: Path) -> None:
    sizes = []
    for controls in (True, False):
        config = config_of(videos, tmp_path / "out", dry_run=True)
        config = tiny_config(
            videos, tmp_path / "out", captions=config.captions, dry_run=True, controls=controls
        )
        sizes.append(run(config).estimate["gib"])
    assert sizes[0] > sizes[1]


def test_controls_that_are_named_and_not_asked_for_are_mentioned(
    tmp_path: Path, videos: Path
) -> None:
    """Where the model could take them."""
    config = tiny_config(videos, tmp_path / "out", captions=videos / "captions.jsonl")
    said = []
    for encode in (encode_control, None):
        console = Console(file=io.StringIO(), width=200)
        prepare(
            config, encode_video=encode_video, encode_text=encode_text, encode_control=encode,
            estimator=shift_flow, console=console,
        )  # fmt: skip
        said.append(console.file.getvalue())  # pyright: ignore[reportAttributeAccessIssue]
    assert "names controls; they are kept with --controls alone" in said[0]
    assert "--controls" not in said[1]
    assert not dataset.has_images(samples_path(config.out))


def test_what_cannot_be_is_refused(tmp_path: Path, videos: Path) -> None:
    with pytest.raises(ValueError, match="named in a captions file, and there is none"):
        tiny_config(videos, tmp_path / "out", controls=True)
    config = config_of(videos, tmp_path / "out")
    run(config)
    with pytest.raises(ValueError, match="controls: True there, False now"):
        run(tiny_config(videos, config.out, captions=config.captions))
    listed(videos, [{"path": "0.mp4", "control": " "}, {"path": "1.mp4"}])
    with pytest.raises(ValueError, match="names no control clip of a video"):
        run(config_of(videos, tmp_path / "other"))
    listed(videos, [{"path": "0.mp4", "control": 3}])
    with pytest.raises(ValueError, match=r"row 1 .* control is int, expected text or nothing"):
        run(config_of(videos, tmp_path / "other"))


# --- the captions file ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_captions_files_name_controls(tmp_path: Path, suffix: str) -> None:
    """Relative to the folder as videos are; not read unless asked for."""
    folder = tmp_path / "videos"
    (folder / "depth").mkdir(parents=True)
    for name in ("a.mp4", "b.mp4", "depth/a.mp4", "mask.mp4"):
        (folder / name).write_bytes(b"x")
    rows = [
        {"path": "a.mp4", "caption": "one", "control": "depth\\a.mp4",
         "control_mask": str(folder / "mask.mp4")},
        {"path": "b.mp4", "caption": "two", "control": None, "control_mask": None},
    ]  # fmt: skip
    captions = tmp_path / f"captions{suffix}"
    if suffix == ".jsonl":
        captions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == ".csv":
        with captions.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0]])
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), captions)
    found = read_manifest(folder, captions, controls=True)
    assert found.entries == [
        Entry("a.mp4", "one", (), "depth/a.mp4", "mask.mp4"), Entry("b.mp4", "two")
    ]  # fmt: skip
    assert not found.dropped
    plain = read_manifest(folder, captions)
    assert plain.entries == [Entry("a.mp4", "one"), Entry("b.mp4", "two")]
    assert {item.name for item in plain.dropped} == {"depth/a.mp4", "mask.mp4"}


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(control=st.text(max_size=12), mask=st.text(max_size=12))
def test_any_name_of_a_control_is_found_or_given_as_the_reason(tmp_path, control, mask):
    (tmp_path / "a.mp4").write_bytes(b"x")
    captions = listed(tmp_path, [{"path": "a.mp4", "control": control, "control_mask": mask}])
    found = read_manifest(tmp_path, captions, controls=True)
    if control.strip() or mask.strip():
        assert not found.entries and [item.name for item in found.dropped] == ["a.mp4"]
        assert "control" in found.dropped[0].reason
    else:
        assert found == ([Entry("a.mp4", "gray")], [])
    assert all(isinstance(item, Dropped) for item in found.dropped)
