"""index.html: data, style and script in one file, clips beside it in `shown`; no network.

The page is page.html with page.css and page.js in it, and the data as JSON, which the script draws.
It works from a folder (file://), on a desktop and on a phone.
"""

import base64
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from videojam.evaluation.compare.work import file_name
from videojam.evaluation.metrics.table import METRICS
from videojam.evaluation.report.layout import LABELS, Laid
from videojam.evaluation.report.results import finite
from videojam.evaluation.report.tables import Cell, exploratory, sentence, show, survivors
from videojam.motion.color import brighter, flow_to_rgb
from videojam.records.atomic import write_text

_HERE = Path(__file__).parent


def write_page(
    outcome: Any,
    means: Mapping[str, Mapping[str, Cell]],
    gaps: Mapping[str, Mapping[str, Cell]],
    tables: Sequence[Laid],
    notes: Sequence[str],
) -> Path:
    """Write OUT/index.html of a compare.outcome.Outcome; returns its path."""
    data = {
        "systems": outcome.names,
        "pairs": outcome.pairs,
        "primary": outcome.config.primary,
        "fps": outcome.form.fps,
        "metrics": {
            name: {"better": m.better, "sees": m.sees}
            for name, m in METRICS.items()
            if name in outcome.metrics
        }
        | {
            name: {"better": "high", "sees": "VBench"}
            for name in outcome.metrics
            if name not in METRICS
        },
        "tags": {k: v for k, v in outcome.prompts.tags().items() if 1 < len(v) <= 40},
        "cards": _cards(outcome),
        "means": {
            metric: {name: show(means[name][metric]) for name in outcome.names}
            for metric in outcome.metrics
        },
        "gaps": {
            metric: {pair: show(cells[metric], signed=True) for pair, cells in gaps.items()}
            for metric in outcome.metrics
        },
        "starred": _starred(outcome, gaps),
        "tables": [_plain(table) for table in tables],
        "notes": [*notes],
    }
    primary = outcome.primary
    words = {
        "TITLE": escape(" | ".join(outcome.names)),
        "ABOUT": escape(
            f"{len(outcome.prompts.prompts)} prompts of {outcome.prompts.name}, "
            f"{len(outcome.config.seeds)} seeds each. All clips as {outcome.form.text()}."
        ),
        "SENTENCE": escape(
            sentence(primary, exploratory(gaps, outcome.metrics, primary)).replace(" (bold)", "")
        ),
        "WHEEL": _wheel(),
        "STYLE": (_HERE / "page.css").read_text("utf-8"),
        "SCRIPT": (_HERE / "page.js").read_text("utf-8"),
        # "<" must not end the script element.
        "DATA": json.dumps(finite(data), allow_nan=False).replace("<", "\\u003c"),
    }
    text = (_HERE / "page.html").read_text("utf-8")
    parts = text.split("%%")  # %%NAME%%: every second one is a name
    page = "".join(words[part] if k % 2 else part for k, part in enumerate(parts))
    path = outcome.config.out / "index.html"
    write_text(path, page)
    return path


def _cards(outcome: Any) -> list[dict[str, Any]]:
    """One for each prompt and seed: clips, values, tags."""
    by_key = {
        name: {(row.prompt, row.seed): row.values for row in rows}
        for name, rows in outcome.rows.items()
    }
    cards = []
    for prompt in outcome.prompts.prompts:
        for repeat, seed in enumerate(outcome.config.seeds):
            key = (prompt.number, repeat)
            clips = {
                planned.system.name: _clip(outcome, planned, key)
                for planned in outcome.plans
                if key in planned.clips
            }
            cards.append({
                "number": prompt.number, "seed": seed, "prompt": prompt.text,
                "tags": {name: [*values] for name, values in prompt.tags.items()},
                "clips": {name: clip for name, clip in clips.items() if clip},
                "values": {name: by_key[name][key] for name in outcome.names},
            })  # fmt: skip
    return cards


def _clip(outcome: Any, planned: Any, key: tuple[int, int]) -> dict[str, str] | None:
    name = f"{key[0]:04d}-{key[1]}"
    folder = Path("shown") / file_name(planned.system.name)
    if not (outcome.config.out / folder / f"{name}.mp4").is_file():
        return None
    clip = {"video": _address(folder / f"{name}.mp4")}
    if (outcome.config.out / folder / f"{name}.motion.mp4").is_file():
        clip["motion"] = _address(folder / f"{name}.motion.mp4")
    return clip


def _address(path: Path) -> str:
    return "/".join(path.parts) if os.sep != "/" else str(path)


def _starred(outcome: Any, gaps: Mapping[str, Mapping[str, Cell]]) -> list[list[str]]:
    """[metric, pair] of the exploratory differences that survive."""
    cells = {(m, pair): cells[m] for pair, cells in gaps.items() for m in outcome.metrics}
    cells.pop(outcome.primary, None)
    return [list(place) for place in survivors(cells)]  # pyright: ignore[reportArgumentType]


def _plain(table: Laid) -> dict[str, Any]:
    return {
        "caption": table.caption,
        "columns": [LABELS.get(name, name) for name in table.columns],
        "groups": table.groups,
        "rows": [[whose, name, row] for whose, name, row in table.rows()],
    }


def _wheel(side: int = 64) -> str:
    """Every direction and speed in the colours of the predicted motion, a PNG as data."""
    to_side = torch.linspace(-1, 1, side)
    flow = torch.stack(torch.meshgrid(to_side, to_side, indexing="xy"))
    pixels = flow_to_rgb(flow, sigma=1 / math.hypot(side, side)).mul(255).to(torch.uint8)
    file = io.BytesIO()
    Image.fromarray(brighter(pixels.movedim(0, -1)).numpy()).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
