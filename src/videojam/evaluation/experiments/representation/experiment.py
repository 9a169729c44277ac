"""How should motion be written as a video? And need it be motion at all?

    videojam evaluate representation --models runs/lab-model --out runs/representation

Round trip: exact flow -> colours -> the model's VAE -> colours -> flow, for both backgrounds and
several sigmas (the share of the frame diagonal at which the colour saturates). A small sigma
saturates fast motion; a large one leaves slow motion to a few grey levels. No training.

Training: the base is fine-tuned with each representation in the motion half, and with a copy of
the video instead of its motion, which gives the model a second half but nothing about motion; the
control is the base fine-tuned on the same data alone. Same clips, seeds and number of steps; all
are then judged like in `comparison`. --quick takes eight minutes of two cores;
--no-train leaves the round trip alone.
"""

from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from rich.progress import track

from videojam.evaluation.clips.judged import LAB_METRICS, TRUE_CLIPS, Judged
from videojam.evaluation.experiments.generated import (
    LabConfig,
    finish,
    judged_system,
    judged_truth,
    lab_of,
    setting,
    settle,
    system_of,
)
from videojam.evaluation.experiments.lab_models import load_model, model_folders
from videojam.evaluation.experiments.representation.round_trip import (
    Through,
    round_trip,
    round_trip_errors,
)
from videojam.evaluation.experiments.representation.tuned import Representation, Tuning, tuned_model
from videojam.evaluation.report.plots import bar_plot
from videojam.evaluation.report.tables import (
    ALL,
    Cell,
    curve,
    difference_table,
    differences,
    plain,
    summary,
    table_of,
)
from videojam.evaluation.statistics.bootstrap import bootstrap_mean
from videojam.joint.latents import decode_video, encode_video
from videojam.lab.clips import lab_clips
from videojam.motion.color import Background

COPY, CONTROL, DEFAULT = "copy of the video", "control", "black, 0.075"
_SIGMAS = (0.075, 0.15, 0.4)  # of the embedded model; of the paper; the lab's motion nearly black
REPRESENTATIONS = {
    f"{background}, {sigma}": Representation(sigma=sigma, background=background)
    for background in get_args(Background)
    for sigma in _SIGMAS
} | {COPY: Representation(sigma=_SIGMAS[0], second="video")}
ERRORS = ("relative", "error_px", "direction", "still_px", "saturated")
METRICS = ("coherence", *(name for name in LAB_METRICS if name != "coherence"))
Trips = dict[str, dict[str, dict[str, Cell]]]  # "autoencoder" or "colours alone" -> name -> error


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(LabConfig):
    """Backgrounds, sigmas and a copy of the video in the motion half, through VAE and training."""

    seed: int = 1000
    "The development seed, as settings are chosen by this; 2000 is kept for results."
    round_trip_clips: int = 256
    "Held-out clips whose flow goes through the autoencoder."
    train: bool = True
    "Also fine-tune; without, the round trip alone."
    trained: tuple[str, ...] = (DEFAULT, "black, 0.15", "black, 0.4", "white, 0.075", COPY)
    "Representations to fine-tune with."
    train_clips: int = 4096
    "Clips of the fine-tunings; quick: at most 128."
    train_steps: int = 1500
    "Steps of each fine-tuning; quick: at most 200."
    train_batch_size: int = 64
    "Quick: at most 4."
    learning_rate: float = 5e-4
    train_seed: int = 0
    "Of the training lab, and of the fine-tunings."

    def __post_init__(self) -> None:
        LabConfig.__post_init__(self)  # super() is lost in a dataclass with slots
        unknown = [name for name in self.trained if name not in REPRESENTATIONS]
        if unknown:
            raise ValueError(
                f"no representation {unknown[0]!r}; there are "
                f"{', '.join(map(repr, REPRESENTATIONS))}"
            )
        if self.train_seed == self.seed:
            raise ValueError(
                f"train_seed and seed are both {self.seed}: the clips of the judgement would be "
                "training clips; give another seed"
            )


def run(config: Config) -> dict[str, Any]:
    """Do what is not done yet, write the results; returns the figures."""
    if config.quick:
        config = replace(
            config,
            round_trip_clips=min(config.round_trip_clips, 16),
            train_clips=min(config.train_clips, 128),
            train_steps=min(config.train_steps, 200),
            train_batch_size=min(config.train_batch_size, 4),
        )
    if config.train and lab_of(config).frames < 6:
        raise ValueError(
            f"these models make clips of {lab_of(config).frames} frames, and motion is judged from "
            "6 frames on; give --no-train for the round trip alone"
        )
    if not config.train and (config.out / "rows.jsonl").exists():
        raise ValueError(
            f"{config.out} has the results with training, which those of the round trip alone "
            "would replace; give another folder with --out"
        )
    # Whether to train changes no number: the round trip may be had first.
    config = replace(settle(replace(config, train=True)), train=config.train)
    trips = round_trips(config)
    bars = {way: curve([cells["relative"] for cells in of.values()]) for way, of in trips.items()}
    bar_plot(
        config.out / "plot.png", [*trips["autoencoder"]], bars,
        "end-point error / length, moving pixels", "Flow written as colours and read again",
    )  # fmt: skip
    figures: dict[str, Any] = {"round_trip": plain(trips)}
    text = "# Representations of motion\n\n" + _trips_text(config, trips)
    if not config.train:
        return finish(config, "representation", figures, text)
    judged = {name: _judged(config, name) for name in (*config.trained, CONTROL)}
    judged[TRUE_CLIPS] = judged_truth(config)
    rows = {name: one.rows for name, one in judged.items()}
    pairs = [(name, CONTROL) for name in config.trained]
    pairs += [(DEFAULT, name) for name in config.trained if DEFAULT in rows and name != DEFAULT]
    means, gains = summary(rows, METRICS), differences(rows, pairs, METRICS)
    coherence = {"coherence": curve([means[name][ALL]["coherence"] for name in rows])}
    bar_plot(config.out / "coherence.png", [*rows], coherence, "coherence", "After fine-tuning")
    figures |= {"means": plain(means), "differences": plain(gains)}
    text += (
        f"\n## Fine-tuned with each\n\n{config.train_steps} steps of {config.train_batch_size} "
        f"clips, of {config.train_clips}. {setting(config)}"
    )
    text += table_of({name: groups[ALL] for name, groups in means.items()}, METRICS)
    text += "\n### Differences on the same captions and noises\n\n"
    text += difference_table({pair: groups[ALL] for pair, groups in gains.items()}, METRICS)
    return finish(config, "representation", figures, text, judged.values())


def round_trips(config: Config) -> Trips:
    """Means over held-out clips of every error, through the VAE and through the colours alone."""
    model = load_model("base", model_folders(config.models)["base"], config.device)
    vae = model.pipe.vae
    ways: dict[str, Through] = {
        "autoencoder": lambda pixels: decode_video(vae, encode_video(vae, pixels)),
        "colours alone": lambda pixels: pixels,
    }
    flows = lab_clips(lab_of(config), range(config.round_trip_clips), config.device)[1].flow.cpu()
    return {
        way: {
            name: _trip(flows, through, held, f"{way}, {name}")
            for name, held in REPRESENTATIONS.items()
            if held.second == "motion"
        }
        for way, through in ways.items()
    }


def _trip(
    flows: torch.Tensor, through: Through, held: Representation, title: str
) -> dict[str, Cell]:
    found = [
        round_trip_errors(flow, round_trip(flow, through, held.sigma, held.background), held.sigma)
        for flow in track(flows, title)
    ]
    clips = torch.arange(len(found))
    return {
        name: bootstrap_mean(torch.tensor([one[name] for one in found]).double(), clips)
        for name in ERRORS
    }


def _judged(config: Config, name: str) -> Judged:
    """Tune a model, generate with it, judge; what is done before is kept."""
    lab = lab_of(config)
    tuning = Tuning(
        base=model_folders(config.models)["base"],
        lab=replace(lab, seed=config.train_seed),
        clips=config.train_clips,
        validation_clips=min(32, config.train_clips),
        steps=config.train_steps,
        batch_size=config.train_batch_size,
        learning_rate=config.learning_rate,
        precision=config.precision or "fp32",
    )
    held = None if name == CONTROL else REPRESENTATIONS[name]
    slug = name.replace(",", "").replace(" ", "-")
    folder = tuned_model(config.out, slug, held, tuning, config.device)
    system = system_of(config, name, "control" if held is None else "videojam")
    return judged_system(config, replace(system, folder=folder))


def _trips_text(config: Config, trips: Trips) -> str:
    text = (
        f"## Round trip\n\nExact flow of {config.round_trip_clips} clips -> colours -> autoencoder "
        "-> colours -> flow. `relative`, `error_px` and `direction` (cosine) are of moving pixels, "
        "`still_px` is the flow that appears where there is none. 95 % intervals over clips. The "
        "embedded autoencoder was trained on motion at sigma 0.075 (and 0.15 in its first steps), "
        "both backgrounds: the comparison of sigmas is through an autoencoder that knows one of "
        "them best.\n"
    )
    for way, found in trips.items():
        text += f"\n{way[0].upper() + way[1:]}:\n\n{table_of(found, ERRORS)}"
    return text
