"""What measurements of images and of motion strength on the lab share: models to begin with, three
trainings, kept clips."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from diffusers import DiffusionPipeline, WanImageToVideoPipeline
from jaxtyping import UInt8
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from videojam.data.run_folder import settle_config
from videojam.embedded.lab_file import lab_of, write_lab
from videojam.embedded.shipped import embedded
from videojam.evaluation.clips.systems import Request
from videojam.joint.latents import latent_channels
from videojam.lab.clips import Lab
from videojam.objective import Objective
from videojam.sampling.generate import VideoJAM
from videojam.training.config import TrainConfig
from videojam.workflow.finetune import finetune


@dataclass(frozen=True, kw_only=True)
class LabRun:
    """What a measurement on the lab trains on, for how long, and how it samples."""

    out: Path
    "Where everything is kept; the same command again goes on."
    models: Path | None = None
    "Folder with `base` and `videojam`, as `videojam lab-model` writes it; default the embedded."
    clips: int = 4096
    "Training clips."
    validation: int = 32
    "Held-out clips for the losses."
    base_steps: int = 1500
    "Steps in which the base learns what is new to it."
    tune_steps: int = 1000
    "Steps of control and of VideoJAM, from that base."
    batch_size: int = 64
    precision: Literal["fp32", "bf16"] = "bf16"
    compile: bool = False
    "Worth its minute or two for more than some hundred steps."
    learning_rate: float = 1e-3
    prompts: int = 64
    "Held-out scenes that are asked for."
    seed: int = 2000
    "Of these scenes: 2000 for results, 1000 to choose settings."
    num_inference_steps: int = 25
    text_scale: float = 2.5
    motion_scale: float = 3.0

    def settings(self) -> dict[str, str]:
        """What the figures come from; where on this machine is not among it."""
        places = ("out", "results", "models")
        own = {k: str(v) for k, v in asdict(self).items() if k not in places}
        return own | {"models": "embedded" if self.models is None else self.models.name}

    def folder(self, name: str) -> Path:
        """One of the models to begin with."""
        return embedded(name) if self.models is None else self.models / name


class Begun(NamedTuple):
    """What a measurement begins with."""

    lab: Lab
    "Of its training clips."
    sigma: float
    start: Path
    "The base to be trained, and below what is trained on; neither is there yet."
    data: Path


def begun(run: LabRun, settings_file: str) -> Begun:
    """The folder with its settings, and what the models of it say. ValueError for a folder with
    other settings."""
    torch.set_num_threads(1)
    run.out.mkdir(parents=True, exist_ok=True)
    settle_config(run.out, asdict(run) | {"out": "", "results": ""}, settings_file)
    joint = run.folder("videojam")
    sigma = VideoJAM.from_pretrained(joint).info.sigma
    return Begun(lab_of(joint, 0), sigma, run.out / "start", run.out / "data")


def with_image_channels(base: Path, out: Path) -> None:
    """A text-to-video Wan as one that starts from an image: the new channels at zero."""
    if out.exists():
        return
    pipe: Any = DiffusionPipeline.from_pretrained(base)
    before, C = pipe.transformer, latent_channels(pipe.vae)
    state = before.state_dict()
    weight = state["patch_embedding.weight"]
    new = weight.new_zeros(len(weight), 4 + C, *weight.shape[2:])
    state["patch_embedding.weight"] = torch.cat([weight, new], 1)
    transformer = type(before).from_config(dict(before.config) | {"in_channels": 4 + 2 * C})
    transformer.load_state_dict(state)
    parts = {k: v for k, v in pipe.components.items() if not k.startswith("transformer")}
    part = out.with_name("start.part")
    WanImageToVideoPipeline(**parts, transformer=transformer).save_pretrained(part)
    part.rename(out)


def with_words(base: Path, out: Path, words: Sequence[str]) -> None:
    """A pipeline whose text encoder knows further words, random ones beside its own."""
    if out.exists():
        return
    pipe: Any = DiffusionPipeline.from_pretrained(base)
    torch.manual_seed(0)
    pipe.tokenizer.add_tokens([*words])
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer))
    part = out.with_name("start.part")
    pipe.save_pretrained(part)
    part.rename(out)


def train_three(run: LabRun, lab: Lab, data: Path, start: Path) -> dict[str, Path]:
    """base, control and videojam: the latter two from the first, alike but for the objective."""
    base = TrainConfig(
        out=run.out / "runs" / "base", target="appearance", mode="full", steps=run.base_steps,
        global_batch_size=run.batch_size, optimiser="muon", learning_rate=run.learning_rate,
        lr_schedule="cosine", ema_decay=0.999, precision=run.precision, compile=run.compile,
        checkpoint_every=100, keep_checkpoints=1, validate_every=max(1, run.base_steps // 4),
        log_every=20,
        export="folder", sample_every=0, objective=Objective(text_dropout=0.1, flow_shift=2.0),
    )  # fmt: skip
    models = {"base": finetune(data, base, str(start))}
    tuned = replace(base, steps=run.tune_steps, objective=Objective(flow_shift=2.0))
    for name in ("control", "videojam"):
        target: Any = "joint" if name == "videojam" else "appearance"
        one = replace(tuned, out=run.out / "runs" / name, target=target)
        models[name] = finetune(data, one, str(models["base"]))
    write_lab(models["videojam"], lab)
    return models


def kept(
    folder: Path,
    requests: Sequence[Request],
    make: Callable[[int, Request], UInt8[Tensor, "f h w 3"]],
) -> Iterator[UInt8[Tensor, "f h w 3"]]:
    """One clip per request, from `folder` where it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, request in enumerate(track(requests, folder.name)):
        file = folder / f"{place:05d}.safetensors"
        if not file.exists():
            part = file.with_suffix(".part")
            save_file({"video": make(place, request).contiguous()}, part)
            part.rename(file)
        yield load_file(file)["video"]
