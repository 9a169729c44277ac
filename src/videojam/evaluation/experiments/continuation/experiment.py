"""Figure 8: at which sampling step is the motion of a video decided?

    videojam evaluate continuation --models runs/lab-model --out runs/continuation

A held-out clip is noised to step k of N, and each system samples the rest from there with the
clip's caption, its usual guidance and the stock scheduler. As far as the motion of the result is
the original's, it was decided before step k. Flow is DIS flow of both videos (enlarged.py).

Per system and step: correlation of the flows, end-point error relative to the length of the
original's flow (1: as wrong as no motion), share of motion, PSNR of the pictures. Step 0 is a
generated clip that knows the caption alone; the last step the autoencoder alone, which no system
can be better than. The joint model starts from the noised motion too, which is the answer as far
as the noise lets it through; `zeros for motion` is the same model without it. `settled` places the
curve of the correlation (and of the PSNR) between these two ends, for every system its own: 0 is
what the caption alone gives, 1 all that can be had.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor

from videojam.evaluation.experiments.lab_models import (
    LoadedModel,
    encode_flow,
    encode_frames,
    held_out_lab,
    load_model,
    model_folders,
)
from videojam.evaluation.metrics.enlarged import FINE
from videojam.evaluation.metrics.flow_agreement import (
    flow_correlation,
    motion_share,
    psnr,
    relative_end_point_error,
)
from videojam.evaluation.report.plots import Panel, line_panels, strip
from videojam.evaluation.report.results import markdown_table, settle, write_results
from videojam.evaluation.statistics.curves import band, crossing, mean_band, resample_weights
from videojam.guidance.branches import Number
from videojam.guidance.inner import Mode as GuidanceMode
from videojam.joint.latents import decode_video, join, split
from videojam.lab.clips import Lab, lab_clips
from videojam.media.video import to_uint8
from videojam.motion.flow import estimate_flow
from videojam.records.atomic import replacing
from videojam.sampling.partial_sampling import continue_from, schedule
from videojam.sampling.pipeline import Sampling
from videojam.training.step import sample_noise

MEASURES = {
    "correlation": "correlation of the flow with the original's",
    "error": "end-point error / original's flow",
    "share": "motion / original's motion",
    "psnr": "PSNR (dB)",
}
# Curve -> (system, how the joint one is guided).
CURVES: dict[str, tuple[str, GuidanceMode]] = {
    "base": ("base", "inner_guidance"),
    "control": ("control", "inner_guidance"),
    "VideoJAM": ("videojam", "inner_guidance"),
    "VideoJAM, zeros for motion": ("videojam", "without_flow"),
}
SETTLED = (0.5, 0.9)
SHOWN = (20, 60, 80)  # the paper's steps, in the strips
NUM_STRIPS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Real clips noised to a step and continued from there (Figure 8)."""

    models: Path | None = None
    "Folder with base, control and videojam; the embedded models by default."
    out: Path
    "Where results, plot.png and strip-*.png are written. The same command again goes on."
    quick: bool = False
    "At most 8 clips, 20 sampling steps and starts at 0, 20, ..., 80: minutes on two cores."
    seed: int = 2000
    "Of the held-out clips and the noises; training has seed 0."
    device: str = "cpu"
    clips: int = 64
    "Held-out clips."
    starts: tuple[int, ...] = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90)
    "Per cent of the sampling steps that are skipped; 0 first, which others are compared with."
    num_inference_steps: int = 100
    "Sampling steps of a whole run (paper: 100)."
    text_scale: Number = 2.5
    "w1, for all systems."
    motion_scale: Number = 3.0
    "w2, of Inner-Guidance."
    motion_stop: Number = 0.5
    "Share of a whole run's steps after which Inner-Guidance stops."
    batch_size: int = 16
    "Clips at once: a matter of memory and speed."

    def __post_init__(self) -> None:
        if self.clips < 2 or self.batch_size < 1:
            raise ValueError(
                f"{self.clips} clips in batches of {self.batch_size}; expected at least 2 clips "
                "and 1 at once"
            )
        growing = sorted({*self.starts}) == [*self.starts]
        if not growing or self.starts[:1] != (0,) or self.starts[-1] > 99:
            raise ValueError(
                f"starts are {self.starts}, expected growing numbers from 0, below 100"
            )
        steps = [self.step(at) for at in self.starts]
        if len({*steps}) < len(steps):
            raise ValueError(
                f"of {self.num_inference_steps} steps the starts {self.starts} (%) are steps "
                f"{steps}, some of them the same; give fewer starts or more steps"
            )
        self.sampling()  # raises for scales and steps out of range, before anything is written

    def step(self, start: int) -> int:
        """The sampling step that is `start` per cent of all."""
        return round(start * self.num_inference_steps / 100)

    def sampling(self, lab: Lab | None = None) -> Sampling:
        """The settings, for clips of the lab's size."""
        size: dict[str, Any] = {}
        if lab is not None:
            size = {"num_frames": lab.frames, "height": lab.height, "width": lab.width}
        return Sampling(
            num_inference_steps=self.num_inference_steps, text_scale=self.text_scale,
            motion_scale=self.motion_scale, motion_stop=self.motion_stop, **size,
        )  # fmt: skip


class Originals(NamedTuple):
    """The clips that are noised, and what is asked for."""

    frames: UInt8[Tensor, "n f h w 3"]
    exact: Float[Tensor, "n f-1 2 h w"]
    flow: Float[Tensor, "n f-1 2 h w"]
    "Estimated, as that of the continued clips."
    captions: list[str]


def run(config: Config) -> dict[str, Any]:
    """Continue what is not there yet, write the results; returns the figures."""
    if config.quick:
        config = replace(
            config, clips=min(config.clips, 8), starts=(0, 20, 40, 60, 80),
            num_inference_steps=min(config.num_inference_steps, 20),
        )  # fmt: skip
    folders = model_folders(config.models)
    lab = held_out_lab(folders["videojam"], config.seed)
    out = settle(config, folders)
    originals = _originals(lab, config)
    starts = [*config.starts, 100]
    parts = {
        (curve, start): out / "parts" / f"{name}-{mode}-{start:03d}.safetensors"
        for curve, (name, mode) in CURVES.items()
        for start in starts
    }
    with Progress() as progress:
        task = progress.add_task("clips", total=len(parts) * config.clips)
        for curve, (name, mode) in CURVES.items():
            missing = [at for at in starts if not parts[curve, at].exists()]
            progress.advance(task, (len(starts) - len(missing)) * config.clips)
            if missing:
                model = load_model(name, folders[name], config.device)
                sampling = replace(config.sampling(lab), mode=mode)
                work = _continuer(model, originals, config, sampling)
                for start in missing:
                    with replacing(parts[curve, start]) as part:
                        save_file(work(start, lambda n: progress.advance(task, n)), part)
    found = {key: load_file(path) for key, path in parts.items()}
    figures = summarise(found, starts, config)
    _draw(out, figures, found, originals, config)
    text = _markdown(figures, config)
    Console().print(Markdown(text))
    return write_results(config, "continuation", figures, text)


def _originals(lab: Lab, config: Config) -> Originals:
    scenes, drawn = lab_clips(lab, range(config.clips), config.device)
    frames = drawn.frames.cpu()
    flow = torch.stack([estimate_flow(clip, FINE) for clip in frames])
    return Originals(frames, drawn.flow.cpu(), flow, [scene.caption for scene in scenes])


def _continuer(
    model: LoadedModel, originals: Originals, config: Config, sampling: Sampling
) -> Callable[[int, Callable[[int], object]], dict[str, Tensor]]:
    """A function that continues all clips from one start and measures them."""
    numbers, joint = list(range(config.clips)), model.info is not None
    clean = encode_frames(model, originals.frames)
    noise = sample_noise(clean, config.seed, "continuation x", numbers)
    if joint:
        motion = encode_flow(model, originals.exact)
        noise_d = sample_noise(motion, config.seed, "continuation d", numbers)
        clean, noise = join(clean, motion), join(noise, noise_d)
    sigmas = schedule(model.pipe, sampling)

    def work(start: int, advance: Callable[[int], object]) -> dict[str, Tensor]:
        step = config.step(start)
        values: dict[str, list[float]] = {name: [] for name in MEASURES}
        shown = []
        for at in range(0, config.clips, config.batch_size):
            part = slice(at, at + config.batch_size)
            final = continue_from(
                model.pipe, clean[part], noise[part], originals.captions[part], step, sampling,
                joint,
            )  # fmt: skip
            x = split(final).x if joint else final
            videos = to_uint8(decode_video(model.pipe.vae, x))
            for number, video in enumerate(videos, at):
                for name, value in measure(video, originals, number).items():
                    values[name].append(value)
            shown += [*videos[: max(0, NUM_STRIPS - at)]]
            advance(len(videos))
        return {
            "sigma": sigmas[step].reshape(1),
            "frames": torch.stack(shown[:NUM_STRIPS]),
            **{name: torch.tensor(row, dtype=torch.float64) for name, row in values.items()},
        }

    return work


def measure(video: UInt8[Tensor, "f h w 3"], originals: Originals, number: int) -> dict[str, float]:
    """A clip against original `number`."""
    flow, reference = estimate_flow(video, FINE), originals.flow[number]
    return {
        "correlation": flow_correlation(flow, reference),
        "error": relative_end_point_error(flow, reference),
        "share": motion_share(flow, reference),
        "psnr": psnr(video, originals.frames[number]),
    }


def summarise(
    found: dict[tuple[str, int], dict[str, Tensor]],
    starts: list[int],
    config: Config,
) -> dict[str, Any]:
    """Curves with bands over the starts, and where motion and pictures are settled.

    found: (curve, start) -> values of every clip. The last start is the autoencoder alone.
    """
    x = torch.tensor(starts, dtype=torch.float64)
    curves: dict[str, Any] = {}
    for label in CURVES:
        entry: dict[str, Any] = {}
        for measure_name in MEASURES:
            values = torch.stack([found[label, at][measure_name] for at in starts], dim=1)
            values = values[values.isfinite().all(1)]
            weights = resample_weights(len(values), config.seed)
            entry[measure_name] = mean_band(values, weights)._asdict()
            if measure_name in ("correlation", "psnr"):
                mean, resampled = (_settled(of) for of in (values.mean(0)[None], weights @ values))
                entry[f"settled_{measure_name}"] = band(mean[0], resampled)._asdict()
                entry[f"settled_{measure_name}_at"] = {
                    f"{level:g}": crossing(x, mean[0], resampled, level)._asdict()
                    for level in SETTLED
                }
        curves[label] = entry
    levels = [float(found["base", at]["sigma"]) for at in starts]
    return {"starts": starts, "sigmas": levels, "clips": config.clips, "curves": curves}


def _settled(curves: Float[Tensor, "r t"]) -> Float[Tensor, "r t"]:
    """0 at the first start, 1 at the last."""
    first, last = curves[:, :1], curves[:, -1:]
    return (curves - first) / (last - first)


def _draw(
    out: Path,
    figures: dict[str, Any],
    found: dict[tuple[str, int], dict[str, Tensor]],
    originals: Originals,
    config: Config,
) -> None:
    def panel(what: str, title: str) -> Panel:
        curves = {
            label: (entry[what]["mean"], entry[what]["low"], entry[what]["high"])
            for label, entry in figures["curves"].items()
        }
        return Panel(title, figures["starts"], curves, "continued from step (% of all)", "")

    panels = [panel("correlation", MEASURES["correlation"]), panel("error", MEASURES["error"])]
    line_panels(out / "plot.png", [*panels, panel("psnr", MEASURES["psnr"])], "Continued clips")
    shown = [at for at in SHOWN if at in figures["starts"]] or figures["starts"][:3]
    for number in range(min(NUM_STRIPS, config.clips)):
        rows = {"original": originals.frames[number]} | {
            f"{label}, {at} %": found[label, at]["frames"][number]
            for at in shown
            for label in CURVES
        }
        strip(out / f"strip-{number}.png", rows, title=originals.captions[number])


def _markdown(figures: dict[str, Any], config: Config) -> str:
    def place(entry: dict[str, float | None]) -> str:
        at, low, high, _ = (
            "never" if value is None else f"{value:.0f}" for value in entry.values()
        )
        return f"{at} [{low}, {high}]"

    def cell(one: dict[str, list[float]], k: int) -> str:
        return f"{one['mean'][k]:.2f} ± {one['error'][k]:.2f}"

    text = (
        "# Clips continued from a step (Figure 8)\n\n"
        f"{config.clips} held-out clips, {config.num_inference_steps} steps, "
        f"w1 = {config.text_scale:g}, w2 = {config.motion_scale:g}; 100 % is the autoencoder "
        "alone. With standard errors, by bootstrap over clips.\n"
    )
    starts = [f"{at} %" for at in figures["starts"]]
    for what, about in MEASURES.items():
        rows = [
            [label, *(cell(entry[what], k) for k in range(len(starts)))]
            for label, entry in figures["curves"].items()
        ]
        text += f"\n{about[0].upper() + about[1:]}:\n\n{markdown_table(['', *starts], rows)}"
    heads = [f"{half} {100 * at:g} % settled" for half in ("motion", "pictures") for at in SETTLED]
    rows = [
        [
            label,
            *map(place, entry["settled_correlation_at"].values()),
            *map(place, entry["settled_psnr_at"].values()),
        ]
        for label, entry in figures["curves"].items()
    ]
    return (
        text
        + "\nStart (per cent of the steps) by which, with 95 % intervals:\n\n"
        + markdown_table(["", *heads], rows)
    )
