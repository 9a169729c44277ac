"""What an experiment leaves in its folder: settings.json, results.json, results.md, pictures.

settings.json is written first and says what everything else there was made with, so that a
stopped experiment goes on only where it was stopped. Files are written beside and renamed.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from videojam.evaluation.report.plots import require_matplotlib
from videojam.records.atomic import write_text
from videojam.records.provenance import commit, machine, versions
from videojam.records.settings import defaults_of, differences
from videojam.sampling.samples import fingerprint

# Where things are and how fast they are made decides no result.
_PLACES = ("out", "models", "device", "batch_size", "compile", "threads")
_BEGUN = "begun_at_commit"  # measurements that are kept may be as old as this


def settle(config: Any, models: Mapping[str, Path]) -> Path:
    """Make config.out for these settings and models, or check that it was made for them.

    config: a dataclass instance with `out`. Raises ValueError that names what differs.
    """
    out: Path = config.out
    settings = {key: value for key, value in asdict(config).items() if key not in _PLACES}
    settings["models"] = {name: fingerprint(folder) for name, folder in models.items()}
    settings = json.loads(json.dumps(settings, default=str))
    require_matplotlib()  # rather now than when everything is measured
    path = out / "settings.json"
    if path.exists():
        saved = json.loads(path.read_text())
        saved.pop(_BEGUN, None)
        differ = differences(saved, settings, defaults_of(type(config)))
        if differ:
            raise ValueError(
                f"{out} was made with other settings ({'; '.join(differ)}); give another folder "
                "with --out, or remove it"
            )
    else:
        at = commit()
        settings[_BEGUN] = at and at.hash + " and changes" * at.dirty
        write_text(path, json.dumps(settings, indent=2) + "\n")
    return out


def write_results(
    config: Any, experiment: str, figures: dict[str, Any], markdown: str
) -> dict[str, Any]:
    """results.json (figures, settings, machine, versions, commit) and results.md; gives figures.

    Numbers that are not finite are null in the file and in what is returned.
    """
    at = commit()
    figures = finite(figures)
    content = {
        "experiment": experiment,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": json.loads((config.out / "settings.json").read_text()),
        "device": config.device,
        "machine": machine(),
        "versions": versions(),
        "commit": at.hash if at else None,
        "dirty": at.dirty if at else True,
        "figures": figures,
    }
    write_text(config.out / "results.md", markdown)
    write_text(config.out / "results.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    return figures


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, with a line break at its end."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def finite(value: Any) -> Any:
    """The same for JSON: numbers that are not finite are None."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
