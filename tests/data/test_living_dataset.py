"""A dataset after its first day: moved, corrected, grown, reduced, read while it changes."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_synthetic import captioned, moving_square, run, table, tiny_config

from videojam.data import dataset, lance_table, loader
from videojam.data.captions import texts_path
from videojam.data.prepare.prepare import PrepareConfig, samples_path
from videojam.data.run_folder import read_settings


@pytest.fixture
def config(tmp_path: Path) -> PrepareConfig:
    """Three videos of two clips each."""
    for k in range(3):
        captioned(tmp_path / "videos" / f"{k}.mp4", moving_square(60, seed=k), f"square {k}")
    return tiny_config(tmp_path / "videos", tmp_path / "out", previews=0)


def changed(config: PrepareConfig, **values: Any) -> PrepareConfig:
    import dataclasses

    return dataclasses.replace(config, **values)


def without_text(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ("text", "caption")} for row in rows]


def forbidden(*_: object) -> torch.Tensor:
    raise AssertionError("latents were encoded again")


def test_the_video_folder_may_move(tmp_path: Path, config) -> None:
    run(config)
    before = table(config.out)
    config.videos.rename(tmp_path / "moved")
    report = run(changed(config, videos=tmp_path / "moved"))
    assert (report.prepared, report.already_there) == (0, 6)
    assert table(config.out) == before
    assert read_settings(config.out)["videos"] == str(tmp_path / "moved")


def test_a_folder_as_model_is_known_from_everywhere(tmp_path: Path, config, monkeypatch) -> None:
    model = tmp_path / "models" / "wan"
    model.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    run(changed(config, model="models/wan"))
    assert read_settings(config.out)["model"] == str(model.resolve())
    monkeypatch.chdir(model)
    assert run(changed(config, model=str(model))).prepared == 0
    assert run(changed(config, model="../wan")).prepared == 0


def test_what_is_read_may_be_read_only_and_a_full_disk_loses_nothing(
    tmp_path: Path, config, monkeypatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in config.videos.rglob("*")}
    calls = iter(range(100))

    def full(path: Path, rows: Any) -> None:
        if next(calls) == 3:
            raise OSError(28, "No space left on device")
        append_rows(path, rows)

    append_rows = dataset.append_rows
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "append_rows", full)
        with pytest.raises(OSError, match="No space left"):
            run(config)
    assert dataset.count(samples_path(config.out)) > 0
    run(config)
    run(changed(config, out=tmp_path / "undisturbed"))
    assert table(config.out) == table(tmp_path / "undisturbed")
    assert {path: path.stat().st_mtime_ns for path in config.videos.rglob("*")} == before


def test_a_corrected_caption_encodes_its_text_alone(tmp_path: Path, config, monkeypatch) -> None:
    run(config)
    before = table(config.out)
    (config.videos / "1.txt").write_text("a better caption of it")
    monkeypatch.setattr("data_synthetic.encode_video", forbidden)
    report = run(config)
    assert (report.prepared, report.captions_corrected, report.captions_encoded) == (0, 1, 1)
    after = table(config.out)
    assert without_text(after) == without_text(before)
    assert [row["caption"] for row in after] == [
        "square 0", "square 0", "a better caption of it", "a better caption of it", "square 2",
        "square 2",
    ]  # fmt: skip
    opened = dataset.reader(samples_path(config.out))
    assert len(dataset.read(opened, [2])[0].text["embedding"]) == 5
    assert run(config).captions_encoded == 0


def test_several_captions_are_taken_in_turns_of_their_own(tmp_path: Path, config) -> None:
    rows = tmp_path / "captions.jsonl"
    rows.write_text(
        '{"path": "0.mp4", "caption": ["zero", "nought", "nothing"]}\n'
        '{"path": "1.mp4", "caption": "one"}\n'
    )
    run(changed(config, captions=rows))
    samples = samples_path(config.out)
    opened = dataset.reader(samples)
    said = [dataset.read(opened, [0], [choice])[0].caption for choice in range(4)]
    assert said == ["zero", "nought", "nothing", "zero"]
    assert dataset.read(opened, [0])[0].caption == "zero"
    options = {"batch_size": 2, "seed": 0, "num_workers": 0}
    seen = [b.captions for b in itertools.islice(loader.batches(samples, **options), 20)]
    assert {caption for batch in seen for caption in batch} == {"zero", "nought", "nothing", "one"}
    halves = [
        [b.captions for b in itertools.islice(
            loader.batches(samples, rank=rank, num_ranks=2, start_step=5, **options), 15)]
        for rank in (0, 1)
    ]  # fmt: skip
    assert [a + b for a, b in zip(*halves, strict=True)] == seen[5:]
    rows.write_text('{"path": "0.mp4", "caption": ["zero", "null"]}\n'
                    '{"path": "1.mp4", "caption": "one"}\n')  # fmt: skip
    assert run(changed(config, captions=rows)).captions_corrected == 1
    opened = dataset.reader(samples)
    said = [dataset.read(opened, [0], [choice])[0].caption for choice in range(3)]
    assert said == ["zero", "null", "zero"]


def test_removed_videos_are_asked_about_kept_or_dropped(config) -> None:
    run(config)
    (config.videos / "1.mp4").unlink()
    with pytest.raises(ValueError, match=r"1 prepared videos .* any more: 1\.mp4; --removed drop"):
        run(config)
    assert run(changed(config, removed="keep")).stale == ["1.mp4"]
    assert {row["source"] for row in table(config.out)} == {"0.mp4", "1.mp4", "2.mp4"}
    held = dataset.hold(samples_path(config.out), "a-training")
    run(changed(config, removed="drop"))
    samples = samples_path(config.out)
    assert {row["source"] for row in table(config.out)} == {"0.mp4", "2.mp4"}
    keys = {key for b in itertools.islice(
        loader.batches(samples, batch_size=4, seed=0), 3) for key in b.keys}  # fmt: skip
    assert keys == {"0.mp4#0000", "0.mp4#0001", "2.mp4#0000", "2.mp4#0001"}
    texts = dataset.table(texts_path(samples), ("text_key",))
    assert set(texts["text_key"].to_pylist()) == {"0.mp4", "2.mp4"}
    old = loader.load_batch(samples, [2], held)
    assert old.keys == ["1.mp4#0000"] and old.captions == ["square 1"]


def test_more_clips_and_another_size_are_added(config) -> None:
    one = changed(config, max_clips_per_video=1)
    assert run(one).prepared == 3
    first = table(config.out)
    assert run(config).prepared == 3
    assert table(config.out)[:3] == first
    starts = {(row["source"], row["start_s"]) for row in table(config.out)}
    assert len(starts) == 6 and len({row["key"] for row in table(config.out)}) == 6
    report = run(changed(config, sizes=((48, 64),)))
    assert (report.prepared, report.unplanned) == (6, 6)
    assert {(row["height"], row["width"]) for row in table(config.out)} == {(32, 48), (48, 64)}
    assert len({row["key"] for row in table(config.out)}) == 12
    assert read_settings(config.out)["sizes"] == [[32, 48], [48, 64]]
    assert run(changed(config, sizes=((48, 64),))).prepared == 0


def test_settings_bind_only_once_there_are_rows_and_old_plans_are_not_used(config) -> None:
    with pytest.raises(ValueError, match="no video gives a clip"):
        run(changed(config, fps=60.0))
    assert run(changed(config, fps=15.0)).prepared > 0
    with pytest.raises(ValueError, match=r"fps: 15.0 there, 10.0 now"):
        run(config)


def test_a_training_keeps_the_version_it_began_with(config) -> None:
    run(config)
    samples = samples_path(config.out)
    held = dataset.hold(samples, "run-1")
    before = loader.find_buckets(samples, held=held)
    (config.videos / "0.txt").write_text("corrected")
    captioned(config.videos / "9.mp4", moving_square(60, seed=9), "a new one")
    run(config)
    for _ in range(2):
        dataset.compact(samples)
    assert dataset.hold(samples, "run-1") == held
    after = loader.find_buckets(samples, held=held)
    assert {k: v.tolist() for k, v in after.items()} == {k: v.tolist() for k, v in before.items()}
    assert loader.load_batch(samples, [0], held).captions == ["square 0"]
    assert loader.load_batch(samples, [0]).captions == ["corrected"]
    dataset.release(samples, "run-1")
    assert "run-1" not in dataset.open_dataset(samples).tags.list()


def test_a_dataset_that_cannot_be_written_is_read_as_it_is(config, monkeypatch) -> None:
    run(config)
    monkeypatch.setattr(lance_table.os, "access", lambda *_: False)
    assert dataset.hold(samples_path(config.out), "run-1") is None
    assert dataset.open_dataset(samples_path(config.out)).tags.list() == {}


def test_reading_goes_on_while_rows_are_added_and_merged(config) -> None:
    run(config)
    reading = loader.batches(samples_path(config.out), batch_size=1, seed=0, num_workers=0)
    next(reading)
    captioned(config.videos / "9.mp4", moving_square(60, seed=9), "a new one")
    run(config)
    dataset.compact(samples_path(config.out))
    assert len({next(reading).keys[0] for _ in range(6)}) == 6


@pytest.mark.parametrize(("lance_file", "what"), [("samples.lance", "latents"),
                                                  ("texts.lance", "text")])  # fmt: skip
def test_a_flipped_byte_is_found_by_name(config, lance_file: str, what: str) -> None:
    run(config)
    row = table(config.out)[3]
    part = row["d"] if what == "latents" else row["text"]
    for file in (config.out / lance_file).glob("data/*.lance"):
        content = bytearray(file.read_bytes())
        at = content.find(part)
        if at >= 0:
            content[at + len(part) // 2] ^= 1
            file.write_bytes(content)
    opened = dataset.reader(samples_path(config.out))
    with pytest.raises(ValueError, match=rf"the {what} of 1\.mp4#0001 .*checksum"):
        dataset.read(opened, [3])
    assert dataset.read(opened, [0])[0].key == "0.mp4#0000"


def test_rows_come_in_the_order_asked_for(config) -> None:
    run(config)
    keys = [row["key"] for row in table(config.out)]
    for rows in ([4, 0], [5, 5, 1], [2, 3, 2]):
        samples = dataset.read(dataset.reader(samples_path(config.out)), rows)
        assert [sample.key for sample in samples] == [keys[row] for row in rows]
        assert loader.load_batch(samples_path(config.out), rows).keys == [keys[r] for r in rows]


def test_every_clip_of_a_held_out_video_is_held_out(config) -> None:
    shots = np.concatenate([moving_square(60, seed=1), 255 - moving_square(70, seed=2)])
    captioned(config.videos / "shots.mp4", shots, "two scenes")
    run(changed(config, holdout=("shots.mp4",)))
    splits = {(row["source"] == "shots.mp4", row["split"]) for row in table(config.out)}
    assert splits == {(True, "validation"), (False, "train")}
    assert sum(row["source"] == "shots.mp4" for row in table(config.out)) >= 3


def test_a_dry_run_prices_and_writes_no_rows(config) -> None:
    (config.videos / "bad.mp4").touch()
    (config.videos / "bad.txt").write_text("bad")
    report = run(changed(config, dry_run=True))
    assert [item.name for item in report.dropped] == ["bad.mp4"]
    assert not dataset.exists(samples_path(config.out))
    run(config)
    latents = sum(len(row["x"]) + len(row["d"]) for row in table(config.out))
    assert report.estimate["gib"] * 2**30 == pytest.approx(latents)
    assert report.estimate["hours"] > 0 and report.clips == 6


def test_captions_that_the_encoder_cuts_are_counted(config, monkeypatch) -> None:
    import data_synthetic

    encode = data_synthetic.encode_text
    monkeypatch.setattr(
        data_synthetic,
        "encode_text",
        lambda captions: encode([" ".join(caption.split()[:30]) for caption in captions]),
    )
    (config.videos / "0.txt").write_text("word " * 30 + "more")
    (config.videos / "1.txt").write_text("words " * 30)
    assert run(config).captions_cut == ["0.mp4"]


def test_a_file_that_could_not_be_read_is_tried_again(config, monkeypatch) -> None:
    from videojam.data.prepare import stages

    scan = stages.decode.scan

    def failing(path: Path, *rest: Any) -> Any:
        if path.name == "1.mp4":
            raise PermissionError(13, "Permission denied")
        return scan(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(stages.decode, "scan", failing)
        report = run(config)
    assert [(d.name, d.reason) for d in report.dropped] == [
        ("1.mp4", "cannot be read: Permission denied")
    ]
    assert run(config).prepared == 2


def test_clips_encoded_together_are_the_rows_of_one_at_a_time(tmp_path: Path, config) -> None:
    shapes = []

    run(config)
    together = changed(config, batch=4, out=tmp_path / "together")
    import data_synthetic

    encode = data_synthetic.encode_video
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            data_synthetic,
            "encode_video",
            lambda pixels: (shapes.append(len(pixels)), encode(pixels))[1],
        )
        run(together)
    assert shapes == [4, 4, 2, 2]
    assert table(together.out) == table(config.out)
