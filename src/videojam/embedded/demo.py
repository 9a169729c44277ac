"""What the embedded models make, side by side, offline: base, control and VideoJAM.

    videojam demo --out runs/demo

Captions of Motion Lab scenes, one per kind of motion: each model samples them from the same noise,
and the lab's exact metrics, which know the scenes, judge the clips. Written are OUT/index.html, one
file with everything in it, an mp4 per caption, all of them as all.gif, and metrics.json. Samples
are kept in OUT/samples, and the same command makes only those that are missing.
"""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import UInt8
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor

from videojam.embedded.demo_page import page
from videojam.embedded.shipped import NAMES, embedded
from videojam.joint.checkpoint import JointInfo, read_info
from videojam.lab.clips import Lab, lab_scene
from videojam.lab.judge import judge
from videojam.lab.scene import Scene
from videojam.media.tiles import line, row, stack, write_gif
from videojam.media.video import write_video
from videojam.motion.color import brighter
from videojam.records.atomic import write_text
from videojam.records.provenance import commit, machine, versions
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling, with_training_size
from videojam.sampling.samples import fingerprint, is_done, sample_name, write_sidecar

LABELS = {
    "base": "base", "control": "control", "videojam": "VideoJAM", "motion": "predicted motion",
}  # fmt: skip
"What is shown, left to right: its name in files, its label."
_TILE, _SMALL_TILE = 256, 128  # pixels to which a tile is enlarged at most: in mp4s, in the GIF


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """What the demo samples, and how."""

    types: tuple[str, ...] = ("bouncing ball", "acrobat", "collision", "gears")
    "Scene types of the Motion Lab, one caption each; the default has one of every kind of motion."
    scene_seed: int = 4000
    "Seed of the scenes. The embedded models were trained on scenes of seed 0."
    seed: int = 0
    "Seed of the noise, the same for all models and captions."
    sampling: Sampling = Sampling(text_scale=2.5, num_inference_steps=25)
    "The scales of the experiments (evaluation/experiments/generated.py)."

    def __post_init__(self) -> None:
        if not self.types:
            raise ValueError("no scene types; give at least one, or leave --types out")


class Prompt(NamedTuple):
    """One caption to sample."""

    name: str
    "Of its files."
    scene: Scene
    settings: dict[str, Any]
    "All that decides what the samples are."


def run_demo(
    out: Path, demo: Demo | None = None, models: Path | None = None, console: Console | None = None
) -> Path:
    """Sample and judge what is missing, write the page; returns its path.

    models: a folder of stock folders base, control and videojam, as recipe.py makes them; default
    the embedded ones. Raises ValueError if `out` holds samples that were made in another way.
    """
    console = console or Console()
    folders = {name: models / name if models else embedded(name) for name in NAMES}
    info = read_info(folders["videojam"])
    prompts = _prompts(demo or Demo(), folders, info)
    kept = out / "samples"
    missing = [prompt for prompt in prompts if not is_done(kept, prompt.name, prompt.settings)]
    console.print(f"{len(prompts)} captions, {len(prompts) - len(missing)} of them done before")
    if missing:
        made_by = {"models": str(models) if models else "embedded", "machine": machine()}
        _sample(missing, folders, kept, made_by, console)
    with console.status("drawing"):
        _show(out, prompts, info)
    megabytes = (out / "index.html").stat().st_size / 1e6
    console.print(
        f"open {out / 'index.html'} in a browser (one file, {megabytes:.1f} MB)\n"
        f"     {out}/*.mp4, {out / 'all.gif'}: {' | '.join(LABELS.values())}\n"
        f"     {out / 'metrics.json'}: all figures of the page",
        soft_wrap=True,
    )
    return out / "index.html"


def _prompts(demo: Demo, folders: dict[Any, Path], info: JointInfo) -> list[Prompt]:
    """The captions of the scenes, which have the length and size of the samples."""
    sampling = with_training_size(demo.sampling, info)
    size = sampling.size
    lab = Lab(
        frames=size["num_frames"], height=size["height"], width=size["width"], fps=info.fps,
        types=demo.types, seed=demo.scene_seed,
    )  # fmt: skip
    prints = {name: fingerprint(folder) for name, folder in folders.items()}
    prompts = []
    for index in range(len(demo.types)):
        scene = lab_scene(lab, index)[0]
        settings = {
            "prompt": scene.caption,
            "seed": demo.seed,
            "scene": {"type": scene.type, "seed": demo.scene_seed, "index": index},
            "sampling": asdict(sampling),
            "model_fingerprints": prints,
        }
        prompts.append(Prompt(sample_name(scene.caption, demo.seed), scene, settings))
    return prompts


def _sample(
    prompts: list[Prompt],
    folders: dict[Any, Path],
    kept: Path,
    made_by: dict[str, Any],
    console: Console,
) -> None:
    """Write NAME.safetensors, the frames as they came, and the sidecar NAME.json."""
    from diffusers import DiffusionPipeline

    at = commit()
    made_by |= {"versions": versions(), "commit": at and at.hash, "dirty": at is None or at.dirty}
    kept.mkdir(parents=True, exist_ok=True)
    with Progress(console=console) as progress:
        task = progress.add_task("loading the models", total=len(NAMES) * len(prompts))
        jam = VideoJAM.from_pretrained(folders["videojam"])
        pipes: dict[str, Any] = {"videojam": jam.pipe}
        for name in ("base", "control"):
            pipes[name] = DiffusionPipeline.from_pretrained(folders[name])
        for pipe in pipes.values():
            pipe.set_progress_bar_config(disable=True)
        for prompt in prompts:
            sampling = Sampling(**prompt.settings["sampling"])
            pair = (prompt.scene.caption, prompt.settings["seed"])
            tensors: dict[str, Tensor] = {}
            seconds: dict[str, float] = {}
            for name in NAMES:
                progress.update(task, description=f"{LABELS[name]}: {prompt.scene.type}")
                began = time.perf_counter()
                if name == "videojam":
                    clip = next(jam.clips([pair], sampling))
                    tensors |= {"videojam": clip.video, "motion": clip.motion}
                    tensors["flow"] = clip.flow.half()
                else:
                    tensors[name] = next(base_videos(pipes[name], [pair], sampling))
                seconds[name] = round(time.perf_counter() - began, 2)
                progress.advance(task)
            metrics = {name: _scores(tensors[name], prompt.scene) for name in NAMES}
            save_file(
                {name: tensor.contiguous() for name, tensor in tensors.items()},
                kept / f"{prompt.name}.safetensors",
            )
            sidecar = prompt.settings | {"kind": prompt.scene.kind, "fps": jam.info.fps}
            sidecar |= {"metrics": metrics, "seconds": seconds, **made_by}
            write_sidecar(kept, prompt.name, sidecar)


def _scores(frames: UInt8[Tensor, "f h w 3"], scene: Scene) -> dict[str, float | None]:
    """The lab's judgement; None, as JSON has no NaN, where a metric does not apply."""
    scores = judge(frames, scene).as_dict()
    return {name: None if math.isnan(score) else score for name, score in scores.items()}


def _show(out: Path, prompts: list[Prompt], info: JointInfo) -> None:
    """Everything to look at, from the kept samples alone."""
    sidecars, videos = [], []
    small: list[UInt8[Tensor, "_ _ w 3"]] = []
    for prompt in prompts:
        sidecars.append(json.loads((out / "samples" / f"{prompt.name}.json").read_text()))
        tensors = load_file(out / "samples" / f"{prompt.name}.safetensors")
        background = "white" if info.background == "white" else "black"
        tensors["motion"] = brighter(tensors["motion"], background)
        clips = [tensors[name] for name in LABELS]
        height = clips[0].shape[1]
        large = row(clips, max(1, _TILE // height))
        labels = line(list(LABELS.values()), large.shape[2], 30)
        videos.append(out / f"{prompt.name}.mp4")
        write_video(videos[-1], stack([labels, large]), info.fps)
        tiles = row(clips, max(1, _SMALL_TILE // height))
        width = tiles.shape[2]
        if not small:
            small.append(line(list(LABELS.values()), width, 16))
        small += [line([prompt.scene.caption], width, 14), tiles]
    write_gif(out / "all.gif", stack(small), info.fps)
    write_text(out / "metrics.json", json.dumps(sidecars, indent=2) + "\n")
    write_text(out / "index.html", page(sidecars, videos))
