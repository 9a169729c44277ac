"""What the experiments on generated clips share: their options, requests, systems, judged clips.

Clips are kept by what they were made from, in folders under `clips`. Experiments that are given
the same --clips generate what they have in common once.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.markdown import Markdown

from videojam.evaluation.clips.judged import (
    CEILING,
    TRUE_CLIPS,
    Judged,
    judge_clips,
    scored_as_the_truth,
    through_autoencoder,
    true_clips,
    write_rows,
)
from videojam.evaluation.clips.systems import (
    Precision,
    Request,
    System,
    clips_folder,
    generate_clips,
    lab_requests,
)
from videojam.evaluation.experiments.lab_models import held_out_lab, load_model, model_folders
from videojam.evaluation.report import results
from videojam.evaluation.statistics.bootstrap import FEWEST
from videojam.guidance.branches import Number
from videojam.lab.clips import Lab
from videojam.sampling.pipeline import Sampling

QUICK_PROMPTS, QUICK_STEPS = 32, 20


@dataclass(frozen=True, kw_only=True, slots=True)
class LabConfig:
    """Generated Motion Lab clips of held-out captions."""

    out: Path
    "Where results.json, results.md, rows.jsonl and plot.png go. The same command again goes on."
    models: Path | None = None
    "Folder with base, control and videojam; the embedded models by default."
    clips: Path | None = None
    "Where generated clips are kept, default OUT/clips; experiments may share it."
    quick: bool = False
    "At most 32 prompts, 1 seed and 20 steps: minutes on two cores."
    seed: int = 2000
    """Of the lab whose captions are asked for: 2000 for results, and for nothing else. Choose
    scales and steps on 1000, the development seed; training has 0."""
    prompts: int = 256
    "Captions, evenly over the scene types."
    seeds_per_prompt: int = 2
    "Clips of every caption, each from a noise that is the same for all systems."
    text_scale: Number = 2.5
    "w1, for all systems: chosen on seed 1000, where 5, the paper's, was worse for each of them."
    motion_scale: Number = 3.0
    "w2, of Inner-Guidance."
    motion_stop: Number = 0.5
    "Share of the steps after which Inner-Guidance stops."
    num_inference_steps: int = 25
    "Sampling steps."
    batch_size: int = 32
    "Clips at once, of the 32 that are kept together: a matter of memory and speed."
    precision: Precision | None = None
    "Default: bf16 on a CPU, for the transformer's blocks alone (2.5 times as fast); else fp32."
    workers: int = 0
    "Processes that judge clips; 0 for this one."
    device: str = "cpu"
    "Where clips are generated; they are judged on the CPU."

    def __post_init__(self) -> None:
        for name, least in (("prompts", 2), ("seeds_per_prompt", 1), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")
        self.sampling()  # raises for scales and steps out of range, before anything is written

    def sampling(self, **changes: Any) -> Sampling:
        """The settings, but for `changes`."""
        named: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "text_scale", "motion_scale", "motion_stop", "num_inference_steps", "batch_size",
            )
        }  # fmt: skip
        return Sampling(**named | changes)


Config = TypeVar("Config", bound=LabConfig)


def settle(config: Config) -> Config:
    """The config with `quick` and all defaults worked out, and its folder made or checked.

    Raises ValueError if the folder was made with other settings.
    """
    if config.quick:
        config = replace(
            config,
            prompts=min(config.prompts, QUICK_PROMPTS),
            seeds_per_prompt=1,
            num_inference_steps=min(config.num_inference_steps, QUICK_STEPS),
        )
    on_cpu = torch.device(config.device).type == "cpu"
    config = replace(config, precision=config.precision or ("bf16" if on_cpu else "fp32"))
    # Where clips are kept and who judges them decides no result.
    results.settle(replace(config, clips=None, workers=0), model_folders(config.models))
    return config


def lab_of(config: LabConfig) -> Lab:
    """Held-out clips of the size that the models make."""
    return held_out_lab(model_folders(config.models)["videojam"], config.seed)


@functools.cache
def requests_of(lab: Lab, prompts: int, seeds_per_prompt: int) -> list[Request]:
    return lab_requests(lab, prompts, seeds_per_prompt)


def system_of(config: LabConfig, name: str, model: str, **changes: Any) -> System:
    """models/MODEL with the settings of the config, but for `changes`, fields of Sampling."""
    lab = lab_of(config)
    size = {"num_frames": lab.frames, "height": lab.height, "width": lab.width}
    return System(
        name=name,
        folder=model_folders(config.models)[model],
        joint=model == "videojam",
        sampling=config.sampling(**size | changes),
        precision=config.precision or "fp32",
    )


def judged_system(config: LabConfig, system: System) -> Judged:
    """Generate what is missing of a system's clips, and judge them all."""
    lab = lab_of(config)
    requests = requests_of(lab, config.prompts, config.seeds_per_prompt)
    samples = [request.sample for request in requests]
    folder = clips_folder(config.clips or config.out / "clips", system, samples)
    clips = generate_clips(system, samples, folder, config.device)
    judged = judge_clips(system.name, lab, requests, clips, config.workers)
    return scored_as_the_truth(judged, judged_truth(config))


def judged_truth(config: LabConfig, numbers: range | None = None) -> Judged:
    """The lab's own clips of the same captions (or of these numbers), one of each."""
    chosen = range(config.prompts) if numbers is None else numbers
    return _truth(lab_of(config), chosen, config.workers)


@functools.cache
def _truth(lab: Lab, numbers: range, workers: int) -> Judged:
    requests = requests_of(lab, numbers.stop, 1)[numbers.start :]
    return judge_clips(TRUE_CLIPS, lab, requests, true_clips(lab, numbers), workers)


def judged_ceiling(config: LabConfig) -> Judged:
    """The true clips, encoded and decoded by the base's autoencoder."""
    lab = lab_of(config)
    model = load_model("base", model_folders(config.models)["base"], config.device)
    clips = through_autoencoder(model.pipe, true_clips(lab, range(config.prompts)))
    judged = judge_clips(CEILING, lab, requests_of(lab, config.prompts, 1), clips, config.workers)
    return scored_as_the_truth(judged, judged_truth(config))


def finish(
    config: LabConfig,
    experiment: str,
    figures: dict[str, Any],
    text: str,
    judged: Iterable[Judged] = (),
) -> dict[str, Any]:
    """Write rows.jsonl, results.json and results.md, print the text; returns the figures."""
    rows = [row for one in judged for row in one.rows]
    if rows:
        write_rows(config.out / "rows.jsonl", rows)
    figures = results.write_results(config, experiment, figures, text)
    Console().print(Markdown(text))
    return figures


def setting(config: LabConfig) -> str:
    """A line on what was generated, for results.md."""
    return (
        f"{config.prompts} captions x {config.seeds_per_prompt} noises, lab seed {config.seed}; "
        f"{config.num_inference_steps} steps, w1 = {config.text_scale:g}, "
        f"w2 = {config.motion_scale:g} in the first {100 * config.motion_stop:g} %, "
        f"{config.precision}. In brackets 95 % intervals over captions, none under "
        f"{FEWEST} of them.\n\n"
    )
