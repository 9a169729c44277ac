"""Systems as folders of clips."""

import json

import pytest

from videojam.media.clip_sets import (
    ClipKey,
    ClipSet,
    read_clip_set,
    shared_keys,
    write_clip_list,
)


def test_file_names_are_prompts_without_anything_else(tmp_path):
    for name in ("a dog.mp4", "a cat.MKV", "notes.txt"):
        (tmp_path / name).touch()
    assert read_clip_set("x", tmp_path) == ClipSet(
        "x",
        {ClipKey("a cat", 0): tmp_path / "a cat.MKV", ClipKey("a dog", 0): tmp_path / "a dog.mp4"},
    )


def test_sidecars_of_generate(tmp_path):
    for name in ("a-1.mp4", "a-1.motion.mp4", "a-1.side.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "a-1.json").write_text(json.dumps({"prompt": "a dog", "seed": 3, "more": 1}))
    assert read_clip_set("x", tmp_path).clips == {ClipKey("a dog", 3): tmp_path / "a-1.mp4"}


def test_a_list_says_it_and_comes_back(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "sub/b.mp4"):
        (tmp_path / name).touch()
    clips = {ClipKey("dog", 0): tmp_path / "a.mp4", ClipKey("dog", 1): tmp_path / "sub/b.mp4"}
    write_clip_list(tmp_path, clips)
    assert read_clip_set("x", tmp_path).clips == clips


def test_systems_are_matched_by_prompt_and_seed(tmp_path):
    keys = [ClipKey("a", 0), ClipKey("a", 1), ClipKey("b", 0)]
    sets = [
        ClipSet("x", dict.fromkeys(keys[:2], tmp_path)),
        ClipSet("y", dict.fromkeys(keys[1:], tmp_path)),
    ]
    assert shared_keys(sets) == [ClipKey("a", 1)]
    with pytest.raises(ValueError, match="no prompt of which every system has a clip"):
        shared_keys([sets[0], ClipSet("z", {keys[2]: tmp_path})])


@pytest.mark.parametrize(
    "line, why",
    [
        ("nonsense", "expected an object like"),
        ("[]", "expected an object like"),
        ('{"file": "a.mp4"}', "expected an object like"),
        ('{"file": "a.mp4", "prompt": " "}', "expected an object like"),
        ('{"file": "a.mp4", "prompt": "x", "seed": "1"}', "expected an object like"),
        ('{"file": "b.mp4", "prompt": "x"}', "is not in"),
        ('{"file": "a.mp4", "prompt": "x"}\n{"file": "a.mp4", "prompt": "x"}', "two clips of 'x'"),
    ],
)
def test_what_a_list_may_not_say(tmp_path, line, why):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "clips.jsonl").write_text(line)
    with pytest.raises(ValueError, match=why):
        read_clip_set("x", tmp_path)


def test_folders_without_clips(tmp_path):
    with pytest.raises(ValueError, match="has no clips"):
        read_clip_set("x", tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        read_clip_set("x", tmp_path / "none")
