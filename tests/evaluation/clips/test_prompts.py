"""Sets of prompts: ours, and other people's files as they publish them."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videojam.evaluation.clips.prompts import read_prompt_set


def test_our_set_is_what_its_page_says():
    ours = read_prompt_set("videojam-128")
    assert len(ours.prompts) == 128
    assert ours.repeated == []
    tags = ours.tags()
    assert set(tags) == {"category", "motion_level", "subject", "camera", "contact", "framing"}
    for category in ("basic", "complex", "physics", "rotation"):
        chosen = [p for p in ours.prompts if p.tags["category"] == (category,)]
        assert len(chosen) == 32
    assert all(p.text.endswith(".") and 6 <= len(p.text.split()) <= 22 for p in ours.prompts)
    assert all(p.text.isascii() for p in ours.prompts)


def test_a_part_is_spread_over_the_set():
    some = read_prompt_set("videojam-128", 8).prompts
    assert [p.tags["category"][0] for p in some] == [
        "basic", "basic", "complex", "complex", "physics", "physics", "rotation", "rotation",
    ]  # fmt: skip
    assert [p.number for p in some] == [k * 16 for k in range(8)]


def test_movie_gens_files_as_they_are_published(tmp_path):
    """Its two forms: lines, and a CSV with quoted prompts and tags of several values."""
    prompts = ["A ball, red, rolls.", 'A sign says "go".', "Leaves fall.", "Leaves fall."]
    (tmp_path / "bench.txt").write_text("\n".join(prompts) + "\n")
    with (tmp_path / "bench.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "concept", "motion_level"])
        for prompt in prompts:
            writer.writerow([prompt, "physics - gravity,camera motion", "high"])
    lines, tagged = (read_prompt_set(tmp_path / name) for name in ("bench.txt", "bench.csv"))
    assert [p.text for p in lines.prompts] == [p.text for p in tagged.prompts] == prompts[:3]
    assert lines.repeated == tagged.repeated == [3]
    assert tagged.prompts[0].tags == {
        "concept": ("physics - gravity", "camera motion"), "motion_level": ("high",),
    }  # fmt: skip
    assert tagged.tags()["concept"] == ["physics - gravity", "camera motion"]


def test_vbenchs_list_is_read(tmp_path):
    path = tmp_path / "VBench_full_info.json"
    path.write_text(json.dumps([
        {"prompt_en": "a dog", "dimension": ["color"], "auxiliary_info": {}},
        {"prompt_en": "a cat ", "dimension": ["scene", "color"]},
        {"prompt_en": "a dog", "dimension": ["motion_smoothness"]},
    ]))  # fmt: skip
    found = read_prompt_set(path)
    assert [(p.text, p.tags["dimension"]) for p in found.prompts] == [
        ("a dog", ("color", "motion_smoothness")), ("a cat", ("scene", "color")),
    ]  # fmt: skip


def test_jsonl_with_tags(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a", "kind": ["x", "y"], "level": 2}\n\n{"prompt": "b"}\n')
    first, second = read_prompt_set(path).prompts
    assert first.tags == {"kind": ("x", "y"), "level": ("2",)}
    assert second.tags == {}


def test_images_and_controls_are_files_beside_the_set(tmp_path):
    for name in ("a.png", "b.png", "depth.mp4", "mask.png"):
        (tmp_path / name).touch()
    (tmp_path / "p.csv").write_text(
        "prompt,kind,image,last_image\na,x,a.png,b.png\nb,y,b.png,\na,x,a.png,b.png\n"
    )
    found = read_prompt_set(tmp_path / "p.csv")
    first, second = found.prompts
    assert first.files == {"image": tmp_path / "a.png", "last_image": tmp_path / "b.png"}
    assert second.files == {"image": tmp_path / "b.png"}
    assert found.tags() == {"kind": ["x", "y"]}
    assert found.repeated == [2]
    row = {"prompt": "c", "control": "depth.mp4", "control_mask": str(tmp_path / "mask.png")}
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    (third,) = read_prompt_set(tmp_path / "p.jsonl").prompts
    assert third.files == {
        "control": tmp_path / "depth.mp4", "control_mask": tmp_path / "mask.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,gone.png,"], r"p\.csv:2 names the image .*gone\.png, which is no file"),
        (["a,a.png,", "b,,a.png"], r"p\.csv:3 has a last_image and no image; give both"),
        (["a,a.png,", "a,b.png,"], "'a' twice, with other images or controls"),
        (["a,a.png,", "a,,"], "give each words of its own"),
    ],
)
def test_files_that_do_not_work_are_named(tmp_path, rows, message):
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    (tmp_path / "p.csv").write_text("\n".join(["prompt,image,last_image", *rows]))
    with pytest.raises(ValueError, match=message):
        read_prompt_set(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", b"\n\n", "has no prompts"),
        ("p.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("p.md", b"a", r"expected one of \.txt"),
        ("p.csv", b"text,kind\na,b\n", "p.csv:2 has no prompt"),
        ("p.csv", b"prompt,kind\na\n", "not as many values"),
        ("p.csv", b"prompt,kind\na,b,c\n", "not as many values"),
        ("p.jsonl", b'{"prompt": "a"}\nno\n', "p.jsonl:2 is not JSON"),
        ("p.jsonl", b'{"text": "a"}\n', "p.jsonl:1 has no prompt"),
        ("p.jsonl", b'["a"]\n', "only list"),
        ("p.json", b'[{"prompt": "a"}]', "not VBench's list"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_prompt_set(path)


@given(content=st.binary(max_size=60), suffix=st.sampled_from([".txt", ".csv", ".jsonl", ".json"]))
def test_random_bytes_are_prompts_or_a_reason(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("p") / f"p{suffix}"
    path.write_bytes(content)
    try:
        assert read_prompt_set(path).prompts
    except ValueError as error:
        assert path.name in str(error)
