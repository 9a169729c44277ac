"""Short fine-tunings of the base that differ in one thing: what the motion half holds."""

import json
from pathlib import Path
from typing import Literal, NamedTuple

from videojam.embedded.dataset import prepare_lab
from videojam.lab.clips import Lab
from videojam.motion.color import SIGMA, Background
from videojam.objective import Objective
from videojam.training.config import TrainConfig
from videojam.workflow.finetune import finetune


class Representation(NamedTuple):
    """What the motion half of the training data holds."""

    sigma: float = SIGMA
    background: Background = "black"
    second: Literal["motion", "video"] = "motion"
    "Motion, or a copy of the appearance."


class Tuning(NamedTuple):
    """What all fine-tunings of an experiment share."""

    base: Path
    lab: Lab
    clips: int
    validation_clips: int
    steps: int
    batch_size: int
    learning_rate: float
    precision: Literal["bf16", "fp32"]


def tuned_model(
    out: Path, name: str, held: Representation | None, tuning: Tuning, device: str
) -> Path:
    """out/models/NAME: the base tuned jointly with what `held` says; None tunes it plainly.

    Data and runs are kept in `out`; the same call goes on where it was stopped. The plain one is
    trained on the appearance of the default representation's data.
    """
    target = out / "models" / name
    if (target / "model_index.json").is_file():
        return target
    data = out / "data" / _data_name(held or Representation())
    prepare_lab(
        tuning.lab, data, str(tuning.base), tuning.clips, tuning.validation_clips,
        **(held or Representation())._asdict(), device=device,
    )  # fmt: skip
    settings = TrainConfig(
        out=out / "runs" / name, target="appearance" if held is None else "joint", mode="full",
        steps=tuning.steps, global_batch_size=tuning.batch_size, learning_rate=tuning.learning_rate,
        optimiser="muon", lr_schedule="cosine", warmup_steps=min(100, tuning.steps // 10),
        precision=tuning.precision, export="folder", keep_checkpoints=1, seed=tuning.lab.seed,
        objective=Objective(flow_shift=sampling_shift(tuning.base)),
    )  # fmt: skip
    exported = finetune(data, settings, str(tuning.base))
    target.parent.mkdir(exist_ok=True)
    return exported.rename(target)


def sampling_shift(folder: Path) -> float | None:
    """The time shift of a model's own schedule, to train with; None where it names none."""
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    shift = config.get("flow_shift", config.get("shift"))
    return None if shift is None else float(shift)


def _data_name(held: Representation) -> str:
    if held.second == "video":
        return "video"
    return f"{held.background}-{held.sigma:g}"
