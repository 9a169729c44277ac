"""What a dataset keeps beside latents: of images, and captions that say how much a clip moves."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

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
)
from rich.console import Console

from videojam.data import dataset, loader
from videojam.data.captions import texts_path
from videojam.data.prepare.prepare import join_shards, prepare, samples_path
from videojam.motion.strength import LEVELS, motion_strength

_MARKED = torch.tensor([True])


def encode_image(frames: np.ndarray, caption: str) -> dict[str, torch.Tensor]:
    """The first frame itself, and something of another type."""
    return {"channels": torch.from_numpy(frames[0].copy()).float() / 255, "marked": _MARKED}


def run_with_images(config):
    return prepare(
        config, encode_video=encode_video, encode_text=encode_text, encode_image=encode_image,
        estimator=shift_flow, console=Console(quiet=True),
    )  # fmt: skip


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for k in range(3):
        captioned(tmp_path / "videos" / f"{k}.mp4", moving_square(60, seed=k), f"square {k}")
    return tmp_path / "videos"


def test_a_row_keeps_what_its_first_frame_becomes(tmp_path: Path, videos: Path) -> None:
    config = tiny_config(videos, tmp_path / "out")
    run_with_images(config)
    path = samples_path(config.out)
    assert dataset.has_images(path)
    batch = loader.load_batch(path, [2, 0])
    assert batch.images is not None
    for x, image in zip(batch.x, batch.images, strict=True):
        assert torch.equal(image["marked"], _MARKED)
        pixels = image["channels"].permute(2, 0, 1)[None] * 2 - 1
        pooled = torch.nn.functional.avg_pool2d(pixels, 8)[0]
        assert torch.allclose(x[:, 0], pooled, atol=2e-3), "of this clip's first frame"
    assert run_with_images(config).prepared == 0


def test_captions_that_are_read_with_an_image(tmp_path: Path, videos: Path) -> None:
    """Each with its own clip's, tagged where captions are; several are refused, and corrections."""
    read: list[str] = []

    def encode_both(frames: np.ndarray, caption: str) -> dict[str, torch.Tensor]:
        read.append(caption)
        return encode_image(frames, caption)

    def both(config):
        return prepare(
            config, encode_video=encode_video, encode_text=encode_text, encode_image=encode_both,
            text_with_image=True, estimator=shift_flow, console=Console(quiet=True),
        )  # fmt: skip

    both(tiny_config(videos, tmp_path / "out"))
    assert {*read} == {f"square {k}" for k in range(3)} and len(read) >= 3
    read.clear()
    config = tiny_config(videos, tmp_path / "tagged", motion_strength=True)
    both(config)
    opened = dataset.reader(samples_path(config.out))
    captions = [sample.caption for sample in dataset.read(opened, range(len(read)))]
    assert sorted(read) == sorted(captions) and "motion strength" in read[0]
    (videos / "1.txt").write_text("another square")
    with pytest.raises(ValueError, match=r"the caption of 1\.mp4 is another than before"):
        both(tiny_config(videos, tmp_path / "out"))
    listed = tmp_path / "captions.jsonl"
    listed.write_text('{"path": "1.mp4", "caption": ["one", "two"]}\n')
    with pytest.raises(ValueError, match=r"1\.mp4 has several captions"):
        both(tiny_config(videos, tmp_path / "several", captions=listed))


def test_shards_and_compaction_keep_images(tmp_path: Path, videos: Path) -> None:
    run_with_images(tiny_config(videos, tmp_path / "one"))
    for shard in ("2/2", "1/2"):
        run_with_images(tiny_config(videos, tmp_path / "two", shard=shard))
    join_shards(tiny_config(videos, tmp_path / "two", join=True))
    assert table(tmp_path / "one") == table(tmp_path / "two")
    assert table(tmp_path / "one")[0]["image"] is not None


def test_a_damaged_image_is_named(tmp_path: Path, videos: Path) -> None:
    config = tiny_config(videos, tmp_path / "out")
    run_with_images(config)
    opened = dataset.reader(samples_path(config.out))
    row = opened.samples.take([0]).to_pylist()[0]
    row["image_checksum"] += 1
    with pytest.raises(ValueError, match=r"the image of 0\.mp4#0000 are not what was written"):
        dataset._image_of(row)


def test_datasets_without_images_are_as_before(tmp_path: Path, videos: Path) -> None:
    """Their columns too, so that older ones can grow."""
    config = tiny_config(videos, tmp_path / "out")
    run(config)
    path = samples_path(config.out)
    assert not dataset.has_images(path)
    assert dataset.open_dataset(path).schema.names == dataset._SCHEMA.names
    assert loader.load_batch(path, [0]).images is None


def test_a_dataset_of_before_an_option_grows_without_it(tmp_path: Path, videos: Path) -> None:
    """Its facts do not name the option: as it is by default it changes nothing, else it does."""
    config = tiny_config(videos, tmp_path / "out")
    run(config)
    facts = config.out / "dataset.json"
    content = json.loads(facts.read_text())
    for name in ("motion_strength", "interlaced", "last_frame"):
        del content["config"][name]
    facts.write_text(json.dumps(content))
    run(config)
    with pytest.raises(ValueError, match=r"\(last_frame: False there, True now\)"):
        run(replace(config, last_frame=True))


def test_captions_name_the_motion_strength_of_their_own_clip(tmp_path: Path) -> None:
    """shift_flow moves brighter clips more: two clips of one video differ."""
    frames = gray_frames(60, step=4)
    captioned(tmp_path / "videos" / "a.mp4", frames, "a wall")
    config = tiny_config(tmp_path / "videos", tmp_path / "out", motion_strength=True)
    run(config)
    path = samples_path(config.out)
    samples = dataset.read(dataset.reader(path), range(dataset.count(path)))
    found = set()
    for sample in samples:
        level = motion_strength(sample.flow_mean_px, sample.height, sample.width, sample.fps)
        assert sample.caption == f"motion strength {level}, a wall"
        assert torch.equal(
            sample.text["embedding"],
            encode_text([sample.caption])[0]["embedding"].to(sample.x.dtype),
        )
        found.add(level)
    assert len(found) > 1
    assert dataset.count(texts_path(path)) == len(LEVELS)
    assert run(config).captions_encoded == 0, "again adds nothing"
    with pytest.raises(ValueError, match="motion_strength: True there, False now"):
        run(tiny_config(tmp_path / "videos", tmp_path / "out"))


def test_several_captions_and_corrections_are_all_tagged(tmp_path: Path) -> None:
    captioned(tmp_path / "videos" / "a.mp4", gray_frames(40, step=4), "unused")
    listed = tmp_path / "captions.jsonl"
    config = partial(
        tiny_config, tmp_path / "videos", tmp_path / "out", motion_strength=True, captions=listed
    )
    listed.write_text('{"path": "a.mp4", "caption": ["one", "two"]}\n')
    run(config())
    opened = dataset.reader(samples_path(tmp_path / "out"))
    said = {dataset.read(opened, [0], [k])[0].caption for k in range(2)}
    assert {caption.split(", ")[1] for caption in said} == {"one", "two"}
    listed.write_text('{"path": "a.mp4", "caption": ["three", "two"]}\n')
    assert run(config()).captions_corrected == len(LEVELS)
    opened = dataset.reader(samples_path(tmp_path / "out"))
    assert dataset.read(opened, [0], [0])[0].caption.endswith(", three")


def test_captions_of_removed_videos_go_with_them(tmp_path: Path, videos: Path) -> None:
    config = tiny_config(videos, tmp_path / "out", motion_strength=True)
    run(config)
    texts = texts_path(samples_path(config.out))
    assert dataset.count(texts) == 3 * len(LEVELS)
    (videos / "1.mp4").unlink()
    run(tiny_config(videos, config.out, motion_strength=True, removed="drop"))
    assert dataset.count(texts) == 2 * len(LEVELS)
