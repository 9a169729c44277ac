"""Prepared datasets as a training reads them: one, or several with weights."""

import functools
import itertools
import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from videojam.data import dataset, loader
from videojam.data.mixture import steps_before, which_dataset
from videojam.data.prepare.prepare import samples_path
from videojam.data.run_folder import load_null_text, read_settings
from videojam.joint.family import ModelFamily
from videojam.joint.image import Given, image_kind
from videojam.joint.info import JointInfo
from videojam.joint.latents import decode_video
from videojam.joint.text import text_as
from videojam.media.video import to_uint8
from videojam.records.atomic import write_text
from videojam.records.object_store import Location
from videojam.training.config import TrainConfig
from videojam.training.loop import TrainingData
from videojam.training.parallel import readers, share
from videojam.training.step import MicroBatch

_READ = "data.json"  # in the folder of a finished run: a digest of each dataset
_SAME = ("sigma", "background", "estimator", "fps")  # what a model takes motion to mean


def joint_info(folders: Sequence[Location], model: str | None = None) -> JointInfo:
    """What the datasets were made with; a joint model keeps it. The first one's size.

    Raises ValueError for datasets whose motion means different things, and, unless a model is
    named, that were prepared with different ones.
    """
    settings, *others = [read_settings(folder) for folder in folders]
    for folder, other in zip(folders[1:], others, strict=True):
        for name in (*_SAME, *(() if model else ("model",))):
            if other[name] != settings[name]:
                raise ValueError(
                    f"{folders[0]} was prepared with {name} {settings[name]!r}, {folder} with "
                    f"{other[name]!r}; a model needs one, so prepare one of them again"
                )
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


def check_text(folders: Sequence[Location], family: ModelFamily) -> None:
    """ValueError for a dataset that was prepared with a model of another family."""
    for folder in folders:
        inputs = {*load_null_text(folder)}
        if inputs != {*family.text_inputs}:
            raise ValueError(
                f"the dataset in {folder} holds {', '.join(sorted(inputs))} of each caption, but "
                f"{family.transformer} takes {', '.join(family.text_inputs)}; prepare it again "
                "with this model"
            )


def check_images(
    folders: Sequence[Location], pipe: Any, family: ModelFamily, dropout: float | None
) -> None:
    """ValueError for a dataset without the images that a model starts from, or an idle option."""
    kind = image_kind(pipe, family)
    if dropout is not None and not kind:
        raise ValueError(
            f"objective.image_dropout is {dropout}, but this {family.transformer} takes no image; "
            "leave it out"
        )
    if dropout and family.has_image and kind == "blended":
        raise ValueError(
            f"objective.image_dropout is {dropout}, but the first latent frame of this "
            f"{family.transformer} always is an image's; leave it out"
        )
    for folder in folders if not family.has_image else ():
        controls = bool(read_settings(folder).get("controls"))
        if dataset.has_images(samples_path(folder)) and not controls:
            raise ValueError(
                f"the dataset in {folder} holds images, which this {family.transformer} does not "
                "start from; prepare it with this model"
            )
    for folder in folders if family.has_image else ():
        if not dataset.has_images(samples_path(folder)):
            raise ValueError(
                f"the dataset in {folder} holds no images, which this {family.transformer} starts "
                "from; prepare it with this model"
            )
        if bool(read_settings(folder).get("last_frame")) and not family.last_image:
            raise ValueError(
                f"the dataset in {folder} holds last frames too, which this {family.transformer} "
                "does not take; prepare it with this model, without --last-frame"
            )
        if family.last_image == "must" and not read_settings(folder).get("last_frame"):
            raise ValueError(
                f"the dataset in {folder} holds first frames alone, and this {family.transformer} "
                "is given the last one too; prepare it with this model and --last-frame"
            )


def check_controls(folders: Sequence[Location], family: ModelFamily, dropout: float | None) -> None:
    """ValueError for control clips that a model does not take, or an idle option."""
    with_controls = [bool(read_settings(folder).get("controls")) for folder in folders]
    if any(with_controls) and not family.control_inputs:
        raise ValueError(
            f"the dataset in {folders[with_controls.index(True)]} holds control clips, which this "
            f"{family.transformer} does not take; prepare it with this model, without --controls"
        )
    if family.control_always and not all(with_controls):
        raise ValueError(
            f"the dataset in {folders[with_controls.index(False)]} holds no control clips, and "
            f"{' or '.join(family.pipelines)} edits one; prepare it with this model and --controls"
        )
    if family.control_always and dropout:
        raise ValueError(
            f"objective.control_dropout is {dropout}, but {' or '.join(family.pipelines)} is "
            "always given a clip to edit; leave it out"
        )
    if dropout is not None and not any(with_controls):
        raise ValueError(
            f"objective.control_dropout is {dropout}, but no dataset holds control clips (videojam "
            "prepare --controls); leave it out"
        )


def captions(folder: Location, count: int) -> tuple[str, ...]:
    """Captions of held-out samples, or of training samples where none are held out."""
    rows = rows_of(folder, "validation") or rows_of(folder, "train")
    keys = dataset.table(samples_path(folder), ("text_key",))["text_key"]
    return tuple(dataset.captions_of(samples_path(folder), keys.take(rows[:count]).to_pylist()))


def given_frames(folder: Location, count: int, vae: Any) -> list[Given]:
    """Frames of the samples whose captions these are, decoded from their latents.

    The first, and the last where the samples are given it.
    """
    rows = (rows_of(folder, "validation") or rows_of(folder, "train"))[:count]
    to_the_last = bool(read_settings(folder).get("last_frame"))
    found = []
    for row in rows:
        x = loader.load_batch(samples_path(folder), [row]).x
        video = decode_video(vae, x if to_the_last else x[:, :, :1])
        first, last = [Image.fromarray(one) for one in to_uint8(video)[0, [0, -1]].numpy()]
        found.append(Given(first, last if to_the_last else None))
    return found


def weights_of(folders: Sequence[Location], config: TrainConfig) -> tuple[float, ...]:
    """The weight of each dataset. ValueError for another number of them, or for a single one."""
    if len(folders) == 1 and config.data_weights:
        raise ValueError("data_weights would have no effect: there is one dataset; leave it out")
    weights = config.data_weights or (1.0,) * len(folders)
    if len(weights) != len(folders):
        raise ValueError(
            f"data_weights has {len(weights)} weights for {len(folders)} datasets; give one each"
        )
    return weights


def training_data(
    folders: Location | Sequence[Location], config: TrainConfig, num_workers: int = 2
) -> TrainingData:
    """This process's batches, the held-out samples and the null text of the datasets.

    A batch is of one dataset, as its samples have one shape.
    """
    reader, num_readers = readers(config)
    folders = folders if isinstance(folders, Sequence) else [folders]
    paths, weights = [samples_path(folder) for folder in folders], weights_of(folders, config)
    total = config.global_batch_size
    mine = share(total, reader, num_readers)
    # The rows of this run, whatever is added to a dataset or taken out while it trains.
    helds = [dataset.hold(path, holder(config.out)) for path in paths]
    _check_read_before(folders, config.out, helds)

    def batches(start: int) -> Iterator[MicroBatch]:
        before = steps_before(start, weights, config.seed)
        streams = [
            loader.batches(
                path,
                batch_size=total,
                seed=config.seed,
                start_step=int(done),
                rank=reader,
                num_ranks=num_readers,
                num_workers=num_workers,
                held=held,
            )
            for path, held, done in zip(paths, helds, before, strict=True)
        ]
        for step in itertools.count(start):
            batch = next(streams[which_dataset(step, weights, config.seed)])
            yield _micro(batch, [step * total + place for place in mine])

    def load(number: int, row: int, place: int) -> MicroBatch:
        return _micro(loader.load_batch(paths[number], [row], helds[number]), [place])

    held_out = [
        (number, row)
        for number, folder in enumerate(folders)
        for row in rows_of(folder, "validation", helds[number])
    ]
    return TrainingData(
        batches=batches,
        held_out=[
            functools.partial(load, number, row, place)
            for place, (number, row) in enumerate(held_out)
        ],
        null_text=text_as(load_null_text(folders[0]), torch.float32),
    )


def let_go(folders: Sequence[Location], out: Path) -> None:
    """What a finished run has read may be cleaned up; the run's folder keeps what it was."""
    read: dict[str, str] = {}
    for folder in folders:
        path = samples_path(folder)
        if not dataset.is_read_only(path):
            read[str(folder)] = _digest(path, holder(out))
            dataset.release(path, holder(out))
    write_text(out / _READ, json.dumps(read, indent=2) + "\n")


def holder(out: Path) -> str:
    """Of a run in this folder, the name under which a run holds versions of datasets."""
    return f"run-{sha256(str(out.resolve()).encode()).hexdigest()[:16]}"


def _check_read_before(folders: Sequence[Location], out: Path, helds: list[str | None]) -> None:
    """ValueError if a run that was finished would go on with other rows; it holds none then."""
    if not (out / _READ).is_file():
        return
    read = json.loads((out / _READ).read_text())
    for folder, held in zip(folders, helds, strict=True):
        if held is None or read.get(str(folder), "") == _digest(samples_path(folder), held):
            continue
        for one in folders:
            dataset.release(samples_path(one), held)
        raise ValueError(
            f"the run in {out} is finished, and the samples in {folder} are others since; to train "
            "on with these, give a new --out and --start-from one of the run's checkpoints"
        )


def _digest(path: Location, held: str) -> str:
    """Of the samples in the order in which they are trained on."""
    rows = dataset.table(path, ("key", "split", "checksum"), held)
    rows = rows.take(dataset.row_order(path, held))
    return sha256(repr(rows.to_pydict()).encode()).hexdigest()


def rows_of(folder: Location, split: str, held: str | None = None) -> list[int]:
    """Row numbers of a split of a prepared dataset, by video and time; empty if it has none."""
    splits = dataset.table(samples_path(folder), ("split",), held)["split"].to_numpy()
    order = dataset.row_order(samples_path(folder), held)
    return order[splits[order] == split].tolist()


def _micro(batch: loader.Batch, numbers: list[int]) -> MicroBatch:
    return MicroBatch(batch.x, batch.d, batch.text, numbers, batch.images)
