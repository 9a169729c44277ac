"""All real clips: prepared, twelve videos trained on, three held out, losses before and after.

    python benchmarks/real_clips.py --clips CLIPS --model runs/overfit/base --out runs/real

The model is a small Wan with a trained autoencoder (benchmarks/overfit.py makes one); its
transformer starts from random weights, so this shows that the path works on real input and that
losses fall on clips that were not trained on, not what a real base would gain.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from record import record
from videojam.data.prepare.config import PrepareConfig
from videojam.motion.estimators.dis import DIS
from videojam.training.config import TrainConfig
from videojam.workflow.datasets import rows_of
from videojam.workflow.finetune import finetune
from videojam.workflow.prepare import prepare_dataset

HELD_OUT = ("coffee_pour.mp4", "sign_want.mkv", "motorway.mp4")


@dataclass(frozen=True, kw_only=True)
class RealClips:
    """Where from, where to, how long."""

    clips: Path
    model: Path
    out: Path
    steps: int = 700


def main(args: RealClips) -> None:
    torch.set_num_threads(2)
    config = PrepareConfig(
        videos=args.clips,
        captions=args.clips / "captions.jsonl",
        out=args.out / "data",
        model=str(args.model),
        sizes=((64, 112), (64, 80)),
        fps=12.0,
        num_frames=17,
        holdout=HELD_OUT,
        previews=16,
    )
    report = prepare_dataset(config, DIS())
    training = TrainConfig(
        out=args.out / "run",
        mode="full",
        steps=args.steps,
        global_batch_size=8,
        learning_rate=5e-4,
        precision="fp32",
        validate_every=350,
        checkpoint_every=350,
        log_every=50,
        sample_every=args.steps,
    )
    finetune(config.out, training, sample_steps=30)
    saved = json.loads((config.out / "report.json").read_text())
    lines = [json.loads(line) for line in (training.out / "metrics.jsonl").read_text().splitlines()]
    losses = {
        str(line["step"]): {
            key.partition("/")[2]: value for key, value in line.items() if "validation/" in key
        }
        for line in lines
        if "validation/motion" in line
    }
    figures = {
        "report": saved,
        "samples": {split: len(rows_of(config.out, split)) for split in ("train", "validation")},
        "dropped": [str(item) for item in report.dropped],
        "steps": args.steps,
        "validation_losses": losses,
    }
    print(record("real_clips", figures).read_text())


if __name__ == "__main__":
    main(tyro.cli(RealClips))
