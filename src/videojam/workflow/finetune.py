"""A model fine-tuned on a prepared dataset, with paired videos of it and its base on the way.

Data, training and sampling do not know each other; this file passes one to the other.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from videojam.joint.checkpoint import JointInfo, check_runs, load_base
from videojam.joint.find_family import family_of
from videojam.joint.image import Given
from videojam.joint.latents import latent_channels
from videojam.joint.widen import is_widened, narrow
from videojam.media.video import side_by_side, write_video
from videojam.records.object_store import Location
from videojam.sampling.generate import Sampling, VideoJAM, base_videos
from videojam.training.config import TrainConfig
from videojam.training.loop import Sample, experts, train
from videojam.training.parallel import is_sharded, processes
from videojam.workflow.datasets import (
    captions,
    check_controls,
    check_images,
    check_text,
    given_frames,
    joint_info,
    let_go,
    training_data,
    weights_of,
)


def finetune(
    data: Location | Sequence[Location],
    config: TrainConfig,
    model: str | None = None,
    num_workers: int = 2,
    sample_steps: int = 50,
) -> Path:
    """Fine-tune a model on a prepared dataset, or several; returns the exported model.

    data: their folders; of several, every step reads one, by config.data_weights. model: folder,
    adapter or hub id, default the one that the first was prepared with; a joint one is trained on.
    num_workers: threads that read batches ahead. sample_steps: sampling steps of the paired videos.
    Raises ValueError for a model that cannot be trained, or on these datasets.
    """
    folders = [*data] if isinstance(data, Sequence) else [data]
    if len(folders) > 1:  # said in the run's settings, so that a resumed one has as many
        config = replace(config, data_weights=weights_of(folders, config))
    info = joint_info(folders, model)
    light = config.mode == "lora" and config.precision == "bf16"
    types = {name: torch.bfloat16 for name in ("transformer", "transformer_2") if light}
    # float32 in the VAE is for pixels, and without paired videos there are none.
    pipe = load_base(info.base, types, None if config.sample_every else "stored")
    check_runs(type(pipe).__name__, family_of(pipe.transformer))
    family = family_of(pipe.transformer)
    check_text(folders, family)
    check_images(folders, pipe, family, config.objective.image_dropout)
    check_controls(folders, family, config.objective.control_dropout)
    sample = None
    if config.sample_every and len(experts(pipe)) > 1:
        raise ValueError(
            f"sample_every is {config.sample_every}, but {info.base} has two experts, which are "
            "trained one after the other: there is nothing to sample with before both are; set it "
            "to 0"
        )
    if config.sample_every and family.control_always:
        raise ValueError(
            f"sample_every is {config.sample_every}, but {type(pipe).__name__} edits a clip, and "
            "paired videos are made without one; set it to 0"
        )
    if config.sample_every and config.target == "joint":
        prompts = config.sample_prompts or captions(folders[0], 2)
        given = None
        if family.has_image:
            given = given_frames(folders[0], len(prompts), pipe.vae)
        sample = paired_videos(prompts, pipe, info, sample_steps, given)
    exported = train(config, pipe, training_data(folders, config, num_workers), info, sample)
    if processes().is_main_process:
        let_go(folders, config.out)
    return exported


def paired_videos(
    prompts: Sequence[str],
    pipe: Any,
    info: JointInfo,
    num_inference_steps: int,
    given: Sequence[Given] | None = None,
) -> Sample:
    """A function that writes base | joint | predicted motion for each prompt, one seed each.

    given: frames of theirs, of models that always have an image.

    Processes take turns with the prompts. Of a sharded model the base is left out: it would have to
    be whole on every process.
    """
    parts = {name: part for name, part in pipe.components.items() if name != "transformer"}
    dtype = pipe.transformer.dtype
    base: list[Any] = []  # loaded when first asked for: a second transformer in memory

    def sample(model: Any, folder: Path, step: int) -> None:
        sharded = is_sharded(model)
        if not base and not sharded:  # a second transformer on every process
            plain = load_base(info.base, {"transformer": dtype}, **parts)
            if is_widened(plain.transformer, latent_channels=latent_channels(plain.vae)):
                plain.register_modules(transformer=narrow(plain.transformer))
            base.append(plain.to(model.device))
        pipe.to(model.device)
        jam = VideoJAM(pipe, info)
        sampling = jam.resolve(Sampling(num_inference_steps=num_inference_steps))
        ranks = processes()
        for turn in range(0, len(prompts), ranks.num_processes):
            # All processes sample equally often, as a sharded model needs.
            index = min(turn + ranks.process_index, len(prompts) - 1)
            samples = [(prompts[index], index)]
            frames = dict[str, Any]()
            if given is not None:
                first, last = given[index % len(given)]
                frames = {"images": [first], "last": None if last is None else [last]}
            with torch.no_grad():
                (clip,) = jam.clips(samples, sampling, **frames)
                shown = [clip.video, clip.motion]
                if not sharded:
                    shown[:0] = base_videos(base[0], samples, sampling, info.fps, **frames)
            if index == turn + ranks.process_index:
                write_video(folder / f"prompt-{index}.mp4", side_by_side(*shown), info.fps)

    return sample
