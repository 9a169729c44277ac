"""Real first frames through the whole path: prepare, train, generate, with a small model.

    python benchmarks/image_to_video.py --clips CLIPS --out OUT [--steps 300]

The embedded VideoJAM model gets the channels of Wan's image-to-video layout, at zero, and is tuned
on real clips of 64 x 64 with their own first frames; first frames then begin new clips, of clips
that it was trained on and of held-out ones. OUT/train.png and OUT/validation.png show for each the
image, the real clip, the new one and its motion. Figures: how far the first frame is from its
image, and from the other images.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanImageToVideoPipeline
from PIL import Image

from record import record
from videojam.data import dataset
from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.prepare import samples_path
from videojam.embedded.shipped import embedded
from videojam.evaluation.metrics.flow_agreement import psnr
from videojam.joint.checkpoint import load_pipeline, save_folder
from videojam.joint.latents import decode_video, latent_channels
from videojam.media.video import to_uint8
from videojam.motion.estimators.dis import DIS
from videojam.motion.flow import estimate_flow
from videojam.motion.warp import flow_length
from videojam.objective import Objective
from videojam.sampling.generate import VideoJAM
from videojam.training.config import TrainConfig
from videojam.workflow.datasets import rows_of
from videojam.workflow.finetune import finetune
from videojam.workflow.prepare import prepare_dataset

HELD_OUT = 6
SCALES = {"text_scale": 1.5, "motion_scale": 1.0, "num_inference_steps": 30}


def with_image_channels(folder: Path) -> None:
    """The embedded joint model as one that starts from an image, not trained to do so yet."""
    pipe, info = load_pipeline(embedded(), torch.float32)
    C, before = latent_channels(pipe.vae), pipe.transformer
    config = dict(before.config) | {"in_channels": 2 * C + 4 + C}
    state = before.state_dict()
    weight = state["patch_embedding.weight"]
    wide = torch.zeros(len(weight), 4 + C, *weight.shape[2:])
    state["patch_embedding.weight"] = torch.cat([weight, wide], 1)
    transformer = type(before).from_config(config)
    transformer.load_state_dict(state)
    parts = {k: v for k, v in pipe.components.items() if k not in ("transformer", "transformer_2")}
    made = WanImageToVideoPipeline(**parts, transformer=transformer)
    save_folder(made, folder, info)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    torch.set_num_threads(1)
    start, data = args.out / "start", args.out / "data"
    if not start.exists():
        with_image_channels(start)
    prepare = PrepareConfig(
        videos=args.clips, captions=args.clips / "captions.jsonl", out=data, model=str(start),
        sizes=((64, 64),), num_frames=17, fps=16.0, sigma=0.075, holdout_videos=HELD_OUT,
        num_workers=1, max_clips_per_video=8, previews=0,
    )  # fmt: skip
    prepare_dataset(prepare, DIS())
    config = TrainConfig(
        out=args.out / "run", mode="full", steps=args.steps, global_batch_size=8,
        optimiser="muon", learning_rate=5e-4, lr_schedule="cosine", precision="fp32",
        ema_decay=0.98, validate_every=args.steps, checkpoint_every=100, log_every=20,
        objective=Objective(flow_shift=2.0),
    )  # fmt: skip
    jam = VideoJAM.from_pretrained(finetune(data, config))
    jam.pipe.set_progress_bar_config(disable=True)
    figures: dict[str, Any] = {"steps": args.steps}
    for split in ("train", "validation"):
        samples = one_of_each_video(data, split)
        figures[split] = begun(jam, samples, args.out / f"{split}.png")
    # A caption of a clip that was trained on may tell which clip it is.
    samples = [one._replace(caption="") for one in one_of_each_video(data, "train")]
    figures["train, no caption"] = begun(jam, samples, args.out / "no-caption.png")
    print(record("image_to_video", figures).read_text())


def one_of_each_video(data: Path, split: str) -> list[dataset.Sample]:
    """The first clip of some videos of a split."""
    found: dict[str, dataset.Sample] = {}
    opened = dataset.reader(samples_path(data))
    for sample in dataset.read(opened, rows_of(data, split)):
        found.setdefault(sample.source, sample)
    return [*found.values()][:HELD_OUT]


def begun(jam: VideoJAM, samples: list[dataset.Sample], sheet: Path) -> dict[str, Any]:
    """Clips that begin with the samples' first frames, shown and measured."""
    images, clips, rows = [], [], []
    picked = [0, 4, 8, 12, 16]
    for sample in samples:
        truth = to_uint8(decode_video(jam.pipe.vae, sample.x[None].float()))[0]
        clip = jam(sample.caption, image=truth[0], **SCALES)
        images.append(truth[0])
        clips.append(clip)
        shown = [truth[0], *truth[picked], *clip.video[picked], *clip.motion[picked]]
        rows.append(torch.cat(shown, 1))
    made = Image.fromarray(torch.cat(rows).numpy())
    made.resize((made.width * 2, made.height * 2), 0).save(sheet)
    firsts = np.array([[psnr(clip.video[:1], image[None]) for image in images] for clip in clips])
    other = ~np.eye(len(images), dtype=bool)
    moved = [float(flow_length(estimate_flow(clip.video, DIS())).mean()) for clip in clips]
    return {
        "clips": len(clips),
        "PSNR of the first frame, its own image": round(float(firsts.diagonal().mean()), 2),
        "PSNR of the first frame, other images": round(float(firsts[other].mean()), 2),
        "nearest image is its own": int((firsts.argmax(1) == np.arange(len(images))).sum()),
        "mean flow, px a frame": [round(value, 2) for value in moved],
        "mean flow of the real clips, px a frame": [round(s.flow_mean_px, 2) for s in samples],
    }


if __name__ == "__main__":
    main()
