"""The line's part: clips one pixel high, so a whole clip is one picture with time downwards.

A ball in even motion draws a straight line, so what moves wrongly is seen at a glance. The systems
and their guidance are those of `videojam evaluate scanline`, whose first training seed this is; the
captions are the first ones of a stream that nothing else uses.
"""

import io
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import UInt8
from PIL import Image
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor

from videojam.demo.recorded import Measured
from videojam.embedded.line import line_models
from videojam.evaluation.experiments.scanline.compared import BASE, CONTROL, GUIDED, JOINT, ROLES
from videojam.evaluation.experiments.scanline.fit import Speed
from videojam.evaluation.experiments.scanline.model import CHANNELS, to_frames
from videojam.evaluation.experiments.scanline.sample import Sampler
from videojam.evaluation.experiments.scanline.settings import Triple
from videojam.evaluation.experiments.scanline.triple import load
from videojam.lab.scanline.clips import draw
from videojam.lab.scanline.judge import judge
from videojam.lab.scanline.world import caption_text, picture
from videojam.records.provenance import made_here
from videojam.sampling.pipeline import Sampling
from videojam.sampling.samples import is_done, write_sidecar

LABELS = {
    "example": "a true clip", BASE: "base", CONTROL: "control",
    JOINT: "without Inner-Guidance", GUIDED: "VideoJAM", "motion": "predicted motion",
}  # fmt: skip
"What is shown, left to right."
_NAME = "line"
_STREAM = "demo"
_TALL, _WIDE = 10, 6  # screen pixels of a pixel, in line.png


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """Clips of one line."""

    captions: int = 6
    "How many captions, the first ones of their stream."
    seeds: tuple[int, ...] = (0, 1)
    "Seeds of the noise, the same for all models."
    num_inference_steps: int | None = None
    "Euler steps; default those of the recorded comparison."

    def __post_init__(self) -> None:
        if self.captions < 1 or not self.seeds:
            raise ValueError(
                f"{self.captions} captions with seeds {self.seeds}; give at least one of each"
            )


class Plan(NamedTuple):
    triple: Triple
    settings: dict[str, Any]
    "All that decides what the samples are."

    @property
    def systems(self) -> dict[str, Sampling]:
        return {name: Sampling(**own) for name, own in self.settings["systems"].items()}


class Picture(NamedTuple):
    """A clip to look at."""

    label: str
    pixels: UInt8[Tensor, "f w 3"]
    lawful: float | None


class Shown(NamedTuple):
    sidecar: dict[str, Any]
    pictures: dict[tuple[int, int], list[Picture]]
    "(caption, seed) -> the clips, in the order of LABELS."


def plan(line: Line, measured: dict[str, Measured]) -> Plan:
    """What is sampled: every system as it was measured."""
    triple, setting = Triple(), measured["line"].setting
    steps = line.num_inference_steps or setting["num_inference_steps"]
    systems = {
        name: asdict(Sampling(**own, num_inference_steps=steps, motion_stop=setting["motion_stop"]))
        for name, own in setting["scales"].items()
    }
    captions = draw(triple.world, triple.seed, range(line.captions), _STREAM).captions
    return Plan(triple, {
        "captions": [caption_text(caption) for caption in captions],
        "seeds": [*line.seeds],
        "models": {role: triple.name(role) for role in dict.fromkeys(ROLES.values())},
        "systems": systems,
    })  # fmt: skip


def is_there(kept: Path, own: Plan) -> bool:
    """ValueError if they were made in another way."""
    return is_done(kept, _NAME, own.settings)


def sample(own: Plan, kept: Path, progress: Progress) -> None:
    """Write line.safetensors, the clips as they came, and its sidecar with their scores."""
    triple, models, speed = own.triple, line_models(), Speed(compile=False)
    world, count, seeds = triple.world, len(own.settings["captions"]), own.settings["seeds"]
    clips = draw(world, triple.seed, range(count), _STREAM)
    captions = clips.captions.repeat(len(seeds), 1, 1)
    task = progress.add_task("the line", total=len(own.systems))
    tensors, seconds = {"example": clips.frames}, {}
    for name, sampling in own.systems.items():
        progress.update(task, description=f"the line: {LABELS[name]}")
        began = time.perf_counter()
        sampler = Sampler.of(load(triple, ROLES[name], models), triple, ROLES[name], speed)
        noise = torch.cat([sampler.noise(range(count), seed) for seed in seeds])
        latents = sampler.latents(captions, noise, sampling)
        tensors[name] = to_frames(world, latents[:, :CHANNELS])
        if name == GUIDED:
            tensors["motion"] = latents[:, CHANNELS:].permute(0, 2, 3, 4, 1)
        seconds[name] = round(time.perf_counter() - began, 2)
        progress.advance(task)
    lawful = {
        name: judge(world, tensors[name], captions).lawful.view(len(seeds), count).tolist()
        for name in own.systems
    }
    kept.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, kept / f"{_NAME}.safetensors")
    sidecar = own.settings | {"lawful": lawful, "seconds": seconds, **made_here()}
    write_sidecar(kept, _NAME, sidecar)


def show(own: Plan, kept: Path, out: Path) -> Shown:
    """Everything to look at, from the kept samples alone; writes line.png."""
    sidecar = json.loads((kept / f"{_NAME}.json").read_text())
    tensors = load_file(kept / f"{_NAME}.safetensors")
    count = len(sidecar["captions"])
    pictures: dict[tuple[int, int], list[Picture]] = {}
    for caption in range(count):
        for place, seed in enumerate(sidecar["seeds"]):
            at = place * count + caption
            pictures[caption, seed] = [
                Picture(LABELS["example"], picture(tensors["example"][caption, :, 0]), None),
                *(
                    Picture(LABELS[name], picture(tensors[name][at, :, 0]),
                            sidecar["lawful"][name][place][caption])
                    for name in own.systems
                ),
                Picture(LABELS["motion"], _motion(tensors["motion"][at, :, 0]), None),
            ]  # fmt: skip
    rows = [_row(row) for row in pictures.values()]
    Image.fromarray(torch.cat(rows).numpy()).save(out / "line.png")
    return Shown(sidecar, pictures)


def png(pixels: UInt8[Tensor, "f w 3"]) -> bytes:
    """A clip as a picture of its own size."""
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "PNG")
    return file.getvalue()


def _motion(colours: Tensor) -> UInt8[Tensor, "f w 3"]:
    return ((colours + 1) / 2).clamp(0, 1).mul(255).round().to(torch.uint8)


def _row(pictures: list[Picture]) -> UInt8[Tensor, "h w 3"]:
    large = [
        picture.pixels.repeat_interleave(_TALL, 0).repeat_interleave(_WIDE, 1)
        for picture in pictures
    ]
    framed = [torch.nn.functional.pad(one, (0, 0, 4, 4, 4, 4), value=24) for one in large]
    return torch.cat(framed, 1)
