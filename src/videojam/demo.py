"""The whole path on a laptop, offline: simulated clips -> prepare -> train -> generate.

Every stage is the one that real models take; only the model is small and made on the spot: a
small Wan whose autoencoder and base are trained here for a minute or two each. What it shows is
that the path works; a model this small and this briefly trained is no evidence for the method.
Stages whose results are there are skipped, so the same command goes on where it was stopped.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from videojam.data.config import PrepareConfig
from videojam.data.pixels import collect_pixels
from videojam.generate import Sampling, VideoJAM, base_videos
from videojam.joint.checkpoint import INFO_FILE
from videojam.lab.shapes import shape_clip, write_shape_clips
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.motion.estimators.dis import DIS
from videojam.training.autoencoder import AutoencoderFit, fit_autoencoder
from videojam.training.config import TrainConfig
from videojam.video import side_by_side, write_video
from videojam.workflow import finetune, prepare_dataset


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """How much of everything; the defaults take a few minutes on two cores."""

    num_clips: int = 32
    autoencoder: AutoencoderFit = AutoencoderFit()
    base_steps: int = 500
    "Steps of the base model, from random weights, on appearance alone."
    joint_steps: int = 500
    "Steps of the joint fine-tuning."
    sampling: Sampling = Sampling(num_inference_steps=25, text_scale=2.0, motion_scale=1.0)
    "Weaker guidance than the paper's, whose scales are too strong for a model this small."
    seed: int = 0


def run_demo(out: Path, demo: Demo, console: Console) -> dict[str, float]:
    """Run all stages into `out`; prints a table and returns its figures."""
    took: dict[str, float] = {}

    def stage(name: str, done: Path, work: Callable[[], Any]) -> None:
        if done.exists():
            console.print(f"{name}: already there")
            return
        console.print(f"[bold]{name}[/bold]")
        start = time.perf_counter()
        work()
        took[name] = time.perf_counter() - start

    clips, start, base = out / "clips", out / "start", out / "base"
    config = PrepareConfig(
        videos=clips, captions=clips / "captions.jsonl", out=out / "data", model=str(start),
        sizes=((48, 48),), fps=8.0, num_frames=9, holdout_videos=4, num_workers=0, previews=8,
    )  # fmt: skip
    stage(
        "simulate clips",
        clips / "captions.jsonl",
        lambda: write_shape_clips(clips, demo.num_clips, demo.seed),
    )
    stage("train autoencoder", start, lambda: _write_start(start, config, demo, console))
    # Each marker is what its stage writes last, so a stage that was killed is done again.
    stage("prepare", config.out / "contact_sheet.png", lambda: prepare_dataset(config, DIS()))
    settings = TrainConfig(
        out=out / "base-run", target="appearance", mode="full", steps=demo.base_steps,
        batch_size=4, learning_rate=2e-3, lr_schedule="cosine", precision="fp32",
        checkpoint_every=100, keep_checkpoints=1, validate_every=100, log_every=50, seed=demo.seed,
    )  # fmt: skip
    joint = replace(
        settings, out=out / "joint-run", target="joint", steps=demo.joint_steps, learning_rate=1e-3
    )
    stage("train base", base, lambda: finetune(config.out, settings).rename(base))
    exported = joint.out / "model"
    stage("train joint", exported / INFO_FILE, lambda: finetune(config.out, joint, str(base)))
    stage(
        "generate",
        out / "samples" / "done",
        lambda: _generate(out, exported, base, demo),
    )
    return _show(out, joint.out, took, console)


def _write_start(start: Path, config: PrepareConfig, demo: Demo, console: Console) -> None:
    """The small Wan, its autoencoder trained on the clips and on their motion videos."""
    pixels = collect_pixels(config, DIS())
    pipe = small_wan_pipeline(SmallWan(seed=demo.seed))

    def report(step: int, error: float) -> None:
        if step % 100 == 99:
            console.print(f"step {step + 1}  mean absolute error {error:.3f}")

    fit_autoencoder(pipe.vae, pixels.__getitem__, len(pixels), demo.autoencoder, report)
    part = start.with_suffix(".part")
    pipe.save_pretrained(part)
    part.rename(start)


def _load(folder: Path) -> Any:
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(folder)


def _generate(out: Path, model: Path, base: Path, demo: Demo) -> None:
    """base | joint | predicted motion, for captions of clips that were not trained on."""
    jam = VideoJAM.from_pretrained(model)
    base_pipe = _load(base)
    sampling = jam.resolve(demo.sampling)
    samples = [(shape_clip(demo.seed, demo.num_clips + index).caption, index) for index in range(4)]
    for pipe in (jam.pipe, base_pipe):
        pipe.set_progress_bar_config(disable=True)
    pairs = zip(
        base_videos(base_pipe, samples, sampling), jam.clips(samples, sampling), strict=True
    )
    for video, clip in pairs:
        name = clip.prompt.replace(" ", "-")
        row = side_by_side(video, clip.video, clip.motion)
        write_video(out / "samples" / f"{name}-{clip.seed}.mp4", row, jam.info.fps)
    (out / "samples" / "done").touch()


def _show(out: Path, run: Path, took: dict[str, float], console: Console) -> dict[str, float]:
    """Seconds of each stage, validation losses before and after, and where the files are."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line for line in lines if "validation/motion" in line]
    table = Table("", "", title="videojam demo")
    for name, seconds in took.items():
        table.add_row(name, f"{seconds:.0f} s")
    for half in ("appearance", "motion"):
        first, last = (losses[i][f"validation/{half}"] for i in (0, -1))
        table.add_row(f"validation loss, {half}", f"{first:.3f} -> {last:.3f}")
    console.print(table)
    console.print(f"look at {out}/samples/*.mp4: base | joint | predicted motion")
    console.print(f"        {out}/data/contact_sheet.png: clips and their motion videos")
    return took
