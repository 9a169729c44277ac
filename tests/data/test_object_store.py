"""A dataset in a bucket: prepared to it and from it, read by trainings, on a real S3 server."""

import dataclasses
import itertools
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_synthetic import captioned, moving_square, run, table, tiny_config

from videojam.data import dataset, loader
from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.prepare import join_shards, samples_path
from videojam.data.run_folder import load_null_text, read_settings
from videojam.records import object_store
from videojam.records.object_store import ObjectPath, location
from videojam.training.config import TrainConfig


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectPath]:
    """An empty bucket of a server on this machine."""
    pytest.importorskip("moto.server", reason="moto, the S3 server of these tests, is missing")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        object_store._client.cache_clear()
        try:
            _wait_for(port)
            url = f"http://127.0.0.1:{port}/clips"
            urllib.request.urlopen(urllib.request.Request(url, method="PUT")).close()
            yield ObjectPath("s3://clips")
        finally:
            server.kill()
            server.wait()
            object_store._client.cache_clear()


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the S3 server did not start")


def upload(folder: Path, to: ObjectPath) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            (to / file.relative_to(folder).as_posix()).write_bytes(file.read_bytes())


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    captioned(tmp_path / "videos" / "a.mp4", moving_square(60, seed=0), "square a")
    captioned(tmp_path / "videos" / "sub dir" / "b.mkv", moving_square(40, seed=1), "square b")
    return tmp_path / "videos"


def test_a_bucket_gives_and_takes_the_rows_of_a_disk(
    tmp_path: Path, videos: Path, bucket: ObjectPath
) -> None:
    (videos / "cut.mp4").write_bytes((videos / "a.mp4").read_bytes()[:-3000])
    (videos / "cut.txt").write_text("cut off")
    run(tiny_config(videos, tmp_path / "out"))
    upload(videos, bucket / "videos")
    config = tiny_config(bucket / "videos", bucket / "data")
    report = run(config)
    assert [item.name for item in report.dropped] == ["cut.mp4"]
    assert table(config.out) == table(tmp_path / "out")
    assert run(config).prepared == 0
    # A caption is corrected, a video taken out and one added there, too.
    (bucket / "videos/a.txt").write_bytes(b"another square")
    (bucket / "videos/sub dir/b.mkv").unlink()
    (bucket / "videos/sub dir/b.txt").unlink()
    captioned(tmp_path / "c" / "c.mp4", moving_square(30, seed=2), "square c")
    upload(tmp_path / "c", bucket / "videos")
    held = dataset.hold(samples_path(config.out), "run-1")
    report = run(dataclasses.replace(config, removed="drop"))
    assert report.captions_corrected == 1
    assert {row["caption"] for row in table(config.out)} == {"another square", "square c"}
    batches = loader.batches(samples_path(config.out), batch_size=1, seed=0, held=held)
    assert {b.captions[0] for b in itertools.islice(batches, 3)} == {"square a", "square b"}


def test_what_trains_reads_all_from_the_bucket(
    tmp_path: Path, videos: Path, bucket: ObjectPath
) -> None:
    from videojam.workflow.datasets import training_data

    config = tiny_config(videos, bucket / "from-disk")
    run(config)
    assert config.out == location(Path("s3://clips/from-disk"))
    assert read_settings(config.out)["num_frames"] == 9
    assert set(load_null_text(config.out)) == {"embedding", "mask"}
    data = training_data(config.out, TrainConfig(out=tmp_path / "run", global_batch_size=2))
    first = next(iter(data.batches(0)))
    assert first.x.shape[0] == 2
    assert len(dataset.open_dataset(samples_path(config.out)).tags.list()) == 1


def test_captions_files_and_folders_in_a_bucket(
    tmp_path: Path, videos: Path, bucket: ObjectPath
) -> None:
    upload(videos, bucket / "more")
    rows = "video,text\ns3://clips/more/a.mp4,one\nsub dir/b.mkv,two\nsub dir/gone.mkv,three\n"
    (bucket / "more/captions.csv").write_bytes(rows.encode())
    config = tiny_config(bucket / "more", tmp_path / "out", captions=bucket / "more/captions.csv")
    report = run(config)
    assert {row["caption"] for row in table(config.out)} == {"one", "two"}
    assert ["gone" in item.name for item in report.dropped] == [True]
    with pytest.raises(ValueError, match="does not exist"):
        run(tiny_config(bucket / "nothing", tmp_path / "other"))


def test_shards_in_a_bucket_are_joined_there(
    tmp_path: Path, videos: Path, bucket: ObjectPath, monkeypatch
) -> None:
    """Machines that share nothing but the bucket: each has a cache of its own."""
    captioned(videos / "c.mp4", moving_square(30, seed=2), "square c")
    run(tiny_config(videos, tmp_path / "one"))
    output = bucket / "shards-of-a-dataset"
    for number in (2, 1, 3):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"machine-{number}"))
        assert run(tiny_config(videos, output, shard=f"{number}/3")).prepared
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    assert run(tiny_config(videos, output, shard="1/3")).prepared == 0
    assert join_shards(tiny_config(videos, output, join=True)) == len(table(tmp_path / "one"))
    assert table(output) == table(tmp_path / "one")
    assert not [*(output / "shards").files()]
    assert run(tiny_config(videos, output)).prepared == 0


def test_what_a_bucket_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="out is s3://b/run, expected a folder on a disk"):
        TrainConfig(out=Path("s3://b/run"))
    with pytest.raises(ValueError, match="of object storage s3://bucket/folder is read"):
        PrepareConfig(videos=tmp_path, out=Path("gs://b/data"))
    assert PrepareConfig(videos=Path("C:/clips"), out=tmp_path).videos == Path("C:/clips")
