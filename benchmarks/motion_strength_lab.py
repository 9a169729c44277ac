"""Do clips move as much as they are asked to? Motion strength asked against measured, on the lab.

    python benchmarks/motion_strength_lab.py --out runs/strength [--models runs/lab-model]

A lab base learns captions that say how much their clip moves (the words are new to its text
encoder), then becomes control and VideoJAM. Held-out captions are sampled with every strength from
the same noise. Figures, of the mean flow that DIS sees, in diagonals a second: rank correlation of
asked and measured, the share of neighbouring strengths of a caption in which the higher one moves
more (0.5 by chance), the mean error in levels, and the mean flow for each strength; 95 % intervals
over captions. A caption may name a speed that contradicts the strength. The same command goes on
where it was stopped.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import tyro
from diffusers import DiffusionPipeline
from jaxtyping import UInt8
from torch import Tensor

from lab_models import LabRun, begun, kept, train_three, with_words
from record import RESULTS, record
from videojam.embedded.dataset import prepare_lab
from videojam.evaluation.clips.systems import Request, lab_requests
from videojam.evaluation.metrics.enlarged import EnlargedDIS
from videojam.evaluation.statistics.bootstrap import bootstrap_mean
from videojam.evaluation.statistics.foretell import rank_correlation
from videojam.lab.clips import Lab
from videojam.motion.flow import estimate_flow
from videojam.motion.strength import LEVELS, motion_strength
from videojam.motion.warp import flow_length
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling


@dataclass(frozen=True, kw_only=True)
class StrengthLab(LabRun):
    """The measurement."""

    results: Path = RESULTS


def main(args: StrengthLab) -> dict[str, Any]:
    lab, sigma, start, data = begun(args, "motion_strength_lab.json")
    with_words(args.folder("base"), start, ["motion", "strength", *map(str, LEVELS)])
    prepare_lab(lab, data, str(start), args.clips, args.validation, sigma=sigma, strength=True)
    models = train_three(args, lab, data, start)
    lab = replace(lab, seed=args.seed)
    requests = lab_requests(lab, args.prompts)
    jam = VideoJAM.from_pretrained(models["videojam"])
    plain: Any = DiffusionPipeline.from_pretrained(models["control"])
    for pipe in (jam.pipe, plain):
        pipe.set_progress_bar_config(disable=True)
    sampling = jam.resolve(
        Sampling(
            text_scale=args.text_scale, motion_scale=args.motion_scale,
            num_inference_steps=args.num_inference_steps,
        )
    )  # fmt: skip
    found: dict[str, Any] = {"settings": args.settings()}
    for name, make in (
        ("control", partial(alone, plain, lab.fps)),
        ("VideoJAM", partial(own, jam)),
    ):
        speeds = torch.empty(len(requests), len(LEVELS))
        for column, strength in enumerate(LEVELS):
            asked = partial(make, replace(sampling, motion_strength=strength))
            folder = args.out / "clips" / name / str(strength)
            for row, video in enumerate(kept(folder, requests, asked)):
                speeds[row, column] = mean_flow_px(video)
        found |= {f"{name}: {what}": value for what, value in summary(speeds, lab).items()}
    print(record("motion_strength_lab", found, args.results).read_text())
    return found


def alone(
    pipe: Any, fps: float, sampling: Sampling, place: int, request: Request
) -> UInt8[Tensor, "f h w 3"]:
    return next(base_videos(pipe, [request.sample], sampling, fps))


def own(
    jam: VideoJAM, sampling: Sampling, place: int, request: Request
) -> UInt8[Tensor, "f h w 3"]:
    return next(jam.clips([request.sample], sampling)).video


def mean_flow_px(video: UInt8[Tensor, "f h w 3"]) -> float:
    return float(flow_length(estimate_flow(video, EnlargedDIS())).double().mean())


def summary(speeds_px: Tensor, lab: Lab) -> dict[str, list[float]]:
    """Of mean flows in pixels (captions, strengths)."""
    captions = torch.arange(len(speeds_px))
    levels = torch.tensor(
        [[motion_strength(float(s), lab.height, lab.width, lab.fps) for s in row]
         for row in speeds_px]
    ).double()  # fmt: skip
    asked = torch.tensor(LEVELS).double().expand_as(levels)
    rising = torch.stack([(b > a).double() for a, b in pairwise(speeds_px.T)], 1).mean(1)
    speeds = speeds_px * lab.fps / math.hypot(lab.height, lab.width)
    columns = {
        "rank correlation in a caption": torch.tensor(
            [rank_correlation([float(one) for one in LEVELS], row.tolist()) for row in speeds]
        ),
        "share of steps that rise": rising,
        "error in levels": (levels - asked).abs().mean(1),
        **{
            f"mean flow at strength {strength}, diagonals a second": speeds[:, place]
            for place, strength in enumerate(LEVELS)
        },
    }
    found = {
        what: [round(x, 4) for x in bootstrap_mean(column, captions)[:3]]
        for what, column in columns.items()
    }
    overall = rank_correlation(asked.flatten().tolist(), speeds.flatten().tolist())
    return {"rank correlation over all clips": [round(overall, 4)]} | found


if __name__ == "__main__":
    main(tyro.cli(StrengthLab))
