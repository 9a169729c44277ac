"""Is there something to gain? What your base's loss knows of the order of frames, on your clips.

    videojam evaluate premise --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers --data my/videos \\
        --out runs/premise

Before anything is trained: clips of the folder, and the same clips with their frames shuffled, are
encoded by the model's VAE, noised alike, and denoised once; the loss of the shuffled over that of
the original says at which noise levels the model notices motion at all (the paper's Figure 3, on
which its case rests). `no order` is what a model that knows no frames would show: shuffled frames
have wilder latents, and that alone raises a loss. It does not foretell what VideoJAM brings
(scanline/gain_map.py). Every clip is kept when it is measured; the same command goes on where it
was stopped.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor

from videojam.evaluation.experiments.permuted_loss.frame_order import (
    gaussian_predictor,
    loss_grid,
    permute_frames,
)
from videojam.evaluation.premise.clips import Clip, Folder, find_clips, read_clips
from videojam.evaluation.premise.order import NOTICED, TIMES, Noticing, noticing
from videojam.evaluation.report.plots import Panel, line_panels
from videojam.evaluation.report.results import markdown_table, settle, write_results
from videojam.evaluation.statistics.curves import band, resample_weights
from videojam.joint.checkpoint import check_runs, load_base
from videojam.joint.denoiser import Denoiser
from videojam.joint.find_family import family_of
from videojam.joint.inputs import text_inputs
from videojam.joint.latents import encode_video, latent_channels
from videojam.joint.noising import flow_matching
from videojam.joint.sizes import Size
from videojam.joint.text import Text, stack_text
from videojam.joint.widen import is_widened
from videojam.media.video import to_pixels
from videojam.records.atomic import replacing
from videojam.training.loop import experts

FEWEST_CLIPS = 8  # for an interval over clips


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Does your base's loss notice motion on your clips? Before paying for training."""

    model: str
    "The base: a folder or a hub id."
    data: Path
    "Folder of videos, with a .txt beside each, or --captions."
    captions: Path | None = None
    ".jsonl, .csv or .parquet with columns path and caption, as for `videojam prepare`."
    out: Path
    "Where results.json, results.md and plot.png are written. The same command again goes on."
    size: tuple[int, int] = (480, 832)
    "Height and width of the clips."
    num_frames: int = 81
    "Frames of a clip."
    fps: float = 16.0
    "Frames per second."
    clips: int = 16
    "Clips, of different videos where there are enough."
    noises: int = 2
    "Noises per clip and level, the same for both orders of frames."
    seed: int = 0
    "Of shuffling and noises."
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, least in (("clips", 2), ("noises", 1), ("num_frames", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if not self.fps > 0 or min(self.size) < 1:
            raise ValueError(f"fps is {self.fps} and size {self.size}, expected positive numbers")


def run(config: Config) -> dict[str, Any]:
    """Measure what is not measured yet, write the results; returns the figures."""
    size = Size(config.num_frames, *config.size)
    folder = find_clips(config.data, config.captions, size, config.fps, config.clips)
    out = config.out
    files = [out / "clips" / f"{number}.safetensors" for number in range(len(folder.places))]
    todo = [number for number, file in enumerate(files) if not file.exists()]
    pipe = _load(config) if todo else None
    settle(config, {})  # after all that can be wrong, so that a mistake binds no folder
    if todo:
        _measure(pipe, config, folder, files, todo)
    figures = summarise([load_file(file) for file in files], config)
    figures["videos"] = len({entry.path for entry, *_ in folder.places})
    _plot(out / "plot.png", figures)
    text = markdown(figures, config, folder)
    Console().print(Markdown(text))
    return write_results(config, "premise", figures, text)


def _load(config: Config) -> Any:
    pipe = load_base(config.model)
    family = family_of(pipe.transformer)
    check_runs(type(pipe).__name__, family)
    if is_widened(pipe.transformer, latent_channels=latent_channels(pipe.vae)):
        raise ValueError(f"{config.model} is a joint model; the premise is one of its base")
    pipe.to(config.device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _measure(pipe: Any, config: Config, folder: Folder, files: list[Path], todo: list[int]) -> None:
    denoiser = Denoiser(pipe, fps=config.fps)
    clips = read_clips(config.data, [folder.places[number] for number in todo])
    passes = 2 * config.noises * len(TIMES)
    with Progress() as progress:
        task = progress.add_task("premise", total=len(files) * passes)
        progress.advance(task, (len(files) - len(todo)) * passes)
        for number, clip in zip(todo, clips, strict=True):
            found = _of_clip(
                pipe, denoiser, clip, number, config, lambda: progress.advance(task, 1)
            )
            with replacing(files[number]) as part:
                save_file(found, part)


def _of_clip(
    pipe: Any, denoiser: Denoiser, clip: Clip, number: int, config: Config, advance: Any
) -> dict[str, Tensor]:
    """Latents and losses (noises, t) of a clip in both orders."""
    size = Size(*clip.frames.shape[:3])
    transformer = pipe.transformer
    words = stack_text(text_inputs(pipe, [clip.caption], size))
    orders = {"original": clip.frames, "permuted": permute_frames(clip.frames, config.seed, number)}
    found = {}
    for order, frames in orders.items():
        x = _encode(pipe, frames, config.device)
        found[f"latents/{order}"] = x[0].half()
        columns = []
        for time in TIMES:
            predict = denoiser.of(_expert_at(pipe, 1 - time))
            grid = loss_grid(
                _in_type(predict, transformer.dtype), denoiser.level, x, words, [1 - time],
                config.noises, seed=config.seed + number, batch_size=1, device=config.device,
                advance=advance,
            )  # fmt: skip
            columns.append(grid[0, :, 0])
        found[f"loss/{order}"] = torch.stack(columns, 1)
    return found


def _expert_at(pipe: Any, sigma: float) -> Any:
    """The transformer that is used at this noise level; a model may have two."""
    ranges = experts(pipe).items()
    return getattr(pipe, next(name for name, (low, high) in ranges if low <= sigma <= high))


def _encode(
    pipe: Any, frames: UInt8[Tensor, "f h w 3"], device: str
) -> Float[Tensor, "1 c t h2 w2"]:
    with torch.inference_mode():
        return encode_video(pipe.vae, to_pixels(frames[None]).to(device)).float().cpu()


def _in_type(predict: Any, dtype: torch.dtype) -> Any:
    """The model in its own type, the loss in float32."""

    def call(noised: Tensor, level: Any, text: Text) -> Tensor:
        words = {k: v.to(dtype) if v.is_floating_point() else v for k, v in text.items()}
        return predict(noised.to(dtype), level, words).float()

    return call


def summarise(measured: list[dict[str, Tensor]], config: Config) -> dict[str, Any]:
    """Curves with bands over clips, and the three numbers, for the model and for no order."""
    losses = torch.stack([
        torch.stack([one[f"loss/{order}"].mean(0) for order in ("original", "permuted")])
        for one in measured
    ]).double()  # clips, 2, t  # fmt: skip
    curves = {"model": losses, "no order": _without_order(measured, config).double()}
    weights = resample_weights(len(measured), config.seed)
    figures: dict[str, Any] = {"clips": len(measured), "t": [*TIMES], "curves": {}}
    for name, own in curves.items():
        ratio = own[:, 1].mean(0) / own[:, 0].mean(0)
        resampled = (weights @ own[:, 1]) / (weights @ own[:, 0])
        numbers = noticing(own.mean(0))
        spread = torch.tensor([noticing(torch.stack([torch.ones(len(TIMES)), row.float()]))
                               for row in resampled[:1000]])  # fmt: skip
        low, high = spread.double().quantile(torch.tensor([0.025, 0.975]).double(), 0).tolist()
        shown = len(measured) >= FEWEST_CLIPS
        figures["curves"][name] = {
            "loss_original": own[:, 0].mean(0).tolist(),
            "loss_permuted": own[:, 1].mean(0).tolist(),
            "ratio": band(ratio, resampled)._asdict(),
            "noticing": numbers._asdict(),
            "low": Noticing(*low)._asdict() if shown else None,
            "high": Noticing(*high)._asdict() if shown else None,
        }
    return figures


def _without_order(measured: list[dict[str, Tensor]], config: Config) -> Float[Tensor, "n 2 t"]:
    """The losses of the best model of independent normal values, from the clips' own latents.

    In terms of flow matching, whose ratio of losses is that of any prediction of the clean latent.
    """
    x = {order: torch.stack([one[f"latents/{order}"].float() for one in measured])
         for order in ("original", "permuted")}  # fmt: skip
    predict = gaussian_predictor(x["original"])
    return torch.stack([
        loss_grid(predict, flow_matching, own, {}, [1 - t for t in TIMES], config.noises,
                  seed=config.seed, batch_size=4).mean(1)
        for own in x.values()
    ], 1)  # fmt: skip


def _plot(path: Path, figures: dict[str, Any]) -> None:
    curves = {
        name: (own["ratio"]["mean"], own["ratio"]["low"], own["ratio"]["high"])
        for name, own in figures["curves"].items()
    }
    line_panels(path, [
        Panel("loss of shuffled / original frames", figures["t"], curves,
              "t (0 noise, 1 data)", "", lines=(1.0, NOTICED)),
    ])  # fmt: skip


def markdown(figures: dict[str, Any], config: Config, folder: Folder) -> str:
    """results.md."""
    text = (
        f"# Does the loss of {config.model} notice motion?\n\n{figures['clips']} clips of "
        f"{figures['videos']} videos, {config.num_frames} frames of {config.size[0]} x "
        f"{config.size[1]} at {config.fps:g} frames/s, {config.noises} noises each. Loss of "
        "shuffled over that of original frames at t, 0 noise to 1 data.\n\n"
    )
    rows = [
        [name, *(f"{value:.3f}" for value in own["ratio"]["mean"])]
        for name, own in figures["curves"].items()
    ]
    text += markdown_table(["t", *(f"{t:g}" for t in TIMES)], rows)
    text += "\nMean early (t up to 0.5) and late, and the first t at which the ratio reaches "
    text += f"{NOTICED} [95 % over clips, from {FEWEST_CLIPS} on]:\n\n"
    body = [[name, *(_number(own, key) for key in Noticing._fields)]
            for name, own in figures["curves"].items()]  # fmt: skip
    text += markdown_table(["", *Noticing._fields], body)
    text += (
        "\nThis is what the loss notices, not what VideoJAM would bring: on a small world, where "
        "that was measured, it foretold the gain hardly better than the mean gain does "
        "(docs/results.md, the map).\n"
    )
    if folder.dropped:
        text += f"\n{len(folder.dropped)} videos or scenes gave no clip; the first: "
        text += "; ".join(f"{one.name}: {one.reason}" for one in folder.dropped[:3]) + ".\n"
    return text


def _number(own: dict[str, Any], key: str) -> str:
    text = f"{own['noticing'][key]:.3f}"
    return text + f" [{own['low'][key]:.3f}, {own['high'][key]:.3f}]" if own["low"] else text
