"""Clips of a model, one file each: what was killed goes on, and processes share the work.

A clip is a function of its prompt, with what is given beside it, and its seed; prompt and seed are
its file name. Process r of n makes every n-th of the missing ones; nobody waits for anybody, and
the files are the same for any n. With batch_size 1 they are so to the bit.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from videojam.evaluation.clips.compared import Compared
from videojam.evaluation.clips.prompts import FILES
from videojam.joint.checkpoint import read_info
from videojam.joint.sizes import Size
from videojam.media.video import write_video
from videojam.motion.color import brighter
from videojam.records.provenance import commit, versions
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling
from videojam.sampling.samples import is_done, sample_name, write_sidecar
from videojam.sampling.texts import Texts
from videojam.workflow.control_clip import control_clip


class Sample(NamedTuple):
    """One clip to be made."""

    prompt: str
    seed: int
    files: dict[str, Path]
    "What it begins and ends with and what it follows (prompts.py)."

    @property
    def decided_by(self) -> dict[str, Any]:
        """Of its sidecar: files count by what is in them."""
        digests = {
            f"{name}_sha256": hashlib.sha256(self.files[name].read_bytes()).hexdigest()
            for name in FILES
            if name in self.files
        }
        return {"prompt": self.prompt, "seed": self.seed, **digests}


def clip_path(folder: Path, sample: Sample) -> Path:
    return folder / f"{sample_name(sample.prompt, sample.seed)}.mp4"


def missing_samples(
    folder: Path, samples: Sequence[Sample], made_from: dict[str, Any]
) -> list[Sample]:
    """Those that are not there whole. ValueError for one that was made from something else."""
    return [
        sample
        for sample in samples
        if not is_done(folder, clip_path(folder, sample).stem, sample.decided_by | made_from)
    ]


def generate_samples(
    system: Compared,
    sampling: Sampling,
    samples: Sequence[Sample],
    folder: Path,
    *,
    dtype: str,
    device: str,
    fps: float,
    offload: bool = False,
) -> Iterator[Sample]:
    """Make these samples, and give each once its file is whole.

    sampling: with sizes set. fps: of a plain model's clips; a joint one knows its own. A joint
    model also leaves NAME.motion.mp4, its predicted motion.
    """
    if not samples:
        return
    made_from = system.made_from(sampling, dtype)
    at = commit()
    made_by = {"versions": versions(), "commit": at and at.hash, "device": device}
    texts = Texts()
    if system.kind == "joint":
        jam = VideoJAM.from_pretrained(system.model, getattr(torch, dtype))
        _place(jam.pipe, device, offload)
        fps = jam.info.fps
        background = "white" if jam.info.background == "white" else "black"
        made = _make(partial(jam.clips, sampling=sampling, texts=texts), samples, sampling, fps)
        clips = ((clip.video, brighter(clip.motion, background)) for clip in made)
    else:
        pipe = _load_plain(system, dtype)
        _place(pipe, device, offload)
        make = partial(base_videos, pipe, sampling=sampling, fps=fps, texts=texts)
        clips = ((video, None) for video in _make(make, samples, sampling, fps))
    for sample, (video, motion) in zip(samples, clips, strict=True):
        path = clip_path(folder, sample)
        write_video(path, video, fps)
        if motion is not None:
            write_video(path.with_suffix(".motion.mp4"), motion, fps)
        write_sidecar(folder, path.stem, {**sample.decided_by, **made_from, "fps": fps, **made_by})
        yield sample


def _make(
    make: Callable[..., Iterator[Any]], samples: Sequence[Sample], sampling: Sampling, fps: float
) -> Iterator[Any]:
    """All in batches, or one at a time where they are given files: controls are large."""
    if not any(sample.files for sample in samples):
        yield from make([(sample.prompt, sample.seed) for sample in samples])
        return
    size = Size(**sampling.size)
    for sample in samples:
        given, files = {}, sample.files
        for name, argument in (("image", "images"), ("last_image", "last")):
            if name in files:
                given[argument] = [files[name]]
        if "control" in files:
            mask = files.get("control_mask")
            given["controls"] = [control_clip(files["control"], mask, size, fps)]
        yield from make([(sample.prompt, sample.seed)], **given)


def with_size(system: Compared, sampling: Sampling) -> Sampling:
    """The sampling with the model's own training size for what is not set.

    Raises ValueError for a plain model whose size is not set: it does not say its own.
    """
    if system.kind == "joint" and system.model.is_dir():
        info = read_info(system.model)
        size = {name: getattr(info, name) for name in sampling.size}
        own = {name: value for name, value in sampling.size.items() if value is not None}
        return replace(sampling, **(size | own))
    missing = [name for name, value in sampling.size.items() if value is None]
    if missing:
        raise ValueError(
            f"the model of {system.name} does not say its {', '.join(missing)}; give --num-frames, "
            "--height and --width, or compare it with a VideoJAM model, which knows them"
        )
    return sampling


def model_fps(system: Compared) -> float | None:
    """Frames a second of the clips that a model makes; None where nothing says it."""
    if system.fps is not None:
        return system.fps
    if system.kind == "joint" and system.model.is_dir():
        return read_info(system.model).fps
    return None


def _load_plain(system: Compared, dtype: str) -> Any:
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(system.model, dtype=getattr(torch, dtype))


def _place(pipe: Any, device: str, offload: bool) -> None:
    pipe.set_progress_bar_config(disable=True)
    if offload:
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.to(device)
