"""Motion Lab clips as files: repeatable, resumable, with the truth, and ready for prepare."""

import json

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from videojam.cli.main import main
from videojam.data.source.manifest import read_manifest
from videojam.lab.clips import Lab, lab_clips
from videojam.lab.scenes import SCENES
from videojam.workflow import lab_folder
from videojam.workflow.lab_folder import write_lab_folder

LAB = Lab(frames=9, height=32, width=48, fps=12.0, types=("bouncing ball", "fan", "gears"))
OPTIONS = ["--frames", "9", "--height", "32", "--width", "48", "--fps", "12", "--types",
           "bouncing ball", "fan", "gears"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five clips with truth, written by the command."""
    out = tmp_path_factory.mktemp("lab") / "clips"
    main(["lab", "--out", str(out), "--count", "5", "--truth", *OPTIONS])
    return out


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("lock", "lab.json", "contact_sheet.png")
    }


def test_clips_and_captions_are_those_of_the_lab(folder):
    manifest = read_manifest(folder, folder / "captions.jsonl")
    assert manifest.dropped == []
    assert len(manifest.entries) == 5
    scenes, drawn = lab_clips(LAB, range(5))
    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    assert lines[1]["path"] == "fan-000001.mp4"
    for line, scene, frames in zip(lines, scenes, drawn.frames, strict=True):
        assert line["caption"] == scene.caption
        with av.open(str(folder / line["path"])) as container:
            assert container.streams.video[0].average_rate == 12
            found = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert np.abs(np.stack(found).astype(int) - frames.numpy().astype(int)).mean() < 6


def test_truth_is_the_scene_and_what_is_drawn(folder):
    scenes, drawn = lab_clips(LAB, range(5))
    for k, scene in enumerate(scenes):
        path = folder / "truth" / f"{scene.type.replace(' ', '-')}-{k:06d}"
        tensors = load_file(path.with_suffix(".safetensors"))
        assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()} == {
            "flow": (torch.float16, (8, 2, 32, 48)),
            "ids": (torch.int8, (9, 32, 48)),
            "occluded": (torch.bool, (8, 32, 48)),
        }
        assert torch.allclose(tensors["flow"].float(), drawn.flow[k], atol=0.01)
        assert torch.equal(tensors["ids"].int(), drawn.ids[k])
        assert torch.equal(tensors["occluded"], drawn.occluded[k])
        truth = json.loads(path.with_suffix(".json").read_text())
        assert (truth["caption"], truth["kind"]) == (scene.caption, scene.kind)
        assert (truth["type"], truth["fps"]) == (scene.type, 12)
        assert torch.equal(torch.tensor(truth["poses"]), scene.poses)
        names = [body["name"] for body in truth["bodies"]]
        assert names == [body.name for body in scene.bodies]
        assert int(tensors["ids"].max()) < len(names)
        assert [(law["kind"], tuple(law["bodies"]), law["values"]) for law in truth["laws"]] == [
            (law.kind, law.bodies, law.values) for law in scene.laws
        ]
        assert [asked["colour"] for asked in truth["asked"]] == [a.colour for a in scene.asked]
        assert [contact["frame"] for contact in truth["contacts"]] == [
            contact.frame for contact in scene.contacts
        ]


def test_clips_do_not_depend_on_how_they_were_written(folder, tmp_path, monkeypatch):
    """In parts, killed between clips, and asked for more later: the same files."""
    monkeypatch.setattr(lab_folder, "_AT_ONCE", 2)
    write = lab_folder.write_video
    written = []

    def killed(path, *rest):
        write(path, *rest)
        written.append(path.name)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(lab_folder, "write_video", killed)
    with pytest.raises(KeyboardInterrupt):
        write_lab_folder(LAB, tmp_path, 4, truth=True)
    assert len((tmp_path / "captions.jsonl").read_text().splitlines()) == 2
    write_lab_folder(LAB, tmp_path, 4, truth=True)
    assert written[3:] == ["gears-000002.mp4", "bouncing-ball-000003.mp4"], "what was missing"
    write_lab_folder(LAB, tmp_path, 5, truth=True)
    assert contents(tmp_path) == contents(folder)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")}
    write_lab_folder(LAB, tmp_path, 5, truth=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")} == before


def test_contact_sheet_has_a_row_for_every_type(folder, tmp_path):
    assert Image.open(folder / "contact_sheet.png").size == (5 * 180, 3 * (44 + 2 * 120))
    write_lab_folder(Lab(frames=3, height=32, width=32), tmp_path, len(SCENES) + 1)
    width, height = Image.open(tmp_path / "contact_sheet.png").size
    assert (width, height) == (900, len(SCENES) * (44 + 2 * 180))


def test_another_lab_or_no_clips_are_refused(folder, capsys):
    for wrong, message in (
        (["--seed", "1", "--truth", *OPTIONS], "lab.seed: 0 there, 1 now"),
        (OPTIONS, "truth: True there, False now"),
        (["--truth", "--count", "0", *OPTIONS], "count is 0, expected at least 1"),
    ):
        with pytest.raises(SystemExit):
            main(["lab", "--out", str(folder), *wrong])
        assert message in capsys.readouterr().err


def test_lab_model_command_takes_the_recipe(tmp_path, monkeypatch, capsys):
    from videojam.cli import lab_model

    asked = []

    def make(recipe, out, device, stop):
        asked.append((recipe.lab.frames, recipe.base.steps, recipe.tune_steps, out, device))
        return out / "videojam"

    monkeypatch.setattr(lab_model, "make_lab_model", make)
    main(["lab-model", "--out", str(tmp_path), "--lab.frames", "9", "--base.steps", "7",
          "--tune-steps", "3"])  # fmt: skip
    assert asked == [(9, 7, 3, tmp_path, "cpu")]
    assert f"videojam demo --models {tmp_path}" in capsys.readouterr().out
