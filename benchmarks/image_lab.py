"""Do image-conditioned models of the Motion Lab freeze, and does VideoJAM help?

    python benchmarks/image_lab.py --out runs/image-lab [--models runs/lab-model]

A lab base gets the channels of Wan's image-to-video layout, at zero, and is trained on the lab with
every clip's own first frame; control and VideoJAM go on from there, alike but for the objective.
All begin held-out clips from the true first frame, with its caption. Figures of each system, with
95 % intervals over scenes: dynamic degree, speed of the fastest 5 % over that of the true clip, the
judge's coherence (docs/lab_metrics.md) and how near the first frame is to its image (dB). VideoJAM
with Inner-Guidance, and with the image term at each of --image-scales; differences are paired, from
control.

About 0.6 s a clip and system and a training step a second on two cores: hours. The same command
goes on where it was stopped, trainings and clips alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from diffusers import DiffusionPipeline
from jaxtyping import UInt8
from torch import Tensor

from lab_models import LabRun, begun, kept, train_three, with_image_channels
from record import RESULTS, record
from videojam.embedded.dataset import prepare_lab
from videojam.evaluation.clips.judged import (
    Judged,
    judge_clips,
    scored_as_the_truth,
    through_autoencoder,
    true_clips,
)
from videojam.evaluation.clips.systems import Made, Request, lab_requests
from videojam.evaluation.metrics.flow_agreement import psnr
from videojam.evaluation.statistics.bootstrap import bootstrap_mean, paired_bootstrap
from videojam.lab.clips import Lab
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling

SPEED = "speed_diagonals_per_s"


@dataclass(frozen=True, kw_only=True)
class ImageLab(LabRun):
    """The measurement."""

    image_scales: tuple[float, ...] = (1.5,)
    "Weights of the image term that VideoJAM is sampled with, beside none."
    results: Path = RESULTS


def main(args: ImageLab) -> dict[str, Any]:
    lab, sigma, start, data = begun(args, "image_lab.json")
    with_image_channels(args.folder("base"), start)
    prepare_lab(lab, data, str(start), args.clips, args.validation, sigma=sigma)
    models = train_three(args, lab, data, start)
    return measure(args, replace(lab, seed=args.seed), models)


def measure(args: ImageLab, lab: Lab, models: dict[str, Path]) -> dict[str, Any]:
    requests = lab_requests(lab, args.prompts)
    truth = [made.video for made in true_clips(lab, range(args.prompts))]
    jam = VideoJAM.from_pretrained(models["videojam"])
    jam.pipe.set_progress_bar_config(disable=True)
    sampling = Sampling(
        text_scale=args.text_scale, motion_scale=args.motion_scale,
        num_inference_steps=args.num_inference_steps,
    )  # fmt: skip
    made = {"true clips": iter(truth)}
    through = through_autoencoder(jam.pipe, (Made(video, None) for video in truth))
    made["through the autoencoder"] = (clip.video for clip in through)
    for name in ("base", "control"):
        pipe: Any = DiffusionPipeline.from_pretrained(models[name])
        pipe.set_progress_bar_config(disable=True)
        one = partial(plain, pipe, jam.resolve(sampling), lab.fps, truth)
        made[name] = kept(args.out / "clips" / name, requests, one)
    for scale in (0.0, *args.image_scales):
        name = f"VideoJAM, image term {scale:g}" if scale else "VideoJAM"
        one = partial(guided, jam, replace(sampling, image_scale=scale), truth)
        made[name] = kept(args.out / "clips" / name, requests, one)
    return figures(args, lab, requests, truth, made)


def plain(
    pipe: Any, sampling: Sampling, fps: float, truth: list[Tensor], place: int, request: Request
) -> UInt8[Tensor, "f h w 3"]:
    """A clip of a model without motion."""
    images = [truth[place][0]]
    return next(base_videos(pipe, [request.sample], sampling, fps, images=images))


def guided(
    jam: VideoJAM, sampling: Sampling, truth: list[Tensor], place: int, request: Request
) -> UInt8[Tensor, "f h w 3"]:
    """A clip under Inner-Guidance."""
    return next(jam.clips([request.sample], sampling, images=[truth[place][0]])).video


def figures(
    args: ImageLab,
    lab: Lab,
    requests: list[Request],
    truth: list[Tensor],
    made: dict[str, Iterator[Tensor]],
) -> dict[str, Any]:
    judged: dict[str, Judged] = {}
    nearness: dict[str, list[float]] = {}
    for name, videos in made.items():
        clips = [*videos]
        nearness[name] = [psnr(v[:1], t[:1]) for v, t in zip(clips, truth, strict=True)]
        found = judge_clips(name, lab, requests, (Made(video, None) for video in clips))
        judged[name] = scored_as_the_truth(found, judged.get("true clips", found))
    true_speed = values(judged["true clips"], SPEED)
    scenes = torch.arange(len(requests))
    columns = {
        name: {
            "dynamic degree": values(one, "dynamic_degree"),
            "speed over the truth's": values(one, SPEED) / true_speed,
            "coherence": values(one, "coherence"),
            "first frame to its image, dB": torch.tensor(nearness[name]).clamp(max=99.0),
        }
        for name, one in judged.items()
    }
    found: dict[str, Any] = {"settings": args.settings()}
    for name, column in columns.items():
        for what, numbers in column.items():
            interval = bootstrap_mean(numbers, scenes)
            found[f"{name}: {what}"] = [round(x, 4) for x in interval[:3]]
            if name.startswith(("base", "VideoJAM")):
                difference = paired_bootstrap(numbers, columns["control"][what], scenes)
                found[f"{name} - control: {what}"] = [round(x, 4) for x in difference[:3]]
    print(record("image_lab", found, args.results).read_text())
    return found


def values(judged: Judged, metric: str) -> Tensor:
    """One number of every clip."""
    return torch.tensor([row.values[metric] for row in judged.rows])


if __name__ == "__main__":
    main(tyro.cli(ImageLab))
