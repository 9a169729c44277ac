"""The overfit proof: on two real clips, does sampling with a caption give back that clip's motion?

    python benchmarks/overfit.py --clips CLIPS --out runs/overfit

Trains a small Wan's autoencoder on the two clips, prepares them, trains the joint model in full,
samples each caption, and compares predicted with true motion latents. Every stage resumes.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from record import record
from videojam.data import dataset
from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.pixels import collect_pixels
from videojam.data.prepare.prepare import samples_path
from videojam.embedded.autoencoder import AutoencoderFit, fit_autoencoder
from videojam.joint.denoiser import Denoiser
from videojam.joint.latents import split
from videojam.joint.text import text_as
from videojam.media.video import write_video
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.motion.estimators.dis import DIS
from videojam.sampling.generate import Sampling, VideoJAM
from videojam.training.config import TrainConfig
from videojam.training.step import MicroBatch
from videojam.training.validation import validation_losses
from videojam.workflow.datasets import rows_of
from videojam.workflow.finetune import finetune
from videojam.workflow.prepare import prepare_dataset

NAMES = ("football_juggle.mp4", "cups_shuffle.mp4")
SEEDS = (0, 1, 2)
# A token of the joint model brings in 128 numbers of noise that its prediction needs; a width of
# 128 cannot carry them and anything else besides (docs/log.md).
SIZES = SmallWan(num_heads=8)


@dataclass(frozen=True, kw_only=True)
class Overfit:
    """Sizes and lengths of the proof."""

    clips: Path
    "Folder with the real clips and captions.jsonl."
    out: Path
    size: int = 64
    frames: int = 17
    fps: float = 12.0
    autoencoder: AutoencoderFit = AutoencoderFit(image_steps=1500, steps=3000)
    steps: int = 4000


def main(args: Overfit) -> None:
    folder = _two_clips(args.clips, args.out / "clips")
    config = PrepareConfig(
        videos=folder,
        captions=folder / "captions.jsonl",
        out=args.out / "data",
        model=str(args.out / "base"),
        sizes=((args.size, args.size),),
        fps=args.fps,
        num_frames=args.frames,
        max_clips_per_video=1,
        dtype="float32",
        num_workers=0,
    )
    if not (args.out / "base").exists():
        many = dataclasses.replace(config, max_clips_per_video=12)
        clips = collect_pixels(many, DIS())
        pipe = small_wan_pipeline(SIZES)
        error = fit_autoencoder(pipe.vae, clips.__getitem__, len(clips), args.autoencoder, _report)
        (args.out / "autoencoder.json").write_text(json.dumps({"mean_absolute_error": error}))
        pipe.save_pretrained(args.out / "base")

    prepare_dataset(config, DIS())
    training = TrainConfig(
        out=args.out / "run",
        mode="full",
        steps=args.steps,
        global_batch_size=4,
        learning_rate=1e-3,
        lr_schedule="cosine",
        precision="fp32",
        validate_every=0,
        log_every=100,
    )
    exported = finetune(config.out, training)
    record("overfit", _compare(args, exported, config.out) | _losses(training.out))


def _compare(args: Overfit, exported: Path, prepared: Path) -> dict:
    """Correlation of predicted and true motion latents, per clip, seed and guidance."""
    jam = VideoJAM.from_pretrained(exported)
    rows = rows_of(prepared, "train")
    samples = dataset.read(dataset.reader(samples_path(prepared)), rows)
    guided = {
        "no guidance": Sampling(text_scale=0, motion_scale=0),
        "text 1, motion 1": Sampling(text_scale=1, motion_scale=1),
        "paper (text 5, motion 3)": Sampling(),
    }
    figures: dict = {"motion_correlation": {}, "appearance_correlation": {}}
    for name, sampling in guided.items():
        for sample in samples:
            for seed in SEEDS:
                clip = next(jam.clips([(sample.caption, seed)], sampling))
                x, d = split(clip.latents, channel_dim=0)
                other = next(o for o in samples if o.key != sample.key)
                # Most of a motion latent is its still background, the same in both clips; what
                # is left without their mean is the motion of this clip against the other's.
                common = (sample.d + other.d) / 2
                entry = {
                    "own": _correlation(d, sample.d),
                    "own, without the common part": _correlation(d - common, sample.d - common),
                    "other": _correlation(d, other.d),
                }
                key = f"{Path(sample.source).stem}, seed {seed}, {name}"
                figures["motion_correlation"][key] = entry
                figures["appearance_correlation"][key] = _correlation(x, sample.x)
                write_video(
                    args.out / "samples" / f"{key.replace(', ', '-').replace(' ', '_')}.mp4",
                    torch.cat([clip.video, clip.motion], dim=2),
                    args.fps,
                )
    # Without dropouts: a fifth of the training losses has no motion input to predict noise from.
    held_out = [
        lambda index=index, sample=sample: MicroBatch(
            sample.x[None], sample.d[None], [text_as(sample.text, torch.float32)], [index]
        )
        for index, sample in enumerate(samples)
    ]
    figures["losses_without_dropouts"] = validation_losses(
        jam.pipe.transformer, held_out, (0.1, 0.3, 0.5, 0.7, 0.9), Denoiser(jam.pipe)
    )
    return figures


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.flatten().float(), b.flatten().float())[0, 1])


def _losses(run: Path) -> dict:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "loss/motion" in line]
    keys = ("loss/appearance", "loss/motion")
    return {
        "first_losses": {key: lines[0][key] for key in keys},
        "end_losses_mean_of_last_5": {
            key: float(np.mean([line[key] for line in lines[-5:]])) for key in keys
        },
        "steps": lines[-1]["step"],
    }


def _two_clips(clips: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for line in (clips / "captions.jsonl").read_text().splitlines():
        name = json.loads(line)["path"]
        if name in NAMES:
            lines.append(line)
            if not (folder / name).exists():
                (folder / name).symlink_to((clips / name).resolve())
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def _report(step: int, error: float) -> None:
    if step % 100 == 0:
        print(f"autoencoder step {step}: mean absolute error {error:.4f}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Overfit))
