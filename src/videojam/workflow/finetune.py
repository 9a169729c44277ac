"""A model fine-tuned on a prepared dataset, with paired videos of it and its base on the way.

Data, training and sampling do not know each other; this file passes one to the other.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videojam.data import dataset, loader
from videojam.data.prepare.prepare import samples_path
from videojam.data.run_folder import load_null_text, read_settings
from videojam.joint.checkpoint import JointInfo, check_runs, load_base
from videojam.joint.families import family_of
from videojam.joint.latents import latent_channels
from videojam.joint.text import text_as
from videojam.joint.widen import is_widened, narrow
from videojam.media.video import side_by_side, write_video
from videojam.records.object_store import Location
from videojam.sampling.generate import Sampling, VideoJAM, base_videos
from videojam.training.config import TrainConfig
from videojam.training.loop import Sample, TrainingData, experts, train
from videojam.training.parallel import is_sharded, processes, share
from videojam.training.step import MicroBatch


def finetune(
    folder: Location,
    config: TrainConfig,
    model: str | None = None,
    num_workers: int = 2,
    sample_steps: int = 50,
) -> Path:
    """Fine-tune a model on the prepared dataset in `folder`; returns the exported model.

    model: folder, adapter or hub id, default the one that the dataset was prepared with; a joint
    one is trained on. num_workers:
    threads that read batches ahead. sample_steps: sampling steps of the paired videos. Raises
    ValueError for a model that cannot be trained, or on this dataset.
    """
    info = joint_info(folder, model)
    light = config.mode == "lora" and config.precision == "bf16"
    types = {name: torch.bfloat16 for name in ("transformer", "transformer_2") if light}
    # float32 in the VAE is for pixels, and without paired videos there are none.
    pipe = load_base(info.base, types, None if config.sample_every else "stored")
    check_runs(type(pipe).__name__, family_of(pipe.transformer))
    _check_text(folder, pipe)
    sample = None
    if config.sample_every and len(experts(pipe)) > 1:
        raise ValueError(
            f"sample_every is {config.sample_every}, but {info.base} has two experts, which are "
            "trained one after the other: there is nothing to sample with before both are; set it "
            "to 0"
        )
    if config.sample_every and config.target == "joint":
        prompts = config.sample_prompts or _captions(folder, 2)
        sample = paired_videos(prompts, pipe, info, sample_steps)
    data = training_data(folder, config, num_workers)
    return train(config, pipe, data, info, sample)


def _check_text(folder: Location, pipe: Any) -> None:
    """ValueError for a dataset that was prepared with a model of another family."""
    inputs, family = {*load_null_text(folder)}, family_of(pipe.transformer)
    if inputs != {*family.text_inputs}:
        raise ValueError(
            f"the dataset in {folder} holds {', '.join(sorted(inputs))} of each caption, but "
            f"{family.transformer} takes {', '.join(family.text_inputs)}; prepare it again with "
            "this model"
        )


def _captions(folder: Location, count: int) -> tuple[str, ...]:
    """Captions of held-out samples, or of training samples where none are held out."""
    rows = rows_of(folder, "validation") or rows_of(folder, "train")
    keys = dataset.table(samples_path(folder), ("text_key",))["text_key"]
    return tuple(dataset.captions_of(samples_path(folder), keys.take(rows[:count]).to_pylist()))


def joint_info(folder: Location, model: str | None = None) -> JointInfo:
    """What the dataset was made with; a joint model keeps it."""
    settings = read_settings(folder)
    base = model or settings["model"]
    return JointInfo(
        sigma=settings["sigma"],
        background=settings["background"],
        estimator=settings["estimator"],
        fps=settings["fps"],
        height=settings["sizes"][0][0],
        width=settings["sizes"][0][1],
        num_frames=settings["num_frames"],
        base=base,
    )


def training_data(folder: Location, config: TrainConfig, num_workers: int = 2) -> TrainingData:
    """This process's batches, the held-out samples and the null text of a dataset."""
    ranks, samples = processes(), samples_path(folder)
    total = config.global_batch_size
    mine = share(total, ranks.process_index, ranks.num_processes)
    # The rows of this run, whatever is added to the dataset or taken out while it trains.
    held = dataset.hold(
        samples, f"run-{sha256(str(config.out.resolve()).encode()).hexdigest()[:16]}"
    )

    def batches(start: int) -> Iterator[MicroBatch]:
        read = loader.batches(
            samples,
            batch_size=total,
            seed=config.seed,
            start_step=start,
            rank=ranks.process_index,
            num_ranks=ranks.num_processes,
            num_workers=num_workers,
            held=held,
        )
        for step, batch in zip(itertools.count(start), read, strict=False):
            yield _micro(batch, [step * total + place for place in mine])

    def load(rows: list[int]) -> MicroBatch:
        return _micro(loader.load_batch(samples, rows, held), rows)

    return TrainingData(
        batches=batches,
        held_out=[functools.partial(load, [row]) for row in rows_of(folder, "validation", held)],
        null_text=text_as(load_null_text(folder), torch.float32),
    )


def rows_of(folder: Location, split: str, held: str | None = None) -> list[int]:
    """Row numbers of a split of a prepared dataset; empty if it has none."""
    splits = dataset.table(samples_path(folder), ("split",), held)["split"].to_numpy()
    return np.flatnonzero(splits == split).tolist()


def _micro(batch: loader.Batch, numbers: list[int]) -> MicroBatch:
    return MicroBatch(batch.x, batch.d, batch.text, numbers)


def paired_videos(
    prompts: Sequence[str], pipe: Any, info: JointInfo, num_inference_steps: int
) -> Sample:
    """A function that writes base | joint | predicted motion for each prompt, one seed each.

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
            with torch.no_grad():
                (clip,) = jam.clips(samples, sampling)
                shown = [clip.video, clip.motion]
                if not sharded:
                    shown[:0] = base_videos(base[0], samples, sampling, info.fps)
            if index == turn + ranks.process_index:
                write_video(folder / f"prompt-{index}.mp4", side_by_side(*shown), info.fps)

    return sample
