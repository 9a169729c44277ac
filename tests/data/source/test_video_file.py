"""Files as phones, editors and downloads leave them: whole ones are taken, others say why not."""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from data_synthetic import gray_frames, moving_square, write

from videojam.data.source.decode import Reading, decode, scan
from videojam.data.source.video_file import VideoError

ONE_GROUP = {"crf": "4", "preset": "ultrafast", "g": "1000", "bf": "0"}


def levels(path: Path, reading: Reading = Reading()) -> list[int]:
    """The gray level in the middle of every frame that the scan found."""
    images = decode(path, scan(path, reading).pts, lambda image: image, reading)
    return [int(image[image.shape[0] // 2, image.shape[1] // 2, 1]) for image in images]


def stream_copy(source: Path, target: Path, from_s: float, to_s: float = 1e9) -> Path:
    """Packets without re-encoding, as editors trim: an edit list hides what is before from_s."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        stream = reading.streams.video[0]
        copy = writing.add_stream_from_template(stream)
        for packet in reading.demux(stream):
            if packet.dts is None or packet.pts * packet.time_base >= to_s:
                continue
            packet.pts -= int(from_s / packet.time_base)
            packet.dts -= int(from_s / packet.time_base)
            packet.stream = copy
            writing.mux(packet)
    return target


def with_sound(path: Path, frames: np.ndarray, sound_s: float, fps: int = 20) -> Path:
    """A video whose sound lasts sound_s."""
    audio = {".webm": ("libopus", 48000), ".mp4": ("aac", 48000), ".mkv": ("aac", 48000)}
    codec, rate = audio[path.suffix]
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libvpx-vp9" if path.suffix == ".webm" else "libx264", rate=fps
        )
        video.height, video.width, video.pix_fmt = *frames.shape[1:3], "yuv420p"
        sound = container.add_stream(codec, rate=rate)
        for image in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode())
        for at in range(0, int(sound_s * rate), 960):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = rate, at
            silence.time_base = Fraction(1, rate)
            container.mux(sound.encode(silence))
        container.mux(sound.encode())
    return path


def test_what_an_edit_list_hides_is_not_lost(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", gray_frames(120, step=2), fps=20, options=ONE_GROUP)
    trimmed = stream_copy(whole, tmp_path / "trim.mp4", from_s=3.0)
    assert levels(trimmed) == pytest.approx(list(range(120, 240, 2)), abs=2)


def test_an_edit_that_ends_early_is_whole(tmp_path: Path) -> None:
    """The duration in the edit list is halved, as a phone trims the end."""
    path = write(tmp_path / "end.mp4", gray_frames(120, step=2), fps=20, options=ONE_GROUP)
    content = bytearray(path.read_bytes())
    at = content.find(b"elst") + 4
    assert at > 3 and struct.unpack(">I", content[at + 4 : at + 8])[0] == 1
    (length,) = struct.unpack(">I", content[at + 8 : at + 12])
    content[at + 8 : at + 12] = struct.pack(">I", length // 2)
    path.write_bytes(content)
    assert 58 <= len(scan(path).pts) <= 62


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4"])
@pytest.mark.parametrize("sound_s", [1.0, 6.0])
def test_sound_of_another_length_says_nothing_about_the_picture(
    tmp_path: Path, suffix: str, sound_s: float
) -> None:
    path = with_sound(tmp_path / f"a{suffix}", moving_square(60), sound_s)
    assert len(scan(path).pts) == 60


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_last_picture_that_stays_is_not_a_cut_file(tmp_path: Path, suffix: str) -> None:
    """Pictures 2 s apart, of which the last one is shown for most of the time."""
    times = [0, 2000, 4000]
    path = write(tmp_path / f"a{suffix}", gray_frames(3), fps=1, pts=times)
    assert np.diff(scan(path).times_s).tolist() == pytest.approx([2, 2])


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}


def container_with(path: Path, frames: np.ndarray, options: dict[str, str], start: int = 0) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=20, options={"g": "10", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for k, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = start + k, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_fragmented_late_and_early_starts_are_whole(tmp_path: Path) -> None:
    frames = moving_square(60)
    assert len(scan(container_with(tmp_path / "f.mp4", frames, FRAGMENTS)).pts) == 60
    for start in (200, -15):
        for name in ("late.mp4", "late.mkv", "late.ts"):
            path = container_with(tmp_path / name, frames, {}, start)
            found = scan(path)
            assert found.times_s[0] == 0 and len(found.pts) >= 60 - max(0, -start)
            assert len(decode(path, found.pts[5:20], lambda image: image)) == 15


@pytest.mark.parametrize("share", [0.3, 0.6, 0.85])
@pytest.mark.parametrize("kind", ["faststart.mp4", "fragments.mp4", "a.mkv", "a.avi", "a.flv"])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    options = {"faststart.mp4": {"movflags": "faststart"}, "fragments.mp4": FRAGMENTS}
    path = container_with(tmp_path / kind, moving_square(60), options.get(kind, {}))
    assert len(scan(path).pts) == 60
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    if kind == "fragments.mp4":  # fragments that are not there are promised nowhere
        try:
            assert len(scan(path).pts) >= 0.8 * share * 60
        except VideoError as error:
            assert "truncated" in str(error) or "decoding fails" in str(error)
        return
    with pytest.raises(VideoError, match=r"truncated|decoding fails"):
        scan(path)


@pytest.mark.parametrize("name", ["two.mkv", "cover.mp4", "cover.mov"])
def test_a_cover_or_a_smaller_track_in_front_is_not_the_video(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        small = container.add_stream("mjpeg", rate=20)
        small.height, small.width, small.pix_fmt = 36, 64, "yuvj420p"
        small.disposition = av.stream.Disposition.attached_pic
        large = container.add_stream("libx264", rate=20)
        large.height, large.width, large.pix_fmt = 64, 96, "yuv420p"
        cover = av.VideoFrame.from_ndarray(np.zeros((36, 64, 3), np.uint8), format="rgb24")
        container.mux(small.encode(cover))
        for image in moving_square(40):
            container.mux(large.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(large.encode())
    found = scan(path)
    assert (found.height, found.width, len(found.pts)) == (64, 96, 40)


def four_corners(height: int = 64, width: int = 96) -> np.ndarray:
    """Brightness tells the corners apart: 40, 90 / 140, 220."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = 40, 90
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = 140, 220
    return np.repeat(image[None], 6, axis=0)


ONE = 1 << 16
TURNS: list[tuple[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray]]] = [
    ((ONE, 0, 0, ONE), lambda image: image),
    ((-ONE, 0, 0, ONE), np.fliplr),
    ((ONE, 0, 0, -ONE), np.flipud),
    ((-ONE, 0, 0, -ONE), lambda image: np.rot90(image, 2)),
    ((0, ONE, -ONE, 0), lambda image: np.rot90(image, -1)),  # a quarter turn clockwise
    ((0, -ONE, ONE, 0), lambda image: np.rot90(image, 1)),
    ((0, ONE, ONE, 0), lambda image: image.swapaxes(0, 1)),
    ((0, -ONE, -ONE, 0), lambda image: np.rot90(image, 2).swapaxes(0, 1)),
]


def with_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Overwrites the matrix in the track header: a, b, u, c, d, v, x, y, w."""
    content = bytearray(path.read_bytes())
    at = content.find(b"tkhd") + 4 + 40
    a, b, c, d = matrix
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("matrix", "expected"), TURNS)
def test_the_whole_display_matrix_is_honoured(tmp_path: Path, matrix, expected) -> None:
    frames = four_corners()
    path = with_matrix(write(tmp_path / "a.mp4", frames), matrix)
    found = scan(path)
    shown = expected(frames[0])
    assert (found.height, found.width) == shown.shape[:2]
    image = decode(path, found.pts[:1], lambda image: image)[0]
    assert np.abs(image.astype(int) - shown.astype(int)).mean() < 4


def test_a_slanted_display_matrix_is_refused(tmp_path: Path) -> None:
    half = int(ONE * 0.7071)
    path = with_matrix(write(tmp_path / "a.mp4", four_corners()), (half, half, -half, half))
    with pytest.raises(VideoError, match=r"display matrix \(0.707, 0.707, -0.707, 0.707\)"):
        scan(path)


@pytest.mark.parametrize(
    ("height", "width", "tag", "expected"),
    [(720, 1280, None, 1), (480, 640, None, 5), (1280, 720, None, 1), (480, 640, 1, 1),
     (720, 1280, 5, 5), (576, 1278, None, 5), (578, 1024, None, 1), (400, 1280, None, 1)],
)  # fmt: skip
def test_untagged_colour_is_taken_by_size_and_tags_are_believed(
    tmp_path: Path, height: int, width: int, tag: int | None, expected: int
) -> None:
    colour = np.array([200, 40, 40], np.uint8)
    image = av.VideoFrame.from_ndarray(np.full((height, width, 3), colour), format="rgb24")
    image = image.reformat(format="yuv420p", dst_colorspace=expected)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.colorspace = image.colorspace = 2 if tag is None else tag
        for k in range(2):
            image.pts = k
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    middle = decode(path, scan(path).pts[:1], lambda image: image)[0][100, 100]
    assert np.abs(middle.astype(int) - colour).max() <= 2


def interlaced(path: Path, tff: bool = True, progressive: bool = False) -> Path:
    """50 fields a second of a bar that moves 8 pixels per field, woven into 25 frames."""
    frames = np.full((30, 64, 192, 3), 30, np.uint8)
    for k in range(len(frames)):
        for field in (0, 1):
            left = (8 * (2 * k + (0 if progressive else field ^ (not tff)))) % 160
            frames[k, field::2, left : left + 24] = 220
    flags = {"flags": "+ildct+ilme", "x264-params": f"{'tff' if tff else 'bff'}=1"}
    return write(path, frames, fps=25, options=ONE_GROUP | flags)


def combing(path: Path, reading: Reading) -> float:
    """How much more neighbouring rows differ than every other row."""
    images = decode(path, scan(path, reading).pts[5:25], lambda image: image[:, :, 1], reading)
    rows = np.stack(images).astype(float)
    return np.abs(np.diff(rows, axis=1)).mean() - np.abs(rows[:, 2:] - rows[:, :-2]).mean()


@pytest.mark.parametrize("tff", [True, False])
def test_interlaced_files_are_refused_or_made_whole(tmp_path: Path, tff: bool) -> None:
    path = interlaced(tmp_path / "i.mp4", tff)
    with pytest.raises(VideoError, match=r"interlaced \(frame 0\).*--interlaced deinterlace"):
        scan(path)
    reading = Reading(deinterlace=True)
    pts = scan(path, reading).pts
    assert len(pts) == 30 and set(np.diff(pts)) == {pts[1] - pts[0]}
    assert combing(path, reading) < 1
    straight = decode(path, pts[:20], lambda image: image.copy(), reading)
    later = decode(path, pts[10:20], lambda image: image.copy(), reading)
    assert all(np.array_equal(a, b) for a, b in zip(straight[10:], later, strict=True))


def test_deinterlacing_leaves_progressive_files_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "p.mp4", moving_square(20))
    plain, filtered = levels(path), levels(path, Reading(deinterlace=True))
    assert plain == filtered


@pytest.mark.parametrize(("background", "expected"), [(0, 0), (255, 255)])
@pytest.mark.parametrize("kind", ["a.mov", "a.apng"])
def test_transparent_pixels_show_the_background(
    tmp_path: Path, kind: str, background: int, expected: int
) -> None:
    codec = {"a.mov": "png", "a.apng": "apng"}[kind]
    frames = np.zeros((6, 32, 48, 4), np.uint8)
    frames[..., :3] = (200, 40, 40)
    frames[:, :, 24:, 3] = 255
    for k in range(6):
        frames[k, k, 24:, :3] = 255
    path = tmp_path / kind
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "rgba"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgba")))
        container.mux(stream.encode())
    reading = Reading(background=background)
    found = scan(path, reading)
    image = decode(path, found.pts[-1:], lambda image: image, reading)[0]
    assert image[20, 5].tolist() == [expected] * 3
    assert image[20, 40].tolist() == [200, 40, 40]


def test_half_transparent_pixels_are_mixed(tmp_path: Path) -> None:
    from videojam.data.source.picture import to_rgb

    frame = av.VideoFrame.from_ndarray(np.full((4, 4, 4), (200, 100, 0, 64), np.uint8), "rgba")
    mixed = to_rgb(frame, 255)[0, 0]
    exact = np.array([200, 100, 0]) * 64 / 255 + 255 * (1 - 64 / 255)
    assert np.abs(mixed - exact).max() <= 0.5


def test_vp9_with_a_second_layer_of_transparency_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuva420p"
        for image in moving_square(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match="transparency"):
        scan(path)


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.ffconcat", "list.txt", "a.sdp"])
def test_no_file_makes_another_be_opened(tmp_path: Path, name: str) -> None:
    secret = write(tmp_path / "elsewhere" / "secret.mp4", moving_square(20))
    texts = {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile '{secret}'\n",
        "a.sdp": "v=0\nm=video 5004 RTP/AVP 96\nc=IN IP4 127.0.0.1\na=rtpmap:96 H264/90000\n",
    }
    texts["list.mp4"] = texts["list.txt"] = texts["list.m3u8"]
    (tmp_path / name).write_text(texts[name])
    with pytest.raises(VideoError, match=r"not in a video format|not a readable video"):
        scan(tmp_path / name)


def test_a_name_that_looks_like_a_protocol_is_a_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plain.mp4", moving_square(5))
    Path("plain.mp4").rename("concat:a|b.mp4")
    assert len(scan(Path("concat:a|b.mp4")).pts) == 5


def test_a_picture_that_changes_its_size_is_refused(tmp_path: Path) -> None:
    """Two transport streams, one behind the other."""
    one, two = tmp_path / "one.ts", tmp_path / "two.ts"
    container_with(one, moving_square(20), {})
    container_with(two, moving_square(20, 96, 64), {}, start=20)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    with pytest.raises(VideoError, match=r"changes its size at frame \d+, from 64 x 96 to 96 x 64"):
        scan(both)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.mp4").mkdir()
    for name, reason in (("gone.mp4", "no such file"), ("folder.mp4", "not a file")):
        with pytest.raises(VideoError, match=reason):
            scan(tmp_path / name)
