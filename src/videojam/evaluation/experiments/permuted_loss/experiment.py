"""Figure 3: does the loss notice that the frames of a video were shuffled, and from which step?

    videojam evaluate permuted-loss --models runs/lab-model --out runs/permuted-loss

Held-out clips and the same clips with their frames permuted (pixel frames, then encoded) are
noised with the same noise to the same step; the loss of the appearance is compared. t is the
paper's step, 0 (noise) to 100 (data), t = 100 (1 - sigma).

What is reported at each t, per system, from losses L of original o and permuted p:
  relative  (L_p - L_o) / L_o. The same for the velocity's loss and for the error of the predicted
            clean latent, ||x0_hat - x0||^2 = sigma^2 L: sigma^2 cancels.
  excess    sigma^2 (L_p - L_o) / variance of the clips' latents: the difference leaves out what
            no model can predict of either, and is on one scale over all t.
  told      share of (clip, noise) pairs of which the permuted one has the higher loss; 0.5 is
            chance. It does not depend on the height of the losses at all.
`no order` is a reference that knows no frames: each value of the latents by itself, as a normal
variable. Shuffled frames have wilder latents, and its curve is what that alone does.
The joint model is also run with zeros as its motion input: with the noised motion it knows more
than the others do. Motion is DIS flow of the frames as shown (enlarged.py), for permuted and
original alike; `exact` has the simulator's flow for the originals instead, so part of what it
tells apart is the estimator.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor

from videojam.evaluation.experiments.lab_models import (
    LoadedModel,
    encode_captions,
    encode_flow,
    encode_frames,
    held_out_lab,
    load_model,
    model_folders,
)
from videojam.evaluation.experiments.permuted_loss.frame_order import (
    MotionInput,
    gaussian_predictor,
    loss_grid,
    permute_frames,
)
from videojam.evaluation.metrics.enlarged import FINE
from videojam.evaluation.report.plots import Panel, line_panels
from videojam.evaluation.report.results import markdown_table, settle, write_results
from videojam.evaluation.statistics.curves import (
    band,
    crossing,
    earlier,
    mean_band,
    resample_weights,
)
from videojam.lab.clips import Lab, lab_clips
from videojam.motion.flow import estimate_flow
from videojam.records.atomic import replacing

Input = MotionInput | Literal["gaussian"]
# Curve -> (system, its motion input, the form of the original that the permuted is compared with).
CURVES: dict[str, tuple[str, Input, str]] = {
    "base": ("base", "none", "original"),
    "control": ("control", "none", "original"),
    "VideoJAM": ("videojam", "noised", "original"),
    "VideoJAM, zeros for motion": ("videojam", "zeros", "original"),
    "no order": ("base", "gaussian", "original"),
    "VideoJAM, exact motion": ("videojam", "noised", "exact"),
}
PLOTTED = tuple(CURVES)[:5]
_LOSSES = ("loss", "x0_error")
TOLD = (0.75, 0.9)  # shares of pairs told apart, whose first t is reported


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The loss of original and of frame-permuted clips over the noise levels (Figure 3)."""

    models: Path | None = None
    "Folder with base, control and videojam; the embedded models by default."
    out: Path
    "Where results.json, results.md and plot.png are written. The same command again goes on."
    quick: bool = False
    "At most 16 clips, 2 noises and 10 steps: a look in about a minute on two cores."
    seed: int = 2000
    "Of the held-out clips, permutations and noises; training has seed 0."
    device: str = "cpu"
    clips: int = 128
    "Held-out clips."
    noises: int = 8
    "Noises per clip, averaged."
    num_times: int = 20
    "Steps t, evenly spaced from 0 (noise) up to 100 (data), without 100."
    thresholds: tuple[float, ...] = (0.05, 0.10)
    "Relative differences whose first t is reported."
    batch_size: int = 64
    "Latents at once: a matter of memory and speed."

    def __post_init__(self) -> None:
        for name, least in (("clips", 2), ("noises", 1), ("num_times", 2), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if not self.thresholds or min(self.thresholds) <= 0:
            raise ValueError(f"thresholds are {self.thresholds}, expected positive numbers")


def run(config: Config) -> dict[str, Any]:
    """Measure what is not measured yet, write the results; returns the figures."""
    if config.quick:
        config = replace(
            config, clips=min(config.clips, 16), noises=min(config.noises, 2),
            num_times=min(config.num_times, 10),
        )  # fmt: skip
    folders = model_folders(config.models)
    out = settle(config, folders)
    lab = held_out_lab(folders["videojam"], config.seed)
    losses: dict[str, Tensor] = {}
    for name, folder in folders.items():
        path = out / "losses" / f"{name}.safetensors"
        if not path.exists():
            found = _measure(load_model(name, folder, config.device), lab, config)
            with replacing(path) as part:
                save_file(found, part)
        losses |= {f"{name}/{key}": value for key, value in load_file(path).items()}
    figures = summarise(losses, config)
    _plot(out / "plot.png", figures)
    text = _markdown(figures, config)
    Console().print(Markdown(text))
    return write_results(config, "permuted-loss", figures, text)


def times(num_times: int) -> Float[Tensor, "t"]:
    """Steps from 0 up to 100, 100 left out: there is no noise, and no velocity to predict."""
    return torch.arange(num_times, dtype=torch.float64) * (100 / num_times)


def _measure(system: LoadedModel, lab: Lab, config: Config) -> dict[str, Tensor]:
    """Losses (clips, noises, t) by "motion input/form of the clips", and the latents' variance."""
    scenes, drawn = lab_clips(lab, range(config.clips), config.device)
    frames = drawn.frames.cpu()
    shuffled = torch.stack([permute_frames(clip, lab.seed, i) for i, clip in enumerate(frames)])
    text = encode_captions(system, [scene.caption for scene in scenes], lab)
    x = {"original": encode_frames(system, frames), "permuted": encode_frames(system, shuffled)}
    x["exact"] = x["original"]
    d: dict[str, Tensor] = {}
    if system.info is not None:
        flows = {
            "original": torch.stack([estimate_flow(clip, FINE) for clip in frames]),
            "permuted": torch.stack([estimate_flow(clip, FINE) for clip in shuffled]),
            "exact": drawn.flow.cpu(),
        }
        d = {form: encode_flow(system, flow) for form, flow in flows.items()}
    predict = system.denoiser.of(system.pipe.transformer)
    wanted: set[tuple[Input, str]] = {
        (motion, form)
        for name, motion, original in CURVES.values()
        for form in (original, "permuted")
        if name == system.name
    }
    sigmas = (1 - times(config.num_times) / 100).tolist()
    batches = -(-config.clips * config.noises // config.batch_size)
    found = {"variance": x["original"].var().reshape(1)}
    with Progress() as progress:
        task = progress.add_task(system.name, total=len(wanted) * batches * len(sigmas))
        for motion, form in sorted(wanted):
            found[f"{motion}/{form}"] = loss_grid(
                gaussian_predictor(x["original"]) if motion == "gaussian" else predict,
                system.denoiser.level, x[form], text, sigmas, config.noises, seed=config.seed,
                motion="none" if motion == "gaussian" else motion,
                d=d[form] if motion == "noised" else None,
                batch_size=config.batch_size,
                device=config.device, advance=lambda: progress.advance(task),
            )  # fmt: skip
    return found


def summarise(losses: dict[str, Tensor], config: Config) -> dict[str, Any]:
    """Curves with bands, first steps, and how much earlier VideoJAM's are.

    losses: "system/motion input/form" -> (clips, noises, t), "system/variance" -> (1,).
    """
    t = times(config.num_times)
    sigma2 = (1 - t / 100) ** 2
    curves: dict[str, Any] = {}
    resampled: dict[str, tuple[Tensor, Tensor]] = {}  # relative, told above chance
    for label, (name, motion, form) in CURVES.items():
        single = [losses[f"{name}/{motion}/{one}"].double() for one in (form, "permuted")]
        original, permuted = (loss.mean(1) for loss in single)
        weights = resample_weights(len(original), config.seed)
        gap = permuted - original
        told = ((single[1] > single[0]).double() + 0.5 * (single[1] == single[0])).mean(1)
        relative = gap.mean(0) / original.mean(0)
        relatives, tolds = (weights @ gap) / (weights @ original), weights @ told - 0.5
        resampled[label] = relatives, tolds
        scale = sigma2 / losses[f"{name}/variance"].double()
        curves[label] = {
            "loss_original": original.mean(0).tolist(),
            "loss_permuted": permuted.mean(0).tolist(),
            "x0_error_original": (original.mean(0) * sigma2).tolist(),
            "x0_error_permuted": (permuted.mean(0) * sigma2).tolist(),
            "relative": band(relative, relatives)._asdict(),
            "excess": mean_band(gap * scale, weights)._asdict(),
            "told": mean_band(told, weights)._asdict(),
            "first_relative": {
                f"{at:g}": crossing(t, relative, relatives, at)._asdict()
                for at in config.thresholds
            },
            "first_told": {
                f"{at:g}": crossing(t, told.mean(0) - 0.5, tolds, at - 0.5)._asdict() for at in TOLD
            },
        }
    sooner = {
        f"{label} before {plain}": {
            what: {
                f"{at:g}": earlier(t, *pair, at - chance)._asdict() for at in levels
            }
            for what, levels, chance, pair in zip(
                ("relative", "told"), (config.thresholds, TOLD), (0.0, 0.5),
                zip(resampled[label], resampled[plain], strict=True), strict=True,
            )
        }
        for label in PLOTTED[2:4]
        for plain in PLOTTED[:2]
    }  # fmt: skip
    return {"t": t.tolist(), "clips": config.clips, "curves": curves, "earlier": sooner}


def _plot(path: Path, figures: dict[str, Any]) -> None:
    def panel(what: str, title: str, lines: tuple[float, ...]) -> Panel:
        curves = {
            label: (lambda one: (one["mean"], one["low"], one["high"]))(
                figures["curves"][label][what]
            )
            for label in PLOTTED
        }
        return Panel(title, figures["t"], curves, "step t (0 noise, 100 data)", "", lines=lines)

    line_panels(
        path,
        [
            panel("relative", "(permuted - original) / original", (0.0, 0.05, 0.1)),
            panel("excess", "difference of the clean latent's error / variance", (0.0,)),
            panel("told", "permuted has the higher loss", (0.5,)),
        ],
        "Loss of clips with shuffled frames",
    )


def _markdown(figures: dict[str, Any], config: Config) -> str:
    def first(entry: dict[str, float | None]) -> str:
        at, low, high, point = ("never" if v is None else f"{v:.0f}" for v in entry.values())
        return point if {point, at, low} == {"never"} else f"{point} ({at} [{low}, {high}])"

    heads = [f"first t with +{100 * at:g} %" for at in config.thresholds]
    heads += [f"told apart in {100 * at:g} %" for at in TOLD]
    rows = [
        [label, *map(first, [*curve["first_relative"].values(), *curve["first_told"].values()])]
        for label, curve in figures["curves"].items()
    ]
    text = "# Loss of clips with shuffled frames (Figure 3)\n\n"
    text += f"{config.clips} held-out clips, {config.noises} noises each; t from 0 (noise) to 100. "
    text += "The first t of the grid at which the mean has reached the level and its 95 % band "
    text += "excludes no difference; in parentheses where the curve reaches it between the points "
    text += "of the grid, with its 95 % interval by bootstrap over clips.\n\n"
    text += markdown_table(["", *heads], rows)
    text += "\nSteps by which VideoJAM reaches it earlier (median and 95 % interval); a curve that "
    text += "never does counts as if it did at the last t, so >= and <= are bounds:\n\n"
    gains = [
        [pair, *map(_sooner, [*gain["relative"].values(), *gain["told"].values()])]
        for pair, gain in figures["earlier"].items()
    ]
    text += markdown_table(["", *heads], gains)
    text += "\nLoss of the velocity and, in parentheses, error of the clean latent; original -> "
    text += "permuted:\n\n"
    shown = range(0, len(figures["t"]), max(1, len(figures["t"]) // 10))
    losses = [
        [label, *(_losses(figures["curves"][label], k) for k in shown)] for label in PLOTTED[:4]
    ]
    return text + markdown_table(["t", *(f"{figures['t'][k]:g}" for k in shown)], losses)


def _sooner(gain: dict[str, Any]) -> str:
    if gain["bound"] == "neither":
        return "-"
    return f"{gain['bound']} {gain['median']:.1f} [{gain['low']:.1f}, {gain['high']:.1f}]".strip()


def _losses(curve: dict[str, Any], k: int) -> str:
    pairs = ((curve[f"{what}_original"][k], curve[f"{what}_permuted"][k]) for what in _LOSSES)
    velocity, clean = (f"{original:.3f} -> {permuted:.3f}" for original, permuted in pairs)
    return f"{velocity} ({clean})"
