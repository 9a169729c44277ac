"""Captions: which video gets which, and what is said about the others."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from videojam.data.source.manifest import Dropped, Entry, read_manifest

per_folder = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def reasons(dropped: list[Dropped]) -> dict[str, str]:
    return {item.name: item.reason for item in dropped}


def test_sidecars(tmp_path: Path) -> None:
    for name in ("b.mp4", "sub/a.MKV", "none.mov", "empty.webm", "binary.avi", "notes.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b.txt").write_text("\ufeff a ball \n")
    (tmp_path / "sub" / "a.txt").write_text("ein Würfel")
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "binary.txt").write_bytes(b"\x00\xff\xfe\x80")
    (tmp_path / "alone.txt").write_text("no video here")
    manifest = read_manifest(tmp_path)
    assert manifest.entries == [Entry("b.mp4", "a ball"), Entry("sub/a.MKV", "ein Würfel")]
    said = reasons(manifest.dropped)
    assert said.keys() == {"none.mov", "empty.webm", "binary.avi", "alone.txt", "notes.pdf"}
    assert "expected none.txt" in said["none.mov"]
    assert said["empty.webm"] == "empty caption"
    assert "UTF-8" in said["binary.avi"]
    assert said["alone.txt"] == "caption without a video"
    assert "captions file" in said["notes.pdf"]


ROWS = [
    ("b.mp4", "a ball"),
    ("./clip", "named without extension"),
    ("gone.mp4", "not there"),
    ("quiet.mp4", "  "),
    ("../outside.mp4", "elsewhere"),
]


def write_captions(path: Path, rows: list[tuple[str, str | None]]) -> Path:
    records = [{"path": name, "caption": caption, "more": 1} for name, caption in rows]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["path", "caption", "more"])
            writer.writeheader()
            writer.writerows(records)
    else:
        pq.write_table(pa.Table.from_pylist(records), path)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_captions_files(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("b.mp4", "clip", "quiet.mp4", "unnamed.mp4", "ignored.bin"):
        (folder / name).write_bytes(b"x")
    manifest = read_manifest(folder, write_captions(tmp_path / f"captions{suffix}", ROWS))
    assert manifest.entries == [Entry("b.mp4", "a ball"), Entry("clip", "named without extension")]
    said = reasons(manifest.dropped)
    assert said.keys() == {"gone.mp4", "quiet.mp4", "../outside.mp4", "unnamed.mp4"}
    assert "row 3" in said["gone.mp4"]
    assert "no row" in said["unnamed.mp4"]


def test_two_captions_of_one_video_are_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(b"x")
    captions = write_captions(tmp_path / "c.jsonl", [("b.mp4", "one"), ("./b.mp4", "two")])
    with pytest.raises(ValueError, match=r"several captions for 'b.mp4' \(again in row 2\)"):
        read_manifest(tmp_path, captions)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.jsonl", b'{"path": "a.mp4", "caption": "x"}\n{oops', "line 2 .* is not JSON"),
        ("c.jsonl", b'{"file": "a.mp4"}', r"\['file'\], expected path and caption"),
        ("c.jsonl", b"[1, 2]", "has list"),
        ("c.jsonl", b'{"path": 3, "caption": "x"}', "must be text"),
        ("c.csv", b"path;caption\na;b\n", "expected path and caption"),
        ("c.csv", b"path,caption\n\xff\xfe,x\n", "not UTF-8"),
        ("c.parquet", b"PAR1 no", "not Parquet"),
        ("c.xlsx", b"", "not one of .jsonl, .csv, .parquet"),
    ],
)
def test_a_malformed_captions_file_is_an_error(tmp_path: Path, name, content, message) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path, tmp_path / name)


def test_missing_inputs_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        read_manifest(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="does not exist"):
        read_manifest(tmp_path, tmp_path / "none.jsonl")


def test_the_output_folder_is_not_searched_and_links_do_not_loop(tmp_path: Path) -> None:
    for name in ("a", "out/previews/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
        (tmp_path / f"{name}.txt").write_text("caption")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert read_manifest(tmp_path, skip=tmp_path / "out").entries == [Entry("a.mp4", "caption")]


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)


@per_folder
@given(rows=st.dictionaries(text, text | st.none(), max_size=6))
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_row_is_kept_or_named(tmp_path: Path, suffix: str, rows: dict) -> None:
    """Whatever the text: a row is an entry or appears among the dropped, and nothing else does."""
    folder = tmp_path / "videos"
    folder.mkdir(exist_ok=True)
    (folder / "ok").write_bytes(b"x")
    rows["ok"] = "fine"
    paths = [name for name in rows if name]
    try:
        manifest = read_manifest(
            folder, write_captions(tmp_path / f"c{suffix}", list(rows.items()))
        )
    except ValueError as error:
        assert "several captions" in str(error)  # two spellings of one path, like a and ./a
        return
    assert Entry("ok", "fine") in manifest.entries
    assert len(manifest.entries) + len(manifest.dropped) == len(paths) + ("" in rows)


@per_folder
@given(content=st.binary(max_size=200))
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_random_bytes_as_captions_are_a_clear_error_or_nothing(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"c{suffix}"
    path.write_bytes(content)
    folder = tmp_path / "videos"
    folder.mkdir(exist_ok=True)
    try:
        manifest = read_manifest(folder, path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert manifest.entries == []


def test_unquoted_commas_are_an_error_that_names_the_row(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    table = tmp_path / "c.csv"
    table.write_text("path,caption\na.mp4,a red disc, glowing, moves right\n")
    with pytest.raises(ValueError, match=r"row 1 of .*c\.csv has 4 fields, the header 2.*quotes"):
        read_manifest(tmp_path, table)
    table.write_text('path,caption\na.mp4,"a red disc, glowing"\n')
    assert read_manifest(tmp_path, table).entries == [Entry("a.mp4", "a red disc, glowing")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".txt"])
def test_encodings_marks_and_line_ends_change_nothing(
    tmp_path: Path, encoding: str, ends: str, suffix: str
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    rows = {
        ".jsonl": '{"path": "a.mp4", "caption": "ein Würfel\u2028rollt"}\n\n',
        ".csv": "path,caption\na.mp4,ein Würfel\u2028rollt\n",
        ".txt": "ein Würfel\u2028rollt\n",
    }
    file = tmp_path / f"a{suffix}"
    file.write_bytes(rows[suffix].replace("\n", ends).encode(encoding))
    manifest = read_manifest(tmp_path, None if suffix == ".txt" else file)
    assert manifest.entries == [Entry("a.mp4", "ein Würfel\u2028rollt")]


def test_paths_as_other_tools_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "clips"
    (folder / "sub").mkdir(parents=True)
    names = ("a.mp4", "sub/b.mp4", "cafe\u0301.mp4", "d.mp4", "linked.mp4", " e.mp4", "f.mp4")
    for name in names:
        (folder / name).write_bytes(b"x")
    (tmp_path / "elsewhere.mp4").write_bytes(b"x")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    named = [str(folder / "a.mp4"), "sub\\b.mp4", "caf\u00e9.mp4", "clips/d.mp4"]
    named += [str(tmp_path / "link" / "linked.mp4"), "../elsewhere.mp4", "/etc/passwd"]
    named += [" e.mp4", " .\\f.mp4 ", "C:\\clips\\a.mp4"]
    table = write_captions(tmp_path / "c.jsonl", [(name, "x") for name in named])
    manifest = read_manifest(Path("link"), table)
    paths = {entry.path for entry in manifest.entries}
    assert paths == {*names}
    assert reasons(manifest.dropped) == {
        "../elsewhere.mp4": "row 6 of c.jsonl: not a path in link",
        "/etc/passwd": "row 7 of c.jsonl: not a path in link",
        "C:\\clips\\a.mp4": "named in row 10 of c.jsonl but not in link",
    }


@pytest.mark.parametrize("path", ["video_path", "file_name", "video", "file"])
@pytest.mark.parametrize("caption", ["text", "prompt"])
def test_column_names_of_other_tools(tmp_path: Path, path: str, caption: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    table = tmp_path / "c.csv"
    table.write_text(f" {path},fps,{caption}\na.mp4,30,a ball\n")
    assert read_manifest(tmp_path, table).entries == [Entry("a.mp4", "a ball")]
    table.write_text("path,text,prompt\na.mp4,one,two\n")
    with pytest.raises(ValueError, match=r"row 1 .* has text and prompt; name the one .*'caption'"):
        read_manifest(tmp_path, table)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_several_captions_of_a_video_are_a_list(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    row = {"path": "a.mp4", "caption": ["a ball", " it rolls ", "", "a ball"]}
    table = tmp_path / f"c{suffix}"
    if suffix == ".jsonl":
        table.write_text(json.dumps(row))
    else:
        pq.write_table(pa.Table.from_pylist([row]), table)
    (entry,) = read_manifest(tmp_path, table).entries
    assert entry.captions == ("a ball", "it rolls")


def test_what_is_wrong_with_one_file_is_its_reason(tmp_path: Path) -> None:
    for name in ("good", "dangling", "folder", "binary"):
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
    (tmp_path / "good.txt").write_text("fine")
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "binary.txt").write_bytes(b"one\ntwo \xff\n")
    with open(str(tmp_path).encode() + b"/bad\xff.mp4", "wb") as file:
        file.write(b"x")
    manifest = read_manifest(tmp_path)
    assert manifest.entries == [Entry("good.mp4", "fine")]
    said = reasons(manifest.dropped)
    assert said["dangling.mp4"] == "caption dangling.txt does not exist"
    assert said["folder.mp4"] == "no caption: expected folder.txt beside it"
    assert said["binary.mp4"].startswith(
        "caption binary.txt is not UTF-8 text: line 2 has the byte 0xff"
    )
    assert said["bad\\udcff.mp4"] == "its name is not UTF-8; rename it"


def test_captions_are_found_beside_videos_whatever_their_case_and_accents(tmp_path: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    for video, caption in (
        (f"{composed}.mp4", f"{apart}.txt"),
        ("camera.MTS", "camera.TXT"),
        ("new\nline %d \U0001f3ac.m2ts", "new\nline %d \U0001f3ac.txt"),
        ("a.b.mpg", "a.b.txt"),
    ):
        (tmp_path / video).touch()
        (tmp_path / caption).write_text(caption)
    found = read_manifest(tmp_path)
    assert {entry.path: entry.caption for entry in found.entries} == {
        f"{composed}.mp4": f"{composed}.txt",
        "camera.MTS": "camera.TXT",
        "new\nline %d \U0001f3ac.m2ts": "new\nline %d \U0001f3ac.txt",
        "a.b.mpg": "a.b.txt",
    }
    assert not found.dropped
