"""Three ways to ask for more motion, side by side on the lab, and what each costs in coherence.

    python benchmarks/motion_strength_lab.py --out runs/strength
    python benchmarks/motion_strength_schemes.py --out runs/strength

Of the models that the first command leaves in its folder, on the same captions and noises: the tag
in the prompt; the tag against its opposite, where the null text of guidance is the same caption
with the other strength; and a motion half that is given, the model's own predicted flow made
--factors times as fast. For each, the mean flow that DIS sees, in diagonals a second, and the
judge's coherence and text, with 95 % intervals over captions; differences, in pairs, are between
the largest strength or factor and the smallest. The same command goes on where it was stopped.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from diffusers import DiffusionPipeline
from jaxtyping import UInt8
from torch import Tensor

from lab_models import kept
from motion_strength_lab import alone, mean_flow_px, own
from record import RESULTS, record
from videojam.data.run_folder import settle_config
from videojam.embedded.lab_file import lab_of
from videojam.evaluation.clips.judged import Judged, judge_clips, scored_as_the_truth, true_clips
from videojam.evaluation.clips.systems import Made, Request, lab_requests
from videojam.evaluation.statistics.bootstrap import bootstrap_mean, paired_bootstrap
from videojam.lab.clips import Lab
from videojam.motion.strength import LEVELS, with_strength
from videojam.sampling.generate import VideoJAM
from videojam.sampling.pipeline import Sampling

Make = Callable[[int, Request], UInt8[Tensor, "f h w 3"]]
LESS, MORE = LEVELS[0], LEVELS[-1]


@dataclass(frozen=True, kw_only=True)
class Schemes:
    """The measurement."""

    out: Path
    "Of motion_strength_lab.py."
    prompts: int = 64
    "Held-out scenes that are asked for."
    seed: int = 2000
    "Of these scenes: 2000 for results, 1000 to choose settings."
    num_inference_steps: int = 25
    text_scales: tuple[float, ...] = (2.5, 5.0)
    "Of the tag, alone and against its opposite; the flow is scaled at the first."
    motion_scale: float = 3.0
    results: Path = RESULTS
    factors: tuple[float, ...] = (0.5, 1.0, 2.0)
    "On the flow that the model predicts, from the smallest to the largest."


def main(args: Schemes) -> dict[str, Any]:
    torch.set_num_threads(1)
    models = {name: args.out / "runs" / name / "model" for name in ("control", "videojam")}
    lab = lab_of(models["videojam"], args.seed)
    requests = lab_requests(lab, args.prompts)
    truth = judge_clips("true clips", lab, requests, true_clips(lab, range(args.prompts)))
    settings = {k: v for k, v in asdict(args).items() if k not in ("out", "results")}
    (args.out / "schemes").mkdir(exist_ok=True)
    settle_config(args.out / "schemes", settings, "settings.json")  # clips are kept by their names
    found: dict[str, Any] = {
        "settings": settings,
        "trained": json.loads((args.out / "motion_strength_lab.json").read_text())["config"],
    }
    for scheme, systems in schemes(args, lab, models).items():
        rows = {name: measured(args, lab, requests, truth, name, make)
                for name, make in systems.items()}  # fmt: skip
        found |= summary(scheme, rows)
    print(record("motion_strength_schemes", found, args.results).read_text())
    return found


def schemes(args: Schemes, lab: Lab, models: dict[str, Any]) -> dict[str, dict[str, Make]]:
    """Of each scheme the systems, from the one asked for least motion to that asked for most."""
    plain: Any = DiffusionPipeline.from_pretrained(models["control"])
    jam = VideoJAM.from_pretrained(models["videojam"])
    for pipe in (jam.pipe, plain):
        pipe.set_progress_bar_config(disable=True)
    sampling = jam.resolve(
        Sampling(motion_scale=args.motion_scale, num_inference_steps=args.num_inference_steps)
    )
    found: dict[str, dict[str, Make]] = {}
    for w1 in args.text_scales:
        at = replace(sampling, text_scale=w1)
        found[f"tag, w1 {w1:g}"] = {
            f"w1 {w1:g}, strength {s}": partial(
                alone, plain, lab.fps, replace(at, motion_strength=s)
            )
            for s in (LESS, MORE)
        }
        found[f"tag against its opposite, w1 {w1:g}"] = {
            f"w1 {w1:g}, strength {s} against {LESS + MORE - s}": partial(
                opposed, plain, lab.fps, replace(at, motion_strength=s)
            )
            for s in (LESS, MORE)
        }
    at = replace(sampling, text_scale=args.text_scales[0])
    found["predicted flow, scaled"] = {
        f"predicted flow times {factor:g}": partial(scaled, jam, at, factor)
        for factor in args.factors
    }
    found["its own, none given"] = {"its own, none given": partial(own, jam, at)}
    return found


def opposed(
    pipe: Any, fps: float, sampling: Sampling, place: int, request: Request
) -> UInt8[Tensor, "f h w 3"]:
    """Guided away from the same caption with the opposite strength."""
    assert sampling.motion_strength is not None
    other = with_strength(request.prompt, LESS + MORE - sampling.motion_strength)
    return alone(pipe, fps, replace(sampling, negative_prompt=other), place, request)


def scaled(
    jam: VideoJAM, sampling: Sampling, factor: float, place: int, request: Request
) -> UInt8[Tensor, "f h w 3"]:
    """Given the flow that the same seed predicts, so many times as fast."""
    flow = next(jam.clips([request.sample], sampling)).flow
    return next(jam.clips([request.sample], sampling, motion=factor * flow)).video


def measured(
    args: Schemes, lab: Lab, requests: list[Request], truth: Judged, name: str, make: Make
) -> dict[str, Tensor]:
    """Numbers of every clip of a system."""
    clips = [*kept(args.out / "schemes" / name, requests, make)]
    judged = scored_as_the_truth(
        judge_clips(name, lab, requests, (Made(video, None) for video in clips)), truth
    )
    flows = torch.tensor([mean_flow_px(video) for video in clips]).double()
    columns = {
        what: torch.tensor([row.values[what] for row in judged.rows]).double()
        for what in ("coherence", "text")
    }
    return {"mean flow": flows * lab.fps / math.hypot(lab.height, lab.width)} | columns


def summary(scheme: str, systems: dict[str, dict[str, Tensor]]) -> dict[str, list[float]]:
    """Means of each system; the last one over the first, and less it."""
    found = {}
    for name, columns in systems.items():
        for what, column in columns.items():
            interval = bootstrap_mean(column, torch.arange(len(column)))[:3]
            found[f"{name}: {what}"] = [round(x, 4) for x in interval]
    if len(systems) == 1:
        return found
    less, *_, more = systems.values()
    found[f"{scheme}: mean flow, more over less"] = [
        round(float(more["mean flow"].mean() / less["mean flow"].mean()), 4)
    ]
    captions = torch.arange(len(less["mean flow"]))
    for what in less:
        difference = paired_bootstrap(more[what], less[what], captions)[:3]
        found[f"{scheme}: {what}, more less less"] = [round(x, 4) for x in difference]
    return found


if __name__ == "__main__":
    main(tyro.cli(Schemes))
