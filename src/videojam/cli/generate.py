"""videojam generate: prompts and seeds -> videos, predicted motion, and how each was made.

What is written is described in samples.py. The same command again makes only what is missing.
"""

import json
import sys
from dataclasses import asdict, dataclass, fields
from itertools import repeat
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from diffusers import DiffusionPipeline
from rich.progress import Progress

from videojam.cli.default_model import default_model
from videojam.records.provenance import commit, versions
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling
from videojam.sampling.samples import fingerprint, is_done, read_prompts, sample_name, write_sample


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerateArgs(Sampling):
    """Sample videos and their predicted motion from a joint model."""

    out: Path
    "Where to write."
    model: Path | None = None
    "Folder or adapter that `videojam train` exported; default the embedded small model."
    prompt: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    "A prompt; give it again for more."
    prompts: Path | None = None
    "File of prompts: .txt, one a line, or .jsonl, objects with a key `prompt`."
    seeds: tuple[int, ...] = (0,)
    "Every prompt is sampled with every seed."
    base: Path | None = None
    "Folder or hub id of the base model, to sample it side by side from the same noise."
    flow: bool = False
    "Also write the predicted flow, NAME.flow.safetensors, float16 pixels (F-1, 2, H, W)."
    device: str | None = None
    "Default: cuda where there is one, else cpu."
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    "Of the weights. Default: bfloat16 on an accelerator, float32 on the CPU."
    offload: bool = False
    "Keep only the component that is running on the accelerator."

    def __post_init__(self) -> None:
        Sampling.__post_init__(self)
        if bool(self.prompt) == bool(self.prompts):
            raise ValueError(
                f"got {len(self.prompt)} --prompt and --prompts {self.prompts}; give one of the two"
            )


def main(args: GenerateArgs) -> None:
    """Make every sample that is not there yet. ValueError if one was made with other settings."""
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = args.dtype or ("float32" if device == "cpu" else "bfloat16")
    model = args.model or default_model()
    jam = VideoJAM.from_pretrained(model, getattr(torch, dtype))
    sampling = jam.resolve(
        Sampling(**{field.name: getattr(args, field.name) for field in fields(Sampling)})
    )
    common = {
        "model": str(args.model) if args.model else None,  # None: embedded, wherever its cache is
        "model_fingerprint": fingerprint(model),
        "base": str(args.base) if args.base else None,
        "base_fingerprint": fingerprint(args.base) if args.base else None,
        "dtype": dtype,
        "sampling": asdict(sampling),
    }
    prompts = read_prompts(args.prompts) if args.prompts else args.prompt
    samples = {
        sample_name(prompt, seed): {"prompt": prompt, "seed": seed, **common}
        for prompt in prompts
        for seed in args.seeds
    }
    todo = {name: s for name, s in samples.items() if not is_done(args.out, name, s)}
    pairs = [(sample["prompt"], sample["seed"]) for sample in todo.values()]
    _place(jam.pipe, device, args.offload)
    clips = jam.clips(pairs, sampling)
    bases = repeat(None)
    if args.base and todo:
        base = DiffusionPipeline.from_pretrained(args.base, dtype=getattr(torch, dtype))
        base = _place(base, device, args.offload)
        bases = base_videos(base, pairs, sampling, jam.info.fps)
    made_by = _made_by() | {"device": device, "fps": jam.info.fps}
    with Progress() as progress:
        task = progress.add_task("samples", total=len(samples), completed=len(samples) - len(todo))
        for (name, sample), clip, base_video in zip(todo.items(), clips, bases, strict=False):
            write_sample(
                args.out, name, clip, jam.info.fps, sample | made_by, base_video, args.flow
            )
            progress.advance(task)


def from_sidecar(sidecar: Path, out: Path) -> GenerateArgs:
    """The arguments that make the sample of a sidecar again, in another folder."""
    sample = json.loads(sidecar.read_text())
    return GenerateArgs(
        model=Path(sample["model"]) if sample["model"] else None,
        base=Path(sample["base"]) if sample["base"] else None,
        out=out,
        prompt=(sample["prompt"],),
        seeds=(sample["seed"],),
        dtype=sample["dtype"],
        device=sample["device"],
        **sample["sampling"],
    )


def _place(pipe: Any, device: str, offload: bool) -> Any:
    pipe.set_progress_bar_config(disable=True)
    if offload:
        pipe.enable_model_cpu_offload(device=device)
        return pipe
    return pipe.to(device)


def _made_by() -> dict[str, Any]:
    at = commit()
    return {
        "versions": versions(),
        "commit": at.hash if at else None,
        "dirty": at.dirty if at else True,
        "command": sys.argv,
    }
