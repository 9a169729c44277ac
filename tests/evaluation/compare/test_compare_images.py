"""Comparisons whose prompts come with images to begin with, or with controls to follow."""

import csv
import json

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from helpers.small_models import MODELS
from helpers.small_runs import info_of, load, make_joint, write_clip
from videojam.evaluation.clips.generate import Sample, clip_path
from videojam.evaluation.compare.config import Config
from videojam.evaluation.compare.experiment import run
from videojam.joint.checkpoint import save_folder
from videojam.joint.sizes import Size
from videojam.media.video import write_video
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling
from videojam.workflow.control_clip import control_clip

TEXTS = ("a red ball rolls", "a dog jumps over the table")
STEPS = 2


class Setup:
    """A base, a joint model of it, and what their samples begin with or follow."""

    def __init__(self, name, root):
        self.root = root
        MODELS[name]().save_pretrained(root / "base")
        pipe = load(root / "base")
        self.info = info_of(pipe, root / "base")
        make_joint(pipe)
        save_folder(pipe, root / "joint", self.info)
        size = {name: getattr(self.info, name) for name in ("num_frames", "height", "width")}
        self.sampling = Sampling(num_inference_steps=STEPS, **size)

    def compare(self, rows):
        with (self.root / "prompts.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["prompt", *rows[0]])
            writer.writeheader()
            writer.writerows({"prompt": text} | row for text, row in zip(TEXTS, rows, strict=True))
        run(Config(
            out=self.root / "out", prompts=str(self.root / "prompts.csv"), device="cpu",
            systems=(f"base={self.root / 'base'}", f"jam={self.root / 'joint'}"),
            num_inference_steps=STEPS,
        ))  # fmt: skip

    def made(self, system, text):
        """The bytes of a clip, and its sidecar."""
        path = clip_path(self.root / "out" / "clips" / system, Sample(text, 0, {}))
        return path.read_bytes(), json.loads(path.with_suffix(".json").read_text())

    def direct(self, system, text, **given):
        """The bytes of a clip that is made by hand."""
        given = {name: [one] for name, one in given.items()}
        if system == "jam":
            jam = VideoJAM.from_pretrained(self.root / "joint", torch.float32)
            video = next(jam.clips([(text, 0)], self.sampling, **given)).video
        else:
            base = DiffusionPipeline.from_pretrained(self.root / "base", dtype=torch.float32)
            fps = self.info.fps
            video = next(base_videos(base, [(text, 0)], self.sampling, fps, **given))
        write_video(self.root / "by-hand.mp4", video, self.info.fps)
        return (self.root / "by-hand.mp4").read_bytes()


def write_image(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_every_prompt_begins_with_its_own_image(tmp_path):
    setup = Setup("Wan2.2-I2V", tmp_path)
    files = ["0.png", "1.png"]
    for seed, name in enumerate(files):
        write_image(tmp_path / name, seed)
    setup.compare([{"image": name} for name in files])
    for text, own, other in zip(TEXTS, files, files[::-1], strict=True):
        for system in ("base", "jam"):
            found, sidecar = setup.made(system, text)
            assert found == setup.direct(system, text, images=tmp_path / own)
            assert found != setup.direct(system, text, images=tmp_path / other)
            assert len(sidecar["image_sha256"]) == 64 and sidecar["prompt"] == text
    write_image(tmp_path / files[1], 2)
    with pytest.raises(ValueError, match=r"was made with other image_sha256; give another folder"):
        setup.compare([{"image": name} for name in files])


def test_a_prompt_ends_with_its_last_image(tmp_path):
    setup = Setup("Wan2.1-FLF2V", tmp_path)
    for seed, name in enumerate("abc"):
        write_image(tmp_path / f"{name}.png", seed)
    setup.compare([{"image": "a.png", "last_image": last} for last in ("b.png", "c.png")])
    for system in ("base", "jam"):
        found, sidecar = setup.made(system, TEXTS[0])
        begin, own, other = (tmp_path / f"{name}.png" for name in "abc")
        assert found == setup.direct(system, TEXTS[0], images=begin, last=own)
        assert found != setup.direct(system, TEXTS[0], images=begin, last=other)
        assert sidecar["image_sha256"] != sidecar["last_image_sha256"]


def test_every_prompt_follows_its_own_control(tmp_path):
    """Half of it where a mask says so; and one prompt goes without."""
    setup = Setup("Wan-VACE", tmp_path)
    size, info = Size(*setup.sampling.size.values()), setup.info
    write_clip(tmp_path / "control.mp4", size, "", 5)
    mask = np.zeros((size.height, size.width), np.uint8)
    mask[:, : size.width // 2] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    named = {"control": "control.mp4", "control_mask": "mask.png"}
    setup.compare([named, dict.fromkeys(named, "")])
    control, whole = (
        control_clip(tmp_path / "control.mp4", m, size, info.fps)
        for m in (tmp_path / "mask.png", None)
    )
    for system in ("base", "jam"):
        followed, sidecar = setup.made(system, TEXTS[0])
        assert followed == setup.direct(system, TEXTS[0], controls=control)
        assert followed != setup.direct(system, TEXTS[0], controls=whole)
        assert {"control_sha256", "control_mask_sha256"} < sidecar.keys()
        free, sidecar = setup.made(system, TEXTS[1])
        assert free == setup.direct(system, TEXTS[1])
        assert "control_sha256" not in sidecar


def test_a_model_that_takes_no_image_says_so(tmp_path):
    setup = Setup("Wan2.1", tmp_path)
    write_image(tmp_path / "0.png", 0)
    with pytest.raises(ValueError, match="takes no image"):
        setup.compare([{"image": "0.png"}, {"image": "0.png"}])
