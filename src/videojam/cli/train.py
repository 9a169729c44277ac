"""videojam train: fine-tune a model on a prepared dataset."""

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from videojam.data import dataset, loader
from videojam.data.run_folder import load_null_text, read_settings
from videojam.data.prepare import samples_path
from videojam.generate import Sampling, VideoJAM, base_videos
from videojam.joint.checkpoint import JointInfo
from videojam.joint.families import ModelFamily, family_of
from videojam.training.config import TrainConfig
from videojam.training.loop import Sample, Stopped, TrainingData, train
from videojam.training.step import MicroBatch
from videojam.video import side_by_side, write_video


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainArgs:
    """Fine-tune a model with the joint objective. The same command on the same folder resumes.

        videojam train --data runs/data --out runs/jam --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers
    """

    data: Path
    "Dataset made by `videojam prepare`."
    train: Annotated[TrainConfig, tyro.conf.arg(name="")]
    model: str | None = None
    "Base model folder or hub id; default the one the dataset was prepared with."
    num_workers: int = 2
    "Threads that read batches ahead."
    sample_steps: int = 50
    "Sampling steps of the paired videos."


def main(args: TrainArgs) -> None:
    """Load the base and the dataset, train, export."""
    import torch
    from diffusers import DiffusionPipeline

    info = joint_info(args.data, args.model)
    dtype = (
        torch.bfloat16
        if args.train.mode == "lora" and args.train.precision == "bf16"
        else torch.float32
    )
    pipe: Any = DiffusionPipeline.from_pretrained(info.base, dtype=dtype)
    if getattr(pipe, "transformer_2", None) is not None:
        raise ValueError(
            f"{info.base} has two transformers; training both experts of Wan 2.2 A14B is not "
            "supported yet, widening and sampling them is"
        )
    family = family_of(pipe.transformer)
    data = training_data(args.data, args.train, family, args.num_workers)
    try:
        train(args.train, pipe, family, data, info, _sample_function(args, pipe, info))
    except Stopped as stopped:
        print(stopped)
        sys.exit(143)


def _sample_function(args: TrainArgs, pipe: Any, info: JointInfo) -> Sample | None:
    if not args.train.sample_every or args.train.target != "joint":
        return None
    prompts = args.train.sample_prompts
    if not prompts:
        rows = rows_of(args.data, "validation") or rows_of(args.data, "train")
        captions = dataset.columns(samples_path(args.data), ("caption",))
        prompts = tuple(captions[row]["caption"] for row in rows[:2])
    return paired_videos(prompts, pipe, info, args.sample_steps)


def joint_info(folder: Path, model: str | None = None) -> JointInfo:
    """What the dataset was made with. ValueError if it was made with another model."""
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


def training_data(
    folder: Path, config: TrainConfig, family: ModelFamily, num_workers: int = 2
) -> TrainingData:
    """This process's batches, the held-out samples and the null text of a dataset."""
    from accelerate import PartialState

    ranks, samples = PartialState(), samples_path(folder)
    size, local = config.batch_size, config.batch_size * config.gradient_accumulation
    total = local * ranks.num_processes

    def batches(start: int) -> Iterator[list[MicroBatch]]:
        read = loader.batches(
            samples,
            batch_size=total,
            seed=config.seed,
            start_step=start,
            rank=ranks.process_index,
            num_ranks=ranks.num_processes,
            num_workers=num_workers,
        )
        for step, batch in zip(itertools.count(start), read, strict=False):
            first = step * total + ranks.process_index * local
            whole = _micro(batch, list(range(first, first + local)))
            yield [
                MicroBatch(*(field[at : at + size] for field in whole))
                for at in range(0, local, size)
            ]

    def validation() -> Iterator[MicroBatch]:
        for row in rows_of(folder, "validation"):
            yield _micro(loader.load_batch(samples, [row]), [row])

    return TrainingData(
        batches=batches, validation=validation, null_text=load_null_text(folder).float()
    )


def rows_of(folder: Path, split: str) -> list[int]:
    """Row numbers of a split of a prepared dataset; empty if it has none."""
    splits = dataset.columns(samples_path(folder), ("split",))
    return [index for index, row in enumerate(splits) if row["split"] == split]


def _micro(batch: loader.Batch, numbers: list[int]) -> MicroBatch:
    text = [row[:length] for row, length in zip(batch.text, batch.text_lengths, strict=True)]
    return MicroBatch(batch.x, batch.d, text, numbers)


def paired_videos(
    prompts: Sequence[str], pipe: Any, info: JointInfo, num_inference_steps: int
) -> Sample:
    """A function that writes base | joint | predicted motion for each prompt, one seed each."""
    import torch
    from diffusers import DiffusionPipeline

    parts = {name: part for name, part in pipe.components.items() if name != "transformer"}
    base: list[Any] = []  # loaded when first asked for: a second transformer in memory

    def sample(model: Any, folder: Path, step: int) -> None:
        if not base:
            dtype = next(model.blocks.parameters()).dtype
            base.append(
                DiffusionPipeline.from_pretrained(info.base, **parts, dtype=dtype).to(
                    model.device
                )
            )
        pipe.to(model.device)
        jam = VideoJAM(pipe, info)
        sampling = jam.resolve(Sampling(num_inference_steps=num_inference_steps))
        samples = [(prompt, seed) for seed, prompt in enumerate(prompts)]
        with torch.no_grad():
            pairs = zip(
                base_videos(base[0], samples, sampling),
                jam.clips(samples, sampling),
                strict=True,
            )
            for index, (video, clip) in enumerate(pairs):
                write_video(
                    folder / f"prompt-{index}.mp4",
                    side_by_side(video, clip.video, clip.motion),
                    info.fps,
                )

    return sample
