"""Does the video move as the model says it does? Predicted motion against flow, step by step.

    videojam evaluate agreement --models runs/lab-model --out runs/agreement

At steps of the sampling the clean latents [x0, d0] that the guided prediction stands for are
decoded: the motion half to flow (motion/color.py), the appearance half to a video whose flow DIS
estimates (enlarged.py). They are compared with each other ("own": is the joint prediction one
thing?) and the motion with the finished video ("final": how early is the motion known?). DIS errs
too: the limits are how far the exact flow of the true clips agrees with what DIS makes of them, and
of them after a way through the autoencoder, whose flicker it takes for motion. `bodies` needs no
estimator.

  error        mean over pixels and frames of |f - g|, in pixels
  relative     error over the mean of |g|, g the flow of the video; left out where that stands
  correlation  of the components of f and g over pixels and frames
  unexplained  warp error of the video along f, over the same without motion: needs no estimator;
               under 1 the predicted motion explains what changes in the video; left out where
               nothing does
  bodies       correlation of the predicted motion over a colour with the way of its middle to the
               next frame (bodies.py); left out where too little of them is seen
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.evaluation.clips.judged import CEILING, TRUE_CLIPS, through_autoencoder, true_clips
from videojam.evaluation.clips.shards import Requests, in_shards, read_shard
from videojam.evaluation.clips.systems import SHARD_CLIPS, System, clips_folder, load_joint
from videojam.evaluation.experiments.agreement.bodies import body_correlation, named_colours
from videojam.evaluation.experiments.agreement.steps import clean_predictions, spread_steps
from videojam.evaluation.experiments.generated import (
    LabConfig,
    finish,
    lab_of,
    requests_of,
    setting,
    settle,
    system_of,
)
from videojam.evaluation.experiments.lab_models import load_model, model_folders
from videojam.evaluation.metrics.enlarged import FINE
from videojam.evaluation.metrics.flow_agreement import flow_correlation, relative_end_point_error
from videojam.evaluation.metrics.warp_error import warp_error
from videojam.evaluation.report.plots import Panel, line_panels
from videojam.evaluation.report.results import markdown_table
from videojam.evaluation.report.tables import Cell, curve, plain, show
from videojam.evaluation.statistics.bootstrap import bootstrap_mean
from videojam.joint.latents import decode_joint
from videojam.media.video import to_uint8
from videojam.motion.flow import estimate_flow
from videojam.motion.pixels import flow_from_motion
from videojam.motion.warp import end_point_error, flow_length
from videojam.sampling.generate import VideoJAM

MEASURES = ("error", "relative", "correlation", "unexplained", "bodies")
SIDES = ("own", "final")
QUICK_POINTS = 6
_STILL_PX = 0.02  # mean flow under which a relative error says nothing
_STILL = 1e-4  # warp error without motion under which there is nothing to explain
_DECODED_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(LabConfig):
    """Predicted motion against the flow of the video, over the steps of the sampling."""

    prompts: int = 128
    seeds_per_prompt: int = 1
    num_points: int = 10
    "Steps that are looked at, from the first to the last."


def run(config: Config) -> dict[str, Any]:
    """Measure what is missing, write; returns the figures."""
    if config.quick:
        config = replace(config, num_points=min(config.num_points, QUICK_POINTS))
    config = settle(config)
    steps = spread_steps(config.num_points, config.num_inference_steps)
    lab = lab_of(config)
    requests = requests_of(lab, config.prompts, config.seeds_per_prompt)
    prompts = torch.tensor([request.number for request in requests])
    limits = _limits(config)
    figures: dict[str, Any] = {
        "steps": steps,
        "share": [(step + 1) / config.num_inference_steps for step in steps],
        "limits": plain(limits),
    }
    curves: dict[str, dict[str, list[Cell]]] = {}
    for system in (
        system_of(config, "VideoJAM", "videojam", motion_scale=0.0),
        system_of(config, "VideoJAM with Inner-Guidance", "videojam"),
    ):
        found = _measure(config, system, [request.sample for request in requests], steps)
        curves[system.name] = {
            f"{measure}, {side}": [
                _mean(found[side][:, at, MEASURES.index(measure)], prompts)
                for at in range(len(steps))
            ]
            for side in SIDES
            for measure in MEASURES
        }
    figures["systems"] = {
        name: {what: [plain(cell) for cell in cells] for what, cells in measured.items()}
        for name, measured in curves.items()
    }
    _plot(config, figures["share"], curves)
    return finish(config, "agreement", figures, _text(config, steps, limits, curves))


def compare(
    predicted: Float[Tensor, "n 2 h w"],
    seen: Float[Tensor, "n 2 h w"],
    video: UInt8[Tensor, "f h w 3"],
    caption: str,
) -> tuple[float, ...]:
    """MEASURES of one clip: a predicted flow, the estimated flow of a video, and the video."""
    moves = float(flow_length(seen).mean()) > _STILL_PX
    change = warp_error(video, torch.zeros_like(predicted))
    return (
        float(end_point_error(predicted, seen).mean()),
        relative_end_point_error(predicted, seen) if moves else math.nan,
        flow_correlation(predicted, seen),
        warp_error(video, predicted) / change if change > _STILL else math.nan,
        body_correlation(video, predicted, named_colours(caption)),
    )


def _measure(
    config: Config, system: System, samples: Requests, steps: Sequence[int]
) -> dict[str, Float[Tensor, "n steps 5"]]:
    """Side -> MEASURES of every clip at every step."""
    folder = clips_folder(config.out / "steps", system, samples)
    sources = system.made_from() | {"steps": [*steps], "measures": [*MEASURES]}

    def start() -> Any:
        return functools.partial(_work, load_joint(system, config.device), system, steps)

    title = f"steps of {system.name}"
    paths = in_shards(folder, samples, SHARD_CLIPS, sources, start, title)
    shards = [read_shard(path) for path in paths]
    return {side: torch.cat([shard[side] for shard in shards]).double() for side in SIDES}


def _work(
    jam: VideoJAM, system: System, steps: Sequence[int], batch: Requests
) -> dict[str, Tensor]:
    size = system.sampling.batch_size
    parts = [
        _compare_steps(jam, system, steps, batch[at : at + size])
        for at in range(0, len(batch), size)
    ]
    return {side: torch.cat([part[side] for part in parts]) for side in SIDES}


def _compare_steps(
    jam: VideoJAM, system: System, steps: Sequence[int], batch: Requests
) -> dict[str, Tensor]:
    """Side -> (clips, steps, MEASURES), of one call of the pipeline."""
    with clean_predictions(jam.pipe, steps) as clean:
        clips = [clip.video for clip in jam.clips(batch, system.sampling)]
    finished = [(estimate_flow(video, FINE), video) for video in clips]
    found = {side: torch.empty(len(batch), len(steps), len(MEASURES)) for side in SIDES}
    for at, step in enumerate(steps):
        for start in range(0, len(batch), _DECODED_AT_ONCE):
            videos, motion = decode_joint(
                jam.pipe.vae, clean[step][start : start + _DECODED_AT_ONCE]
            )
            flows = flow_from_motion(motion.cpu(), jam.info.sigma)
            for place, (video, flow) in enumerate(zip(to_uint8(videos), flows, strict=True), start):
                decoded_now = estimate_flow(video, FINE), video
                for side, seen in (("own", decoded_now), ("final", finished[place])):
                    found[side][place, at] = torch.tensor(compare(flow, *seen, batch[place][0]))
    return found


def _limits(config: Config) -> dict[str, dict[str, Cell]]:
    """The exact flow of the true clips of the same captions, as if it were predicted."""
    lab, numbers = lab_of(config), range(config.prompts)
    model = load_model("base", model_folders(config.models)["base"], config.device)
    flows = [made.flow for made in true_clips(lab, numbers)]
    limits = {}
    for name, clips in (
        (TRUE_CLIPS, true_clips(lab, numbers)),
        (CEILING, through_autoencoder(model.pipe, true_clips(lab, numbers))),
    ):
        found = torch.tensor(
            [
                compare(flow, estimate_flow(made.video, FINE), made.video, request.prompt)
                for made, flow, request in zip(
                    clips, flows, requests_of(lab, config.prompts, 1), strict=True
                )
                if flow is not None
            ]
        ).double()
        prompts = torch.arange(len(found))
        limits[name] = {what: _mean(found[:, at], prompts) for at, what in enumerate(MEASURES)}
    return limits


def _mean(values: Float[Tensor, "n"], prompts: Tensor) -> Cell:
    return None if bool(values.isnan().all()) else bootstrap_mean(values, prompts)


def _plot(config: Config, share: Sequence[float], curves: dict[str, dict[str, list[Cell]]]) -> None:
    panels = [
        Panel(
            measure,
            share,
            {
                f"{name}, {side}": curve(measured[f"{measure}, {side}"])
                for name, measured in curves.items()
                for side in SIDES
            },
            "share of the sampling steps",
            measure,
        )
        for measure in MEASURES
    ]
    line_panels(config.out / "plot.png", panels, "Predicted motion against the video's flow")


def _text(
    config: Config,
    steps: Sequence[int],
    limits: dict[str, dict[str, Cell]],
    curves: dict[str, dict[str, list[Cell]]],
) -> str:
    text = "# Predicted motion against the flow of the video\n\n" + setting(config)
    text += "Limits, the exact flow of true clips in the place of the prediction:\n\n"
    rows = [
        [name, *(show(measured[what]) for what in MEASURES)] for name, measured in limits.items()
    ]
    text += markdown_table(["", *MEASURES], rows) + "\n"
    text += "own: with the video decoded at the same step; final: with the finished one.\n"
    for name, measured in curves.items():
        for side in SIDES:
            columns = {measure: measured[f"{measure}, {side}"] for measure in MEASURES}
            body = [
                [str(step + 1), *(show(cells[at]) for cells in columns.values())]
                for at, step in enumerate(steps)
            ]
            text += f"\n## {name}, {side}\n\n" + markdown_table(["step", *columns], body)
    return text
