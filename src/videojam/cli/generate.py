"""videojam generate: prompts and seeds -> videos, predicted motion, and how each was made.

What is written is described in samples.py. The same command again makes only what is missing.
"""

import hashlib
import json
import sys
from dataclasses import asdict, dataclass, fields, replace
from itertools import repeat
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from videojam.cli.default_model import default_model
from videojam.guidance.branches import Number
from videojam.guidance.presets import PRESETS, Preset, preset_settings
from videojam.joint.checkpoint import load_base
from videojam.joint.control import Control, check_takes_control
from videojam.joint.find_family import family_of
from videojam.joint.sizes import Size
from videojam.joint.source import same_component
from videojam.motion.trajectory import read_trajectory, trajectory_flow
from videojam.records.provenance import commit, versions
from videojam.sampling.at_once import faster_at_once
from videojam.sampling.caches import enable_cache
from videojam.sampling.editing import Edit, first_step
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.given_motion import estimator_of
from videojam.sampling.images import read_image
from videojam.sampling.partial_sampling import remaining
from videojam.sampling.pipeline import Sampling
from videojam.sampling.samples import fingerprint, is_done, read_prompts, sample_name, write_sample
from videojam.sampling.texts import Texts, cut_prompts
from videojam.workflow.control_clip import control_clip
from videojam.workflow.motion_from import moving_clip

Dtype = Literal["float32", "bfloat16", "float16"]
_MOVED = ("motion_from", "trajectory", "edit")  # files that say how clips move
_PRESET_SETS = {name for row in PRESETS.values() for name in row}
_FILES = ("image", "last_image", "control", "control_mask", *_MOVED)  # that decide what a sample is


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerateArgs(Sampling):
    """Sample videos and their predicted motion from a joint model."""

    out: Path
    "Where to write."
    preset: Preset = "paper"
    "Fewer passes than the paper's way: what the options below are that are not given."
    text_every: int | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    "The text term is computed at every such step of its window. Default: 1, or the preset's."
    motion_every: int | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    "The same of the motion term. Default: 1, or the preset's."
    text_stop: Number | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    "Share of the sampling steps after which text guidance stops. Default: 1, or the preset's."
    motion_stop: Number | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    "Share of the steps after which motion guidance stops. Default: 0.5, or the preset's."
    model: str | None = None
    "Folder, adapter or hub id of a joint model; default the embedded small model."
    revision: str | None = None
    "Of a model on the hub: branch, tag or commit."
    variant: str | None = None
    "Of the model's files, such as fp16; found by itself where there is one alone."
    base_model: str | None = None
    "Where an adapter's own base is, if not where the adapter says."
    prompt: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    "A prompt; give it again for more."
    prompts: Path | None = None
    "File of prompts: .txt, one a line, or .jsonl, objects with a key `prompt`."
    image: Path | None = None
    "Image that the clips begin with; their size follows its shape unless it is given."
    last_image: Path | None = None
    "Image that they end with, of models that take one beside the first; cut to their size."
    control: Path | None = None
    """Clip that the clips follow, of models that take one (WanVACE): depth, poses, edges, gray, or
    a clip to be filled in; or the one that they are edits of (Lucy-Edit)."""
    control_mask: Path | None = None
    """Its mask, a clip or an image: black where the control is kept, white where the clips are made
    anew after it, freely where it is gray."""
    motion_from: Path | None = None
    "Video whose motion the clips have, in place of one that is sampled."
    trajectory: Path | None = None
    "Motion that the clips have, drawn: moves of the camera and dragged discs, in JSON (guide)."
    edit: Path | None = None
    "Video to make again with the prompt: its motion is kept, its appearance changed."
    edit_strength: float = 0.6
    "How much an edit changes: the share of the steps that is made anew."
    seeds: tuple[int, ...] = (0,)
    "Every prompt is sampled with every seed."
    repeat: Path | None = None
    "Sidecar of a sample to make again, NAME.json; its settings are taken."
    base: str | None = None
    "Folder or hub id of the base model, to sample it side by side from the same noise."
    cache: str | None = None
    """A cache of diffusers: first_block, first_block=THRESHOLD, mag=FILE of `videojam calibrate`,
    or taylor=STEPS (TaylorSeer)."""
    measure_branches: bool = False
    """Before sampling, measure a step with guidance's predictions in one batch and one after the
    other, and take the faster that fits into memory (about 12 passes)."""
    flow: bool = False
    "Also write the predicted flow, NAME.flow.safetensors, float16 pixels (F-1, 2, H, W)."
    pipeline: tuple[str, ...] = ()  # pyright: ignore[reportIncompatibleVariableOverride]
    "Further arguments of the pipeline, NAME=VALUE, e.g. max_sequence_length=256."
    device: str | None = None
    "Default: cuda where there is one, else cpu."
    dtype: Dtype | None = None
    "Of the weights but the VAE's. Default: as stored on an accelerator, float32 on the CPU."
    vae_dtype: Dtype = "float32"
    "Of the VAE; bfloat16 loses slow motion."
    vae_tiling: bool = False
    "Decode in tiles: less memory."
    offload: Literal["none", "model", "sequential", "group"] = "none"
    "What is kept off the accelerator: parts, layers, or groups of layers, while they do not run."

    def __post_init__(self) -> None:
        object.__setattr__(self, "pipeline", _arguments(self.pipeline))
        preset, paper = preset_settings(self.preset), Sampling()
        for name in _PRESET_SETS:
            if getattr(self, name) is None:
                object.__setattr__(self, name, preset.get(name, getattr(paper, name)))
        Sampling.__post_init__(self)
        moved = [name for name in _MOVED if getattr(self, name) is not None]
        if len(moved) > 1:
            raise ValueError(f"{' and '.join(moved)} both say how the clips move; give one")
        if self.edit is None and self.edit_strength != 0.6:
            raise ValueError("edit_strength is of an edit, and there is none; give --edit CLIP")
        if self.control_mask is not None and self.control is None:
            raise ValueError("control_mask is of a control, and there is none; give --control CLIP")
        first_step(self.edit_strength, self.num_inference_steps)
        if self.repeat is not None:
            if self.prompt or self.prompts:
                raise ValueError("--repeat makes the sample of its sidecar; give no prompts")
        elif bool(self.prompt) == bool(self.prompts):
            raise ValueError(
                f"got {len(self.prompt)} --prompt and --prompts {self.prompts}; give one of the two"
            )


def _arguments(given: Any) -> dict[str, Any]:
    """NAME=VALUE, with values as JSON where they are such."""
    if isinstance(given, dict):  # read before
        return given
    found: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise ValueError(f"--pipeline got {one!r}, expected NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def main(args: GenerateArgs) -> None:
    """Make every sample that is not there yet. ValueError if one was made with other settings."""
    if args.repeat is not None:
        args = from_sidecar(args.repeat, args.out)
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = args.dtype or ("float32" if device == "cpu" else None)
    model = args.model or str(default_model())
    jam = VideoJAM.from_pretrained(
        model,
        dtype and getattr(torch, dtype),
        vae_dtype=getattr(torch, args.vae_dtype),
        **_named(revision=args.revision, variant=args.variant, base=args.base_model),
    )
    given = Sampling(**{field.name: getattr(args, field.name) for field in fields(Sampling)})
    image = None if args.image is None else read_image(args.image)
    sampling = jam.resolve(given, image)
    motion, edit = _motion(args, jam, Size(**sampling.size))
    control = _control(args, jam, Size(**sampling.size))
    common = {
        "model": args.model,  # None: embedded, wherever its cache is
        "model_fingerprint": fingerprint(model),
        "base": args.base,
        "base_fingerprint": fingerprint(args.base) if args.base else None,
        "dtype": dtype,
        "cache": args.cache,
        "sampling": asdict(sampling),
        **({} if edit is None else {"edit_strength": args.edit_strength}),
        **_digests({name: getattr(args, name) for name in _FILES}),
    }
    prompts = read_prompts(args.prompts) if args.prompts else list(args.prompt)
    samples = {
        sample_name(prompt, seed): {"prompt": prompt, "seed": seed, **common}
        for prompt in prompts
        for seed in args.seeds
    }
    todo = {name: s for name, s in samples.items() if not is_done(args.out, name, s)}
    pairs = [(sample["prompt"], sample["seed"]) for sample in todo.values()]
    _say_what_is_cut(jam.pipe, prompts, sampling)
    steps = sampling.num_inference_steps
    if edit is None:
        passes = sampling.passes(steps)
    else:
        left_out = first_step(edit.strength, steps)
        passes = remaining(sampling, left_out).passes(steps - left_out)
    Console(stderr=True).print(_cost(sampling, passes), soft_wrap=True)
    if args.cache is not None:
        enable_cache(jam.pipe, args.cache, sampling.num_inference_steps)
    base = _load_base(args, jam, dtype) if args.base and todo else None
    if control is not None and base is not None:
        check_takes_control(family_of(base.transformer))
    for pipe in filter(None, (jam.pipe, base)):
        _place(pipe, device, args)
    if args.measure_branches and todo:
        ends = None if args.last_image is None else [read_image(args.last_image)]
        begins = None if image is None else [image]
        at_once = faster_at_once(jam, sampling, pairs[0][0], begins, ends, control)
        sampling = replace(sampling, branches_at_once=at_once)
        way = "in one batch" if at_once else "one after the other"
        Console(stderr=True).print(f"guidance's predictions are faster {way}")
        todo = {n: one | {"sampling": asdict(sampling)} for n, one in todo.items()}
    made_by = _made_by() | {
        "device": device, "fps": jam.info.fps, "vae_dtype": args.vae_dtype,
        "revision": args.revision, "variant": args.variant, "base_model": args.base_model,
        "flow": args.flow, "offload": args.offload, "vae_tiling": args.vae_tiling,
        "passes": passes,
        **{name: getattr(args, name) and str(getattr(args, name)) for name in _FILES},
    }  # fmt: skip
    with _progress() as progress:
        batches = -(-len(todo) // sampling.batch_size)
        steps = batches * steps * (1 if base is None else 2)
        task = progress.add_task("denoising steps", total=steps)
        texts = Texts()

        def step() -> None:
            progress.advance(task)

        images = None if image is None else [image] * len(pairs)
        last = None if args.last_image is None else [read_image(args.last_image)] * len(pairs)
        controls = None if control is None else [control] * len(pairs)
        clips = jam.clips(pairs, sampling, step, texts, images, motion, last, edit, controls)
        bases: Any = repeat(None)
        if base is not None:
            bases = base_videos(
                base, pairs, sampling, jam.info.fps, step, texts, images, last, controls
            )
        for done, ((name, sample), clip, base_video) in enumerate(
            zip(todo.items(), clips, bases, strict=False), 1
        ):
            write_sample(
                args.out, name, clip, jam.info.fps, sample | made_by, base_video, args.flow
            )
            progress.update(task, description=f"sample {done} of {len(todo)}, denoising steps")


def _motion(args: GenerateArgs, jam: VideoJAM, size: Size) -> tuple[Tensor | None, Edit | None]:
    """The flow that clips are to have, and what of them is there already."""
    if args.trajectory is not None:
        drawn = read_trajectory(args.trajectory)
        return trajectory_flow(drawn, *size, jam.info.sigma), None
    path = args.edit or args.motion_from
    if path is None:
        return None, None
    clip = moving_clip(path, size, jam.info.fps, estimator_of(jam.info))
    return clip.motion, None if args.edit is None else Edit(clip.video, args.edit_strength)


def _control(args: GenerateArgs, jam: VideoJAM, size: Size) -> Control | None:
    """What the clips are to follow."""
    if args.control is None:
        return None
    check_takes_control(family_of(jam.pipe.transformer))
    return control_clip(args.control, args.control_mask, size, jam.info.fps)


def _digests(files: dict[str, Path | None]) -> dict[str, str | None]:
    """What is in the files that decide a sample, whatever they are called."""
    return {
        f"{name}_sha256": path and hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files.items()
    }


def _named(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())


def _say_what_is_cut(pipe: Any, prompts: list[str], sampling: Sampling) -> None:
    cut = cut_prompts(pipe, prompts, sampling.pipeline.get("max_sequence_length"))
    if cut:
        console = Console(stderr=True)
        console.print(f"{len(cut)} of {len(prompts)} prompts are longer than the model reads:")
        for prompt, tokens in cut.items():
            console.print(f"  the last {tokens} tokens of {prompt[:60]!r}... are left out")


def _cost(sampling: Sampling, passes: int) -> str:
    most = "at most " if sampling.settled_cosine is not None else ""
    share = passes / (2 * sampling.num_inference_steps)
    return (
        f"{most}{passes} passes of the transformer a clip, {share:.2f} of those of plain "
        "classifier-free guidance"
    )


def _load_base(args: GenerateArgs, jam: VideoJAM, dtype: str | None) -> Any:
    """The base's pipeline, with the joint model's text encoder and VAE where they are the same.

    Offloading puts hooks on a pipeline's parts, so with it the two have their own.
    """
    base, shared = str(args.base), dict[str, Any]()
    if args.offload == "none":
        there = jam.pipe.config["_name_or_path"]
        shared = {
            name: part
            for name, part in jam.pipe.components.items()
            if name.startswith(("vae", "text_encoder", "tokenizer"))
            and part is not None
            and same_component(there, base, name)
        }
    return load_base(
        base,
        getattr(torch, dtype) if dtype else None,
        getattr(torch, args.vae_dtype),
        **shared,
    )


def from_sidecar(sidecar: Path, out: Path) -> GenerateArgs:
    """The arguments that make the sample of a sidecar again, in another folder."""
    try:
        sample = json.loads(sidecar.read_text("utf-8"))
        names = ("device", "dtype", "vae_dtype", "revision", "variant", "base_model", "flow",
                 "offload", "vae_tiling", "model", "base", "cache", "edit_strength")  # fmt: skip
        further = [
            f"{name}={json.dumps(value)}"
            for name, value in sample["sampling"].get("pipeline", {}).items()
        ]
        given = {name: sample[name] for name in names if sample.get(name) is not None}
        given |= {name: Path(sample[name]) for name in _FILES if sample.get(name)}
        return GenerateArgs(
            out=out,
            prompt=(sample["prompt"],),
            seeds=(sample["seed"],),
            **given,
            **sample["sampling"] | {"pipeline": tuple(further)},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{sidecar} is no sidecar of a sample that `videojam generate` made ({error!r})"
        ) from error


def _place(pipe: Any, device: str, args: GenerateArgs) -> None:
    pipe.set_progress_bar_config(disable=True)
    if args.vae_tiling:
        pipe.vae.enable_tiling()
    match args.offload:
        case "model":
            pipe.enable_model_cpu_offload(device=device)
        case "sequential":
            pipe.enable_sequential_cpu_offload(device=device)
        case "group":
            pipe.enable_group_offload(onload_device=torch.device(device), offload_type="leaf_level")
        case "none":
            pipe.to(device)


def _made_by() -> dict[str, Any]:
    at = commit()
    return {
        "versions": versions(),
        "commit": at.hash if at else None,
        "dirty": at.dirty if at else True,
        "command": sys.argv,
    }
