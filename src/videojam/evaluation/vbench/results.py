"""VBench's result files, NAME_eval_results.json.

They hold {dimension: [score, [{"video_path": ..., "video_results": ...}, ...]]}. Scores are shares;
the values of single clips are not always: imaging quality counts to 100, and dynamic degree is true
or false.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from videojam.evaluation.vbench.aggregate import DIMENSIONS

_PERCENT = ("imaging_quality",)


class Scores(NamedTuple):
    """One dimension: its score as VBench gives it, and what each clip got, both from 0 to 1."""

    score: float
    clips: dict[str, float]
    "File name -> value."


def read_results(path: Path) -> dict[str, Scores]:
    """The dimensions of one result file, or of all *_eval_results.json of a folder.

    Raises ValueError for a folder without any, another format, an unknown dimension, or a dimension
    that two files give differently.
    """
    files = sorted(path.glob("*_eval_results.json")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise ValueError(f"{path} has no *_eval_results.json; give what `vbench evaluate` wrote")
    found: dict[str, Scores] = {}
    for file in files:
        for name, scores in _read(file).items():
            if found.get(name, scores) != scores:
                raise ValueError(
                    f"{file} and another file of {path} give different {name}; keep one run"
                )
            found[name] = scores
    return found


def _read(file: Path) -> dict[str, Scores]:
    try:
        content = json.loads(file.read_text("utf-8"))
        return {name: _scores(name, *value) for name, value in content.items()}
    except (TypeError, AttributeError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{file} is no result of VBench ({error}); expected "
            '{"dimension": [score, [{"video_path": ..., "video_results": ...}]]}'
        ) from error


def _scores(name: str, score: Any, clips: Any) -> Scores:
    if name not in DIMENSIONS:
        raise ValueError(f"VBench has no dimension {name!r}; there are {', '.join(DIMENSIONS)}")
    scale = 0.01 if name in _PERCENT else 1.0
    values = {Path(one["video_path"]).name: scale * float(one["video_results"]) for one in clips}
    return Scores(float(score), values)
