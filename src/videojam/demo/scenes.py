"""The scenes' part: captions of the Motion Lab, whose clips look like video.

One type of scene is drawn for each kind of motion. The lab's exact metrics, which know the scenes,
judge the clips.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import UInt8
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor

from videojam.embedded.lab_file import lab_of
from videojam.embedded.shipped import NAMES, embedded
from videojam.joint.checkpoint import JointInfo, read_info
from videojam.lab.clips import Lab, lab_scene
from videojam.lab.judge import judge
from videojam.lab.scene import KINDS, Scene
from videojam.lab.scenes import SCENES
from videojam.media.tiles import line, row, stack, write_gif
from videojam.media.video import write_video
from videojam.motion.color import brighter
from videojam.records.provenance import made_here
from videojam.rng import generator
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling, with_training_size
from videojam.sampling.samples import fingerprint, is_done, sample_name, write_sidecar

LABELS = {
    "base": "base", "control": "control", "videojam": "VideoJAM", "motion": "predicted motion",
}  # fmt: skip
"What is shown, left to right: its name in files, its label."
_TILE, _SMALL_TILE = 256, 128  # pixels to which a tile is enlarged at most: in mp4s, in the GIF


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenes:
    """Clips of simulated scenes."""

    types: tuple[str, ...] = ()
    """Scene types, a caption each; default: one of each kind of motion that the models know, drawn
    by scene_seed."""
    scene_seed: int = 4000
    "Seed of the scenes. The embedded models were trained on scenes of seed 0."
    seeds: tuple[int, ...] = (0, 1)
    "Seeds of the noise, the same for all models and captions."
    sampling: Sampling = Sampling(text_scale=2.5, num_inference_steps=25)
    "The scales of the experiments (evaluation/experiments/generated.py)."

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("no seeds; give at least one, or leave --seeds out")
        Lab(types=self.types)  # raises for types that there are not


class OneSample(NamedTuple):
    """One caption with one noise."""

    name: str
    "Of its files."
    scene: Scene
    settings: dict[str, Any]
    "All that decides what the sample is."


class Plan(NamedTuple):
    samples: list[OneSample]
    folders: dict[str, Path]
    "Of the models."
    info: JointInfo
    made_by: str


class Shown(NamedTuple):
    sidecars: list[dict[str, Any]]
    videos: list[Path]
    "An mp4 for each of them."


def drawn_types(seed: int, known: Sequence[str] = ()) -> tuple[str, ...]:
    """One scene type of every kind of motion, of those known (default all)."""
    random = generator(seed, "demo types")
    chosen = []
    for kind in KINDS:
        own = [name for name in known or SCENES if SCENES[name][0] == kind]
        if own:
            chosen.append(own[int(torch.randint(len(own), (), generator=random))])
    return tuple(chosen)


def plan(scenes: Scenes, models: Path | None) -> Plan:
    """Captions of scenes that have the length and size of the samples. models: as in run_demo."""
    folders = {name: models / name if models else embedded(name) for name in NAMES}
    info = read_info(folders["videojam"])
    sampling = with_training_size(scenes.sampling, info)
    size = sampling.size
    known = lab_of(folders["videojam"], scenes.scene_seed)
    lab = replace(
        known, frames=size["num_frames"], height=size["height"], width=size["width"],
        types=scenes.types or drawn_types(scenes.scene_seed, known.types),
    )  # fmt: skip
    prints = {name: fingerprint(folder) for name, folder in folders.items()}
    samples = []
    for index in range(len(lab.types)):
        scene = lab_scene(lab, index)[0]
        for seed in scenes.seeds:
            settings = {
                "prompt": scene.caption,
                "seed": seed,
                "scene": {"type": scene.type, "seed": scenes.scene_seed, "index": index},
                "sampling": asdict(sampling),
                "model_fingerprints": prints,
            }
            samples.append(OneSample(sample_name(scene.caption, seed), scene, settings))
    return Plan(samples, folders, info, str(models) if models else "embedded")


def is_there(kept: Path, one: OneSample) -> bool:
    """ValueError if it was made in another way."""
    return is_done(kept, one.name, one.settings)


def sample(own: Plan, missing: list[OneSample], kept: Path, progress: Progress) -> None:
    """Write NAME.safetensors, the frames as they came, and the sidecar NAME.json, of each."""
    from diffusers import DiffusionPipeline

    made_by = {"models": own.made_by, **made_here()}
    kept.mkdir(parents=True, exist_ok=True)
    task = progress.add_task("scenes: loading the models", total=len(NAMES) * len(missing))
    jam = VideoJAM.from_pretrained(own.folders["videojam"])
    pipes: dict[str, Any] = {"videojam": jam.pipe}
    for name in ("base", "control"):
        pipes[name] = DiffusionPipeline.from_pretrained(own.folders[name])
    for pipe in pipes.values():
        pipe.set_progress_bar_config(disable=True)
    for one in missing:
        sampling = Sampling(**one.settings["sampling"])
        pair = (one.scene.caption, one.settings["seed"])
        tensors: dict[str, Tensor] = {}
        seconds: dict[str, float] = {}
        for name in NAMES:
            progress.update(task, description=f"scenes: {LABELS[name]}: {one.scene.type}")
            began = time.perf_counter()
            if name == "videojam":
                clip = next(jam.clips([pair], sampling))
                tensors |= {"videojam": clip.video, "motion": clip.motion}
                tensors["flow"] = clip.flow.half()
            else:
                tensors[name] = next(base_videos(pipes[name], [pair], sampling))
            seconds[name] = round(time.perf_counter() - began, 2)
            progress.advance(task)
        metrics = {name: _scores(tensors[name], one.scene) for name in NAMES}
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            kept / f"{one.name}.safetensors",
        )
        sidecar = one.settings | {"kind": one.scene.kind, "fps": own.info.fps}
        sidecar |= {"metrics": metrics, "seconds": seconds, **made_by}
        write_sidecar(kept, one.name, sidecar)


def _scores(frames: UInt8[Tensor, "f h w 3"], scene: Scene) -> dict[str, float | None]:
    """The lab's judgement; None, as JSON has no NaN, where a metric does not apply."""
    scores = judge(frames, scene).as_dict()
    return {name: None if math.isnan(score) else score for name, score in scores.items()}


def show(own: Plan, kept: Path, out: Path) -> Shown:
    """Everything to look at, from the kept samples alone; writes an mp4 for each, and all.gif."""
    sidecars, videos = [], []
    small: list[UInt8[Tensor, "_ _ w 3"]] = []
    background = "white" if own.info.background == "white" else "black"
    for one in own.samples:
        sidecars.append(json.loads((kept / f"{one.name}.json").read_text()))
        tensors = load_file(kept / f"{one.name}.safetensors")
        tensors["motion"] = brighter(tensors["motion"], background)
        clips = [tensors[name] for name in LABELS]
        height = clips[0].shape[1]
        large = row(clips, max(1, _TILE // height))
        labels = line(list(LABELS.values()), large.shape[2], 30)
        videos.append(out / f"{one.name}.mp4")
        write_video(videos[-1], stack([labels, large]), own.info.fps)
        tiles = row(clips, max(1, _SMALL_TILE // height))
        width = tiles.shape[2]
        if not small:
            small.append(line(list(LABELS.values()), width, 16))
        small += [line([one.scene.caption], width, 14), tiles]
    write_gif(out / "all.gif", stack(small), own.info.fps)
    return Shown(sidecars, videos)
