"""Films: both clips at every moment, with their own times, and nothing that tells systems apart."""

from bisect import bisect_right

import av
import numpy as np
import pytest
import torch
from small_study import numbered_clip, read_number

from videojam.media.video import write_video
from videojam.study.film import frozen, intact, merged_times, shown_at, shuffled, write_film


def clip_file(folder, name, frames, fps, **options):
    write_video(folder / name, numbered_clip(frames, **options), float(fps))
    return intact(folder / name)


def numbers(path, film):
    """(number on the left, on the right, milliseconds) of every frame of a film."""
    with av.open(str(path)) as container:
        return [
            (read_number(pixels[:, : film.width]), read_number(pixels[:, film.width :]),
             1000 * float(frame.pts * frame.time_base))
            for frame in container.decode(video=0)
            for pixels in [frame.to_ndarray(format="rgb24")]
        ]  # fmt: skip


@pytest.mark.parametrize(
    "first, second",
    [((12, 16), (12, 16)), ((12, 16), (30, 24)), ((20, 25), (9, 8)), ((1, 8), (5, 8))],
)
def test_every_frame_shows_both_clips_at_its_moment(tmp_path, first, second):
    sources = [clip_file(tmp_path, f"{k}.mp4", *each) for k, each in enumerate((first, second))]
    film = write_film(tmp_path / "film.mp4", "film", *sources)
    assert (film.height, film.width) == (48, 112)
    shown = numbers(tmp_path / "film.mp4", film)
    assert len(shown) == len(film.times_ms) - 1
    for (left, right, moment), stated in zip(shown, film.times_ms, strict=False):
        assert moment == pytest.approx(stated, abs=0.02)
        for number, (frames, fps) in ((left, first), (right, second)):
            starts = [1000 * k / fps - 0.1 for k in range(frames)]
            assert number == bisect_right(starts, moment) - 1  # the last one holds
    # No moment at which either changes is left out, and there is no other.
    changes = {round(1000 * k / fps) for frames, fps in (first, second) for k in range(frames)}
    assert {round(moment) for _, _, moment in shown} == changes
    assert film.times_ms[-1] == pytest.approx(
        max(1000 * n / fps if n > 1 else 1000 for n, fps in (first, second)), abs=1
    )


def test_the_file_lasts_to_the_end_of_its_last_frame(tmp_path):
    source = clip_file(tmp_path, "a.mp4", 8, 4)
    film = write_film(tmp_path / "film.mp4", "film", source, source)
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert container.duration / 1000 == pytest.approx(film.times_ms[-1], abs=2)
        assert film.times_ms[-1] == pytest.approx(2000)


def test_spoilt_copies(tmp_path):
    clip = clip_file(tmp_path, "a.mp4", 20, 16)
    film = write_film(tmp_path / "film.mp4", "film", frozen(clip), shuffled(clip, 3))
    shown = numbers(tmp_path / "film.mp4", film)
    assert {left for left, _, _ in shown} == {10}
    order = [right for _, right, _ in shown]
    assert sorted(order) == list(range(20))
    assert order != sorted(order)
    assert shuffled(clip, 3) == shuffled(clip, 3) != shuffled(clip, 4)


def test_clips_of_different_sizes_are_fitted_into_one_box(tmp_path):
    wide = clip_file(tmp_path, "wide.mp4", 3, 8)
    write_video(tmp_path / "tall.mp4", torch.full((3, 96, 40, 3), 200, dtype=torch.uint8), 8.0)
    film = write_film(tmp_path / "film.mp4", "film", wide, intact(tmp_path / "tall.mp4"))
    assert (film.height, film.width) == (96, 224)
    with av.open(str(tmp_path / "film.mp4")) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    right = frame[:, film.width :].mean(-1)
    assert right[48, 112] == pytest.approx(200, abs=4)
    assert right[:, :80].max() < 20  # black beside it
    assert write_film(tmp_path / "b.mp4", "b", wide, wide, max_height=32).height == 32


def test_no_name_and_no_tag_is_in_the_file(tmp_path):
    with av.open(str(tmp_path / "tagged.mp4"), "w") as container:
        container.metadata["title"] = "secret-system"
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in (0, 99, 200):
            image = np.full((48, 64, 3), shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    source = intact(tmp_path / "tagged.mp4")
    write_film(tmp_path / "film.mp4", "film", source, source)
    content = (tmp_path / "film.mp4").read_bytes()
    assert b"secret-system" in (tmp_path / "tagged.mp4").read_bytes()
    assert b"secret" not in content
    assert b"tagged" not in content


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"a\.mp4 cannot be shown"):
        intact(tmp_path / "a.mp4")


def test_real_clips_of_different_rates(real_clips, tmp_path):
    first, second = (intact(real_clips / name) for name in ("sign_eat.mkv", "sign_want.mkv"))
    film = write_film(tmp_path / "film.mp4", "film", first, second, max_height=120)
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(film.times_ms) - 1
    assert first.motion > 0.5


def test_merged_times_are_those_of_both():
    assert merged_times([0.0, 0.1, 0.2], [0.0, 0.101, 0.25]) == [0.0, 0.1, 0.2, 0.25]
    assert shown_at([0.0, 0.1, 0.2], [0.0, 0.05, 0.1, 0.19, 0.3]) == [0, 0, 1, 1, 2]
