"""More files of the kinds that phones, cameras, editors and downloads leave."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from data_synthetic import gray_frames, moving_square, write
from PIL import Image

from videojam.data.source.decode import Reading, _decode_from, decode, scan
from videojam.data.source.video_file import VideoError

FIELDS = {"crf": "16", "preset": "ultrafast"}
FILM = {0: (0, 0), 1: (1, 1), 2: (1, 2), 3: (2, 3), 4: (3, 3)}  # 4 pictures in 5 frames


def film(frame: int, field: int) -> int:
    return FILM[frame % 5][field] + 4 * (frame // 5)


def halves(frame: int, field: int) -> float:
    return frame + field / 2


def whole(frame: int, field: int) -> int:
    return frame


def woven(path: Path, moment: Any, noise: int = 0, **options: Any) -> Path:
    """A bar that moves 6 pixels a picture; each field shows it at its own moment."""
    frames = np.full((40, 128, 192, 3), 30, np.uint8)
    for k in range(len(frames)):
        for field in (0, 1):
            left = int(6 * moment(k, field)) % 150
            frames[k, 20 + field : 100 : 2, left : left + 30] = 200
    grain = np.random.default_rng(0).integers(-noise, noise + 1, frames.shape)
    frames = (frames + grain).clip(0, 255).astype(np.uint8)
    return write(path, frames, fps=25, options=FIELDS, **options)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize(("moment", "noise"), [(halves, 0), (halves, 12), (film, 0)])
def test_fields_of_two_moments_are_seen_without_a_flag(
    tmp_path: Path, pix_fmt: str, moment: Any, noise: int
) -> None:
    path = woven(tmp_path / "a.mp4", moment, noise, pix_fmt=pix_fmt)
    for reading in (Reading(), Reading(deinterlace=True)):  # the filter goes by the flag
        with pytest.raises(VideoError, match=r"combed: in \d of 5 frames looked at.*bwdif"):
            scan(path, reading)


@pytest.mark.parametrize("noise", [0, 25])
def test_whole_pictures_are_not_combed(tmp_path: Path, noise: int) -> None:
    assert len(scan(woven(tmp_path / "a.mp4", whole, noise)).pts) == 40


def test_what_only_looks_combed_is_taken(tmp_path: Path) -> None:
    """A thing moves over still stripes of one line, and fine texture pans."""
    stripes = np.zeros((48, 64, 96, 3), np.uint8)
    stripes[:, ::2] = 150
    texture = np.random.default_rng(0).integers(0, 255, (64, 300, 3), np.uint8)
    for k in range(48):
        stripes[k, 10:50, 2 * k : 2 * k + 20] = 128
    for direction in (0, 1):
        panned = np.stack([np.roll(texture, k * direction, 0)[:, k : k + 96] for k in range(48)])
        assert len(scan(write(tmp_path / f"{direction}.mp4", panned)).pts) == 48
    assert len(scan(write(tmp_path / "stripes.mp4", stripes)).pts) == 48


def test_reordered_pictures_of_an_avi_come_in_order(tmp_path: Path) -> None:
    """AVI numbers frames as they are decoded; H.264 shows them in another order."""
    path, frames = tmp_path / "a.avi", moving_square(60, 64, 192)
    write(path, frames, fps=20, options={"crf": "4", "g": "15", "bf": "3", "b_strategy": "0"})
    with av.open(str(path)) as container:  # else there is nothing to put in order
        numbers = [frame.pts for frame in container.decode(video=0)]
        assert numbers != sorted(numbers)
    found = scan(path)
    assert np.diff(found.times_s).tolist() == pytest.approx([0.05] * 59)
    for first, behind in ((0, 60), (20, 40), (55, 60)):
        images = np.stack(decode(path, found.pts[first:behind], lambda image: image.astype(int)))
        nearest = [int(np.abs(frames - image).mean(axis=(1, 2, 3)).argmin()) for image in images]
        assert nearest == [*range(first, behind)]
    # After a seek a decoder may not know yet how far pictures are moved.
    assert not _decode_from(path, found.pts[20:40], np.copy, Reading(), back_s=0.0)


CONTAINERS: list[tuple[str, str, dict[str, Any]]] = [
    ("a.mov", "libx264", {"max_b_frames": 2}),
    ("a.ts", "libx264", {"max_b_frames": 3}),
    ("a.m2ts", "libx264", {"max_b_frames": 3}),
    ("a.avi", "mpeg4", {"max_b_frames": 2}),
    ("mjpeg.avi", "mjpeg", {"pix_fmt": "yuvj420p"}),
    ("a.mpg", "mpeg2video", {"max_b_frames": 2}),
    ("a.vob", "mpeg2video", {"max_b_frames": 2}),
    ("a.m2v", "mpeg2video", {}),
    ("a.mxf", "mpeg2video", {}),
    ("a.wmv", "wmv2", {}),
    ("a.flv", "flv", {}),
    ("a.3gp", "mpeg4", {}),
    ("a.ismv", "libx264", {}),
    ("a.webm", "libvpx", {"options": {"auto-alt-ref": "1", "lag-in-frames": "16"}}),
    ("a.ivf", "libvpx-vp9", {"options": {"auto-alt-ref": "1", "lag-in-frames": "16"}}),
    ("a.mkv", "ffv1", {}),
    ("a.gif", "gif", {"pix_fmt": "rgb8"}),
    ("every.mp4", "libx264", {"muxing": {"movflags": "frag_every_frame+empty_moov"}}),
    ("dash.mp4", "libx264", {"muxing": {"movflags": "dash+frag_keyframe+empty_moov"}}),
]


@pytest.mark.parametrize(("name", "codec", "how"), CONTAINERS, ids=[c[0] for c in CONTAINERS])
def test_every_container_gives_all_its_frames(
    tmp_path: Path, name: str, codec: str, how: dict[str, Any]
) -> None:
    how = dict(how)
    pix_fmt, muxing = how.pop("pix_fmt", "yuv420p"), how.pop("muxing", {})
    frames = gray_frames(40, step=6)
    with av.open(str(tmp_path / name), "w", options=muxing) as container:
        stream = container.add_stream(codec, rate=25, options=how.pop("options", {"qscale": "2"}))
        stream.height, stream.width, stream.pix_fmt = 32, 48, pix_fmt
        for option, value in how.items():
            setattr(stream.codec_context, option, value)
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    found = scan(tmp_path / name)
    assert len(found.pts) == 40
    assert np.diff(found.times_s).tolist() == pytest.approx([0.04] * 39, abs=2e-3)
    images = decode(tmp_path / name, found.pts[20:], lambda image: image)
    levels = np.array([image[16, 24, 1] for image in images], dtype=int)
    assert (
        np.abs(levels - frames[20:, 16, 24, 1]).max()
        <= (
            36 if codec == "gif" else 20  # three bits a channel
        )
        and (np.diff(levels) >= 0).all()
    )


@pytest.mark.parametrize("gap", [3, 15])
def test_an_avi_with_empty_frames_is_whole(tmp_path: Path, gap: int) -> None:
    """Screen recorders write empty chunks where nothing changed."""
    times = [k if k < 20 else k + gap for k in range(40)]
    path = write(
        tmp_path / "a.avi", gray_frames(40, step=6), fps=25, pts=times,
        time_base=Fraction(1, 25), codec="mpeg4",
    )  # fmt: skip
    steps = np.diff(scan(path).times_s)
    assert len(steps) == 39 and steps[19] == pytest.approx((gap + 1) / 25)


@pytest.mark.parametrize("name", ["a.mkv", "a.mov"])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turn_is_honoured_in_other_containers(tmp_path: Path, name: str, degrees: int) -> None:
    frames = np.zeros((4, 64, 96, 3), np.uint8)
    frames[:, :32, :48] = 200  # the upper left
    path = write(tmp_path / name, frames, rotation=degrees)
    found = scan(path)
    (image,) = decode(path, found.pts[:1], lambda image: image)
    expected = np.rot90(frames[0], degrees // 90)  # FFmpeg counts against the clock
    assert image.shape == expected.shape and (found.height, found.width) == expected.shape[:2]
    assert np.abs(image.astype(int) - expected).mean() < 6


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov"])
def test_pixels_that_are_not_square(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        for image in moving_square(6, 64, 48):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    assert scan(path).pixel_aspect == pytest.approx(1.5)


@pytest.mark.parametrize(("background", "expected"), [(0, 0), (255, 255)])
def test_transparent_gifs_show_the_background(
    tmp_path: Path, background: int, expected: int
) -> None:
    images = []
    for k in range(12):
        image = np.zeros((32, 48, 4), np.uint8)
        image[:, 24:], image[k, 24:] = (200, 40, 40, 255), 255
        images.append(Image.fromarray(image))
    path = tmp_path / "a.gif"
    images[0].save(path, save_all=True, append_images=images[1:], duration=100, disposal=2)
    reading = Reading(background=background)
    (image,) = decode(path, scan(path, reading).pts[-1:], lambda image: image, reading)
    assert image[20, 5].tolist() == [expected] * 3
    assert image[20, 40].tolist() == [200, 40, 40]


DISGUISES = {
    "reference.mp4": "[Reference]\nRef1=http://127.0.0.1/a\n",
    "rtsp.mp4": "RTSPtext\r\nrtsp://127.0.0.1/x\r\n",
    "dash.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    '<Period><AdaptationSet><Representation id="1" bandwidth="1"><BaseURL>SECRET</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "sub.avi": "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 0\n",
    "list.mkv": "file 'SECRET'\n",
    "smil.mp4": '<smil><body><video src="SECRET"/></body></smil>',
    "seq%03d.png": "",  # a pattern that means seq000.png
}


@pytest.mark.parametrize("name", DISGUISES)
def test_no_other_way_to_name_a_file_is_followed(tmp_path: Path, name: str) -> None:
    secret = write(tmp_path / "secret.mp4", moving_square(5))
    for k in range(3):
        Image.fromarray(moving_square(3)[k]).save(tmp_path / f"seq{k:03d}.png")
    text = DISGUISES[name].replace("SECRET", str(secret)).encode()
    (tmp_path / name).write_bytes(text or (tmp_path / "seq000.png").read_bytes())
    with pytest.raises(VideoError, match=r"not in a video format|not a readable video"):
        scan(tmp_path / name)


def test_names_are_only_names(tmp_path: Path) -> None:
    content = write(tmp_path / "a.mp4", moving_square(5)).read_bytes()
    names = ["seq%03d.mp4", "a?b#c.mp4", "-dash.mp4", "a b;c|d,e.mp4", "new\nline.mp4", "tab\t.mp4"]
    names += ["film \U0001f3ac.mp4", "trailing. ", "back\\slash.mp4", "http:x.mp4", "'q\".mp4"]
    for name in names:
        (tmp_path / name).write_bytes(content)
        assert len(scan(tmp_path / name).pts) == 5, name
