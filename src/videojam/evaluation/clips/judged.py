"""Generated clips -> rows: what the lab's judge and the metrics of any clip say of each.

Judging always runs anew on the kept clips (0.2 s each on one core), so that a change of a metric
cannot leave old numbers behind. Flow is DIS on frames of twice the lab's size (enlarged.py).

Which scores a scene has is told by its true clip, not by the generated one: a body that is too
broken to be measured would be excused otherwise (`scored_as_the_truth`).
"""

import functools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from rich.progress import track
from torch import Tensor

from videojam.data.prepare.workers import WorkerDied, ordered_map
from videojam.evaluation.clips.systems import Made, Request
from videojam.evaluation.metrics.appearance import frame_features
from videojam.evaluation.metrics.enlarged import EnlargedDIS
from videojam.evaluation.metrics.table import all_metrics
from videojam.joint.latents import decode_video, encode_video
from videojam.lab.clips import Lab, lab_clips, lab_scene
from videojam.lab.judge import Judgement, judge
from videojam.lab.judge.scores import mean
from videojam.media.video import to_pixels, to_uint8
from videojam.records.atomic import write_text

_PARTS = ("permanence", "rigidity", "contact", "law", "order")  # of the judge's coherence
LAB_METRICS = tuple(field.name for field in fields(Judgement))
TRUE_CLIPS, CEILING = "true clips", "true clips through the autoencoder"
_AT_ONCE = 32  # true clips drawn together


class Row(NamedTuple):
    """The judgement of one clip."""

    system: str
    kind: str
    type: str
    prompt: int
    seed: int
    values: dict[str, float]
    "Metric -> value; NaN where it does not apply."


class Judged(NamedTuple):
    """The rows of a system, and what its frames look like."""

    rows: list[Row]
    features: Float64[Tensor, "n f 57"]
    "Of every frame of every clip, for appearance_distance."


def judge_clips(
    name: str, lab: Lab, requests: Sequence[Request], clips: Iterable[Made], workers: int = 0
) -> Judged:
    """Judge one clip per request, in `workers` processes, or in this one for 0.

    name: of the system. Raises ValueError for another number of clips than requests.
    """
    frames = (made.video.cpu().numpy() for made in clips)
    tasks = zip((request.number for request in requests), frames, strict=True)
    function = functools.partial(_judge_alone if workers else _judge, lab)
    rows: list[Row] = []
    features: list[Tensor] = []
    results = ordered_map(function, tasks, workers)
    for request, result in zip(
        requests, track(results, f"judge {name}", total=len(requests)), strict=True
    ):
        if isinstance(result, WorkerDied):
            raise ValueError(
                f"the process that judged clip {len(rows)} of {name} ended: {result.reason}; run "
                "again, with workers=0 if it stays so"
            )
        values, seen = result
        rows.append(Row(name, request.kind, request.type, request.number, request.seed, values))
        features.append(torch.from_numpy(seen))
    return Judged(rows, torch.stack(features))


def scored_as_the_truth(judged: Judged, truth: Judged) -> Judged:
    """The judged clips, with 0 for a score that the scene's true clip has and the clip lacks.

    What the true clip has no score of is left out of coherence, which is added up again. truth:
    one clip of each prompt.
    """
    asked = {
        row.prompt: [name for name in _PARTS if math.isfinite(row.values[name])]
        for row in truth.rows
    }
    rows = [row._replace(values=_over(row.values, asked[row.prompt])) for row in judged.rows]
    return judged._replace(rows=rows)


def _over(values: dict[str, float], asked: Sequence[str]) -> dict[str, float]:
    parts = {name: math.nan for name in _PARTS}
    parts |= {name: 0.0 if math.isnan(values[name]) else values[name] for name in asked}
    return values | parts | {"coherence": values["motion"] * mean([*parts.values()])}


def true_clips(lab: Lab, numbers: Sequence[int]) -> Iterator[Made]:
    """The lab's own clips of these scenes, with their exact flow."""
    for start in range(0, len(numbers), _AT_ONCE):
        drawn = lab_clips(lab, numbers[start : start + _AT_ONCE])[1]
        yield from map(Made, drawn.frames, drawn.flow)


def through_autoencoder(pipe: Any, clips: Iterable[Made]) -> Iterator[Made]:
    """The same clips encoded and decoded: about the best that a model with this VAE can make."""
    for made in clips:
        latents = encode_video(pipe.vae, to_pixels(made.video)[None])
        yield Made(to_uint8(decode_video(pipe.vae, latents)[0].cpu()), None)


def _judge(lab: Lab, task: tuple[int, np.ndarray]) -> tuple[dict[str, float], np.ndarray]:
    """numpy, because torch would pass tensors between processes as open files."""
    number, array = task
    frames = torch.from_numpy(array)
    scene, _ = lab_scene(lab, number)
    values = judge(frames, scene).as_dict() | all_metrics(frames, lab.fps, EnlargedDIS())
    return values, frame_features(frames).numpy()


def _judge_alone(lab: Lab, task: tuple[int, np.ndarray]) -> tuple[dict[str, float], np.ndarray]:
    torch.set_num_threads(1)  # the other processes have the other cores
    return _judge(lab, task)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """JSON lines, one per clip; NaN is null."""
    write_text(path, "".join(json.dumps(_plain(row)) + "\n" for row in rows))


def read_rows(path: Path) -> list[Row]:
    rows = [Row(**json.loads(line)) for line in path.read_text().splitlines()]
    return [
        row._replace(values={k: math.nan if v is None else v for k, v in row.values.items()})
        for row in rows
    ]


def _plain(row: Row) -> dict[str, Any]:
    finite = {name: value if math.isfinite(value) else None for name, value in row.values.items()}
    return row._replace(values=finite)._asdict()
