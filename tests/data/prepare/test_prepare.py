"""Preparing folders good and bad: what comes out, and that every loss is named with its reason."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from data_synthetic import (
    captioned,
    encode_text,
    encode_video,
    gray_frames,
    moving_square,
    run,
    shift_flow,
    table,
    tiny_config,
    write,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from videojam.data import dataset
from videojam.data.prepare.prepare import PrepareConfig, prepare, samples_path
from videojam.data.prepare.stages import load_clip
from videojam.data.run_folder import load_null_text
from videojam.data.source import decode
from videojam.motion.color import flow_to_rgb
from videojam.motion.estimators.dis import DIS
from videojam.records.lock import holding


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def bad_folder(folder: Path) -> Path:
    """One of each trouble that users' folders hold, and a captions file."""
    good = moving_square(40)
    names = ["good.mp4", "zero.mp4", "sound.mp4", "one.mp4", "text.mp4", "real.dat", "noext"]
    names += ["cut.mp4", "cut_early.mp4", "cut.mkv", "noise.webm", "odd.mkv", "deep.mp4"]
    names += ["vfr.mkv", "short.mp4", "slow.mp4", "small.mp4", "quiet.mp4", "gone.mp4"]
    names += ["turned.mp4", "broken.avi"]
    write(folder / "good.mp4", good)
    (folder / "zero.mp4").touch()
    audio_only(folder / "sound.mp4")
    write(folder / "one.mp4", good[:1])
    (folder / "text.mp4").write_text("this is a caption, not a video\n")
    write(folder / "real.dat", good, format="mp4")
    write(folder / "noext", good, format="matroska")
    whole = write(folder / "cut.mp4", good).read_bytes()  # the index is at the end and is lost
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    fast = {"crf": "4", "preset": "ultrafast", "bf": "0"}
    with av.open(
        str(folder / "cut_early.mp4"), "w", options={"movflags": "faststart"}
    ) as container:
        stream = container.add_stream("libx264", rate=30, options=fast)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for image in good:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    whole = (folder / "cut_early.mp4").read_bytes()
    (folder / "cut_early.mp4").write_bytes(whole[: len(whole) // 2])
    whole = write(folder / "cut.mkv", good).read_bytes()
    (folder / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    (folder / "noise.webm").write_bytes(np.random.default_rng(0).bytes(5000))
    write(folder / "odd.mkv", moving_square(40, 65, 99), codec="ffv1", pix_fmt="bgr0")
    write(folder / "deep.mp4", good, pix_fmt="yuv420p10le")
    times = np.cumsum(np.random.default_rng(1).integers(20, 45, 40)).tolist()
    write(folder / "vfr.mkv", good, pts=times)
    write(folder / "short.mp4", good[:20])
    write(folder / "slow.mp4", good, fps=8)
    write(folder / "small.mp4", moving_square(40, 16, 24))
    write(folder / "quiet.mp4", good)
    write(folder / "turned.mp4", moving_square(40, 96, 64), rotation=90)
    write(folder / "broken.avi", good)  # B-frames in AVI: timestamps out of order
    write(folder / "uncaptioned.mp4", good)
    with (folder / "captions.jsonl").open("w") as file:
        for name in names:
            caption = "" if name == "quiet.mp4" else f"caption of {name}"
            file.write(json.dumps({"path": name, "caption": caption}) + "\n")
    return folder


REASONS = {
    "zero.mp4": "the file is empty",
    "sound.mp4": "no video stream",
    "one.mp4": "one frame only",
    "text.mp4": "not a readable video",
    "cut.mp4": "not a readable video",
    "cut_early.mp4": "truncated|decoding fails",
    "cut.mkv": "truncated|decoding fails",
    "noise.webm": "not a readable video",
    "short.mp4": "too short: video from 0.00 s to 0.67 s, 9 frames at 10 frames/s need 0.90 s",
    "slow.mp4": "8 frames/s, fewer than 0.99 x 10",
    "small.mp4": "too small: 16 x 24 would be enlarged 2.00 times to 32 x 48",
    "quiet.mp4": "empty caption",
    "gone.mp4": "not in",
    "uncaptioned.mp4": "no row in captions.jsonl",
}


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bad_folder_names_every_loss_and_prepares_the_rest(tmp_path: Path, num_workers) -> None:
    videos = bad_folder(tmp_path / "videos")
    config = tiny_config(
        videos, tmp_path / "out", captions=videos / "captions.jsonl", num_workers=num_workers
    )
    report = run(config)
    said = {item.name: item.reason for item in report.dropped}
    reasons = REASONS | {"broken.avi": "timestamps do not increase"}
    if "broken.avi" not in said:  # an FFmpeg that writes AVI without B-frames
        reasons.pop("broken.avi")
    assert said.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert any(part in said[name] for part in reason.split("|")), (name, said[name])
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {item["name"]: item["reason"] for item in written["dropped"]} == said
    sources = {row["source"] for row in table(tmp_path / "out")}
    assert sources - {"broken.avi"} == {
        "good.mp4", "real.dat", "noext", "odd.mkv", "deep.mp4", "vfr.mkv", "turned.mp4"
    }  # fmt: skip


def one_video(folder: Path, count: int = 40) -> Path:
    captioned(folder / "a.mp4", moving_square(count), "a square moves right")
    return folder


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("background", ["black", "white"])
def test_a_row_holds_exactly_what_the_encoders_made(tmp_path: Path, dtype, background) -> None:
    videos = one_video(tmp_path / "videos")
    config = tiny_config(
        videos, tmp_path / "out", dtype=dtype, background=background, sigma=0.3, model="fake"
    )
    run(config, DIS())
    (sample,) = dataset.read(dataset.reader(samples_path(tmp_path / "out")), [0])
    pts = decode.scan(videos / "a.mp4").pts
    frames = decode.decode(
        videos / "a.mp4", pts[:25:3], lambda image: image.reshape(32, 2, 48, 2, 3)
    )
    clip = torch.from_numpy(
        np.stack([np.rint(image.mean(axis=(1, 3))).astype(np.uint8) for image in frames])
    )
    flow = DIS()(clip)
    rgb = flow_to_rgb(torch.cat([flow, flow[-1:]]), 0.3, background)
    kind = getattr(torch, dtype)
    x = encode_video((clip.float() / 127.5 - 1).permute(3, 0, 1, 2)[None])[0].to(kind)
    d = encode_video((rgb * 2 - 1).permute(1, 0, 2, 3)[None])[0].to(kind)
    # INTER_AREA rounds halves its own way, so one grey level of 255 may differ.
    torch.testing.assert_close(sample.x, x, atol=1 / 127, rtol=0)
    torch.testing.assert_close(sample.d, d, atol=0.1, rtol=0)
    expected = encode_text(["a square moves right"])[0]
    torch.testing.assert_close(sample.text["embedding"], expected["embedding"].to(kind))
    assert torch.equal(sample.text["mask"], expected["mask"]), "whole numbers stay what they are"
    assert sample.x.dtype == sample.d.dtype == sample.text["embedding"].dtype == kind
    assert (sample.key, sample.caption) == ("a.mp4#0000", "a square moves right")
    assert (sample.height, sample.width, sample.frames, sample.fps) == (32, 48, 9, 10.0)
    assert sample.source_fps == pytest.approx(30)
    magnitude = flow.norm(dim=1)
    assert sample.flow_mean_px == pytest.approx(magnitude.mean().item(), rel=0.1)
    limit = 0.3 * np.hypot(32, 48)
    assert sample.flow_saturated == pytest.approx((magnitude >= limit).float().mean().item())
    null = load_null_text(tmp_path / "out")
    torch.testing.assert_close(null["embedding"], torch.zeros(1, 4, dtype=kind))
    facts = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert facts["config"]["dtype"] == dtype and facts["config"]["sigma"] == 0.3
    assert facts["config"]["estimator"] == "DIS(preset='medium')"
    assert facts["config"]["model"] == "fake" and facts["versions"]["torch"]


def test_float32_latents_round_trip_bit_by_bit(tmp_path: Path) -> None:
    special = torch.randn(3, 2, 4, 6, generator=torch.Generator().manual_seed(0)) * 1e-30
    prepare(
        tiny_config(one_video(tmp_path / "videos"), tmp_path / "out", dtype="float32"),
        encode_video=lambda pixels: special[None] * pixels.mean().sign(),
        encode_text=encode_text,
        estimator=shift_flow,
        console=Console(quiet=True),
    )
    (sample,) = dataset.read(dataset.reader(samples_path(tmp_path / "out")), [0])
    assert torch.equal(sample.x.abs(), special.abs())


def test_workers_change_nothing(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for k in range(4):
        captioned(videos / f"{k}.mp4", moving_square(70, seed=k), f"square {k}")
    run(tiny_config(videos, tmp_path / "here"), DIS())
    run(tiny_config(videos, tmp_path / "there", num_workers=2, prefetch=0), DIS())
    assert table(tmp_path / "here") == table(tmp_path / "there")


def test_running_again_adds_nothing_and_new_videos_are_added(tmp_path: Path) -> None:
    videos = one_video(tmp_path / "videos", 60)
    config = tiny_config(videos, tmp_path / "out")
    first = run(config)
    before = table(tmp_path / "out")
    assert first.prepared == len(before) == 2
    again = run(config)
    assert (again.prepared, again.already_there) == (0, 2)
    assert again.seconds["scan"] == 0
    assert table(tmp_path / "out") == before
    captioned(videos / "0.mp4", moving_square(40), "one more")
    assert run(config).prepared == 1
    assert table(tmp_path / "out")[:2] == before


def test_another_configuration_is_refused_by_the_names_of_the_fields(tmp_path: Path) -> None:
    config = tiny_config(one_video(tmp_path / "videos"), tmp_path / "out")
    run(config)
    with pytest.raises(ValueError, match=r"\(fps: 10.0 there, 5.0 now; sigma: 0.15 there"):
        run(tiny_config(config.videos, config.out, fps=5.0, sigma=0.2))
    with pytest.raises(ValueError, match="estimator: "):
        run(config, DIS())
    run(tiny_config(config.videos, config.out, previews=5, commit_samples=7))


def test_a_changed_file_is_refused_by_name(tmp_path: Path) -> None:
    config = tiny_config(one_video(tmp_path / "videos"), tmp_path / "out")
    run(config)
    captioned(config.videos / "a.mp4", moving_square(41, seed=5), "a square moves right")
    with pytest.raises(ValueError, match=r"a.mp4#0000 \(source_bytes\)"):
        run(config)


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:

    config = tiny_config(one_video(tmp_path / "videos"), tmp_path / "out")
    with holding(config.out, "preparation"), pytest.raises(ValueError, match="another preparation"):
        run(config)


def test_nothing_usable_is_an_error_and_leaves_the_report(tmp_path: Path) -> None:
    captioned(tmp_path / "videos" / "a.mp4", moving_square(5), "short")
    captioned(tmp_path / "videos" / "b.mp4", moving_square(6), "short too")
    (tmp_path / "videos" / "c.mp4").touch()
    (tmp_path / "videos" / "c.txt").write_text("empty")
    said = r"no video gives a clip: 2 x too short.*\(a\.mp4\); 1 x the file is empty.*\(c\.mp4\)"
    with pytest.raises(ValueError, match=said):
        run(tiny_config(tmp_path / "videos", tmp_path / "out"))
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {item["name"] for item in written["dropped"]} == {"a.mp4", "b.mp4", "c.mp4"}


def test_holdout(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for k in range(5):
        captioned(videos / f"{k}.mp4", gray_frames(60, 32, 48), f"clip {k}")
    run(tiny_config(videos, tmp_path / "named", holdout=("1.mp4",)))
    rows = table(tmp_path / "named")
    assert {row["source"] for row in rows if row["split"] == "validation"} == {"1.mp4"}
    chosen = []
    for seed in (0, 0, 1, 2):
        out = tmp_path / f"chosen{len(chosen)}"
        run(tiny_config(videos, out, holdout_videos=2, seed=seed))
        chosen.append({row["source"] for row in table(out) if row["split"] == "validation"})
    assert all(len(names) == 2 for names in chosen) and chosen[0] == chosen[1]
    assert chosen[0] != chosen[2] or chosen[0] != chosen[3]
    with pytest.raises(ValueError, match=r"'nobody\.mp4'"):
        run(tiny_config(videos, tmp_path / "wrong", holdout=("nobody.mp4",)))


def test_no_clip_crosses_a_cut(tmp_path: Path) -> None:
    shots = np.concatenate([moving_square(40, seed=1), 255 - moving_square(50, seed=2)])
    captioned(tmp_path / "videos" / "a.mp4", shots, "two shots")
    run(tiny_config(tmp_path / "videos", tmp_path / "out"))
    assert [row["start_s"] for row in table(tmp_path / "out")] == pytest.approx([0, 40 / 30])


def test_ctrl_c_keeps_what_is_encoded_and_says_how_to_go_on(tmp_path: Path) -> None:
    config = tiny_config(
        one_video(tmp_path / "videos", 90), tmp_path / "out", commit_s=99.0, previews=0
    )
    calls = []

    def interrupted(pixels: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode_video(pixels)

    console = Console(record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    with pytest.raises(KeyboardInterrupt):
        prepare(
            config,
            encode_video=interrupted,
            encode_text=encode_text,
            estimator=shift_flow,
            console=console,
        )
    assert "1 of 3 samples" in console.export_text().replace("\n", " ")
    assert len(table(config.out)) == 1
    assert run(config).prepared == 2


def test_latents_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.mp4#0000: not finite as float16"):
        prepare(
            tiny_config(one_video(tmp_path / "videos"), tmp_path / "out"),
            encode_video=lambda pixels: encode_video(pixels) * 1e6,
            encode_text=encode_text,
            estimator=shift_flow,
            console=Console(quiet=True),
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_frames": 1}, "num_frames is 1, expected at least 2"),
        ({"sizes": ((0, 48),)}, "0 x 48, expected a height and a width"),
        ({"sizes": ()}, "sizes is empty"),
        ({"fps": 0.0}, "fps is 0.0, expected a positive"),
        ({"num_workers": -1}, "num_workers is -1, expected at least 0"),
        ({"min_source_fps_ratio": 1.5}, "min_source_fps_ratio"),
    ],
)
def test_configurations_that_make_no_sense(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PrepareConfig(videos=Path("a"), out=Path("b"), **change)


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_damaged_videos_never_stop_a_run(tmp_path: Path, data: st.DataObject) -> None:
    """Random bytes, and a real video with some bytes overwritten: decoded or refused."""
    whole = tmp_path / "whole.mp4"
    if not whole.exists():
        write(whole, moving_square(30))
    content = bytearray(whole.read_bytes())
    if data.draw(st.booleans()):
        content = bytearray(data.draw(st.binary(max_size=300)))
    for _ in range(data.draw(st.integers(0, 20))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    try:
        found = decode.scan(path)
    except decode.VideoError as error:
        assert str(error)
    else:
        assert len(found.pts) >= 1 and len(found.differences) == len(found.pts) - 1


def test_an_unknown_codec_and_hdr_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", moving_square(5))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz9"))
    with pytest.raises(decode.VideoError, match="no decoder for its codec"):
        decode.scan(path)
    write(path, moving_square(5), pix_fmt="yuv420p10le", transfer=16)
    with pytest.raises(decode.VideoError, match=r"high dynamic range \(PQ\)"):
        decode.scan(path)


def test_a_video_that_vanishes_after_the_scan_is_reported(tmp_path: Path) -> None:
    from videojam.data.prepare.stages import ClipTask

    task = ClipTask("a.mp4#0000", tmp_path / "a.mp4", [0, 1], (32, 48), 1.0)
    assert load_clip(task, shift_flow).name == "a.mp4#0000"
