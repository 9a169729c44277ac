"""The paper's DiT, small, on the Motion Lab: trained, widened, trained on jointly, sampled.

    python benchmarks/moviegen_lab.py --out runs/moviegen-lab

With the embedded model's autoencoder and text encoder. The same call again resumes.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from diffusers import DiffusionPipeline

from record import record
from videojam.embedded.dataset import prepare_lab
from videojam.embedded.recipe import Recipe
from videojam.embedded.shipped import embedded
from videojam.lab.clips import Lab, lab_scene
from videojam.media.video import side_by_side, write_video
from videojam.models.moviegen import PRESETS, LinearQuadraticScheduler, MovieGenTransformer3DModel
from videojam.objective import Objective
from videojam.sampling.generate import Sampling, VideoJAM
from videojam.training.config import TrainConfig
from videojam.workflow.finetune import finetune


@dataclass(frozen=True, kw_only=True)
class MovieGenLab:
    """How long to train."""

    out: Path = Path("runs/moviegen-lab")
    base: Path | None = None
    "Folder whose autoencoder and text encoder are used; default the embedded base."
    clips: int = 2048
    steps: int = 600
    "Of the base, and again of the joint training."
    batch_size: int = 32


def main(args: MovieGenLab) -> None:
    lab = Lab()
    start, data, runs = args.out / "start", args.out / "data", args.out / "runs"
    if not start.exists():
        pipe: Any = DiffusionPipeline.from_pretrained(args.base or embedded("base"))
        torch.manual_seed(0)
        transformer = MovieGenTransformer3DModel(**PRESETS["dit-small"], max_size=(5, 4, 4))
        pipe.register_modules(transformer=transformer, scheduler=LinearQuadraticScheduler())
        pipe.save_pretrained(start)
    recipe = Recipe()
    prepare_lab(lab, data, str(start), args.clips, 32, sigma=recipe.sigma, dtype=torch.bfloat16)
    settings = TrainConfig(
        out=runs / "base", target="appearance", mode="full", steps=args.steps,
        global_batch_size=args.batch_size, optimiser="muon", learning_rate=1e-3,
        lr_schedule="constant_with_warmup", warmup_steps=50, validate_every=args.steps // 4,
        checkpoint_every=100, export="folder", objective=Objective(text_dropout=0.1),
    )  # fmt: skip
    base = finetune(data, settings)
    joint = finetune(data, replace(settings, out=runs / "joint", target="joint"), str(base))
    jam = VideoJAM.from_pretrained(joint)
    figures: dict[str, Any] = {
        "parameters": sum(p.numel() for p in jam.pipe.transformer.parameters()),
        "losses": {name: _validation(runs / name) for name in ("base", "joint")},
        "clips": args.clips, "batch_size": args.batch_size,
    }  # fmt: skip
    caption = lab_scene(replace(lab, seed=1000), 0)[0].caption
    # The schedule is made for many steps: half of them go through a fortieth of the noise.
    clip = next(jam.clips([(caption, 0)], Sampling(num_inference_steps=100, text_scale=3)))
    write_video(args.out / "sample.mp4", side_by_side(clip.video, clip.motion), jam.info.fps)
    figures["sample_is_finite"] = bool(torch.isfinite(clip.latents).all())
    print(record("moviegen_lab", figures).read_text())


def _validation(run: Path) -> dict[str, dict[str, float]]:
    """Step -> losses on held-out clips."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = ("validation/appearance", "validation/motion")
    return {
        str(row["step"]): {name: row[name] for name in names if name in row}
        for row in rows
        if names[0] in row
    }


if __name__ == "__main__":
    main(tyro.cli(MovieGenLab))
