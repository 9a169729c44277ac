"""Which file is of which prompt; and clips of any kind in one form."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videojam.evaluation.clips.compared import parse_system
from videojam.evaluation.clips.imported import match_clips
from videojam.evaluation.clips.normalise import Form, Native, common_form, normalise
from videojam.evaluation.clips.prompts import Prompt
from videojam.evaluation.clips.systems import branch_weights
from videojam.guidance.presets import PRESETS
from videojam.media.video import write_video
from videojam.sampling.pipeline import Sampling
from videojam.sampling.samples import sample_name

TEXTS = (
    "A dog jumps over a hurdle, twice.", "A dog sleeps.", "Water runs down a long stone stairway",
)  # fmt: skip
PROMPTS = [Prompt(number, text, {}, {}) for number, text in zip((0, 1, 5), TEXTS, strict=True)]


def folder_of(tmp_path, *names):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def names_of(matched):
    return {key: path.name for key, path in matched.clips.items()}


def test_names_say_the_prompt_whatever_replaced_its_spaces(tmp_path):
    folder = folder_of(
        tmp_path, "A_dog_jumps_over_a_hurdle__twice_.mp4", "a dog sleeps-0.webm",
        "sub/Water runs down a long stone.mov", "notes.txt", "cat.mp4", "Water.mp4",
    )  # fmt: skip
    found = match_clips(folder, PROMPTS)
    assert found.how == "names"
    assert [*names_of(found)] == [(0, 0), (1, 0), (5, 0)] or len(found.clips) == 3
    assert names_of(found)[5, 0] == "Water runs down a long stone.mov", "cut off, and still one"
    assert [path.name for path in found.unmatched] == ["Water.mp4", "cat.mp4"], "too short to say"
    assert found.missing == []


def test_names_of_videojam_generate(tmp_path):
    names = [f"{sample_name(text, seed)}.mp4" for text in TEXTS for seed in (0, 1)]
    folder = folder_of(tmp_path, *names, f"{sample_name(TEXTS[0], 0)}.motion.mp4")
    found = match_clips(folder, PROMPTS, repeats=2)
    assert names_of(found) == {
        (prompt.number, seed): f"{sample_name(prompt.text, seed)}.mp4"
        for prompt in PROMPTS for seed in (0, 1)
    }  # fmt: skip
    assert found.unmatched == []


def test_missing_doubled_and_surplus_are_told_apart(tmp_path):
    folder = folder_of(
        tmp_path, "A dog sleeps.mp4", "A dog sleeps-0.mp4", "A dog sleeps-1.mp4",
    )  # fmt: skip
    found = match_clips(folder, PROMPTS)
    assert found.missing == [(0, 0), (5, 0)]
    assert [path.name for path in found.doubled[1, 0]] == ["A dog sleeps.mp4"]
    assert names_of(found)[1, 0] == "A dog sleeps-0.mp4", "the first by name"
    assert [path.name for path in found.unmatched] == ["A dog sleeps-1.mp4"]


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (("0000.mp4", "clip_1.mp4", "5.mp4"), {(0, 0), (1, 0), (5, 0)}),
        (("1.mp4", "2.mp4", "6.mp4"), {(0, 0), (1, 0), (5, 0)}),  # counted from 1
        (("0001_0.mp4", "0001_1.mp4"), {(1, 0), (1, 1)}),
    ],
)
def test_numbers_from_0_or_1(tmp_path, names, keys):
    found = match_clips(folder_of(tmp_path, *names), PROMPTS, repeats=2)
    assert found.how == "numbers"
    assert {*found.clips} == keys


def test_a_mapping_file_decides(tmp_path):
    folder = folder_of(tmp_path / "clips", "x.mp4", "y.mp4", "z.mp4")
    mapping = tmp_path / "map.csv"
    mapping.write_text(f'file,prompt,index,seed\nx.mp4,"{TEXTS[0]}",,\ny.mp4,,5,1\n')
    found = match_clips(folder, PROMPTS, repeats=2, mapping=mapping)
    assert names_of(found) == {(0, 0): "x.mp4", (5, 1): "y.mp4"}
    assert [path.name for path in found.unmatched] == ["z.mp4"]
    lines = tmp_path / "map.jsonl"
    lines.write_text(json.dumps({"file": "z.mp4", "index": 1}) + "\n")
    assert names_of(match_clips(folder, PROMPTS, mapping=lines)) == {(1, 0): "z.mp4"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("nothing.mp4,A dog sleeps.,", "which is not in"),
        ("x.mp4,A bird sleeps.,", "which is no prompt of the set"),
        ("x.mp4,,two", "no number"),
    ],
)
def test_a_wrong_mapping_names_its_line(tmp_path, row, message):
    folder = folder_of(tmp_path / "clips", "x.mp4")
    mapping = tmp_path / "map.csv"
    mapping.write_text(f"file,prompt,index\n{row}\n")
    with pytest.raises(ValueError, match=f"map.csv:2 .*{message}"):
        match_clips(folder, PROMPTS, mapping=mapping)


def test_a_folder_without_matches_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no video files"):
        match_clips(folder_of(tmp_path, "a.txt"), PROMPTS)
    with pytest.raises(ValueError, match=r"none of the 1 files .* give mapping=FILE.csv"):
        match_clips(folder_of(tmp_path, "holiday.mp4"), PROMPTS)


@settings(max_examples=25)
@given(
    stem=st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=30)
)
def test_any_file_name_matches_or_does_not(tmp_path_factory, stem):
    folder = tmp_path_factory.mktemp("clips")
    try:
        (folder / f"{stem}.mp4").write_bytes(b"")
    except OSError:
        return
    try:
        found = match_clips(folder, PROMPTS)
    except ValueError:
        return
    assert len(found.clips) + len(found.unmatched) + sum(map(len, found.doubled.values())) == 1


# --- one form -------------------------------------------------------------------------------------


def ramp(frames, height=24, width=32):
    """Frame k is grey 4 k."""
    grey = (4 * torch.arange(frames)).clamp(max=255).to(torch.uint8)
    return grey.view(-1, 1, 1, 1).expand(-1, height, width, 3).contiguous()


@pytest.mark.parametrize("fps", [8.0, 12.0, 24.0, 30.0])
def test_time_keeps_its_speed_at_any_rate(tmp_path, fps):
    write_video(tmp_path / "a.mp4", ramp(int(2 * fps)), fps)
    frames, native = normalise(
        tmp_path / "a.mp4", Form(fps=8.0, num_frames=16, height=24, width=32)
    )
    assert native == Native(fps, int(2 * fps), 24, 32)
    assert len(frames) == 16
    greys = frames.float().mean((1, 2, 3)) / 4  # the number of the source frame
    expected = np.round(np.arange(16) * fps / 8)
    # A frame between two is either of them, and a step of grey is kept to a quarter of a frame.
    assert np.abs(greys.numpy() - expected).max() < 1.3


def test_sizes_are_cropped_to_the_aspect_and_shrunk(tmp_path):
    clip = torch.zeros(4, 32, 64, 3, dtype=torch.uint8)
    clip[:, :, 16:48] = 200  # the middle square
    write_video(tmp_path / "a.mp4", clip, 8.0)
    frames = normalise(tmp_path / "a.mp4", Form(fps=8.0, num_frames=4, height=16, width=16)).frames
    assert frames.shape == (4, 16, 16, 3)
    assert float(frames[:, 2:-2, 2:-2].float().mean()) == pytest.approx(200, abs=4)


def test_shorter_clips_stay_shorter_and_too_short_ones_are_refused(tmp_path):
    write_video(tmp_path / "a.mp4", ramp(5), 8.0)
    form = Form(fps=8.0, num_frames=16, height=24, width=32)
    assert len(normalise(tmp_path / "a.mp4", form).frames) == 5
    write_video(tmp_path / "b.mp4", ramp(2), 8.0)
    with pytest.raises(ValueError, match=r"b.mp4 has 2 frames .* metrics need 3"):
        normalise(tmp_path / "b.mp4", form)
    (tmp_path / "c.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="not a readable video"):
        normalise(tmp_path / "c.mp4", form)


def test_the_common_form_is_what_all_systems_give():
    slow, large = Native(8.0, 40, 480, 832), Native(30.0, 60, 1080, 1920)
    cut_off = Native(8.0, 5, 480, 832)
    form = common_form([[slow, slow, cut_off], [large]])
    assert form == Form(fps=8.0, num_frames=16, height=480, width=832)  # 2 s of the large one


def test_systems_are_told_by_what_is_there(tmp_path):
    (tmp_path / "jam").mkdir()
    (tmp_path / "jam" / "videojam.json").write_text("{}")
    (tmp_path / "stock").mkdir()
    (tmp_path / "stock" / "model_index.json").write_text("{}")
    (tmp_path / "clips").mkdir()
    kinds = {name: parse_system(f"x={tmp_path / name}").kind for name in ("jam", "stock", "clips")}
    assert kinds == {"jam": "joint", "stock": "plain", "clips": "clips"}
    assert parse_system("x=owner/model").kind == "plain"
    assert parse_system("x=owner/model,joint=yes").kind == "joint"
    fast = parse_system("x=owner/model,joint=yes,preset=fast,text_every=2").sampling(Sampling())
    assert fast == Sampling(**PRESETS["fast"] | {"text_every": 2})
    assert branch_weights(fast) != branch_weights(replace(fast, text_every=3))
    assert branch_weights(replace(Sampling(), reuse="extrapolate")) == branch_weights(Sampling())
    with pytest.raises(ValueError, match=r"no preset 'cheap'; there are paper"):
        parse_system("x=owner/model,preset=cheap")
    set_up = parse_system("x=owner/model,text_scale=4,motion_scale=2.5,mode=without_flow,fps=16")
    assert set_up.settings == {"text_scale": 4, "motion_scale": 2.5, "mode": "without_flow"}
    assert set_up.fps == 16
    with pytest.raises(ValueError, match="folder of clips, which has no text_scale"):
        parse_system(f"x={tmp_path / 'clips'},text_scale=3")
    with pytest.raises(ValueError, match="mapping is for a folder of clips"):
        parse_system("x=owner/model,mapping=a.csv")
