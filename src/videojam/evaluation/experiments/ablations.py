"""Table 3 of the paper: VideoJAM's sampling without one of its parts.

    videojam evaluate ablations --models runs/lab-model --out runs/ablations

One model, five ways to guide it (guidance/ablations.py), the same captions and noises. Motion is
the judge's coherence, appearance three checks without learned weights (metrics/appearance.py,
flicker.py), text the share of what the caption asks for that is there.
"""

from dataclasses import dataclass
from typing import Any

from videojam.evaluation.experiments.generated import (
    LabConfig,
    finish,
    judged_system,
    judged_truth,
    setting,
    settle,
    system_of,
)
from videojam.evaluation.judged import LAB_METRICS, TRUE_CLIPS
from videojam.evaluation.plots import bar_plot
from videojam.evaluation.set_distance import set_distance, set_distance_difference
from videojam.evaluation.tables import (
    ALL,
    Cell,
    curve,
    differences,
    plain,
    show,
    summary,
    table_of,
)

FULL = "full"
VARIANTS = {
    FULL: "inner_guidance",
    "without text guidance": "without_text_guidance",
    "without Inner-Guidance": "without_inner_guidance",
    "without flow": "without_flow",
    "InstructPix2Pix guidance": "instruct_pix2pix",
}
APPEARANCE = ("sharpness", "temporal_flickering")
METRICS = ("coherence", "text", *APPEARANCE, "dynamic_degree", "warp_error")
DISTANCE = "appearance_distance"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(LabConfig):
    """VideoJAM with full guidance, and without one of its parts each (Table 3)."""


def run(config: Config) -> dict[str, Any]:
    """Generate what is missing, judge, write; returns the figures."""
    config = settle(config)
    judged = {
        name: judged_system(config, system_of(config, name, "videojam", mode=mode))
        for name, mode in VARIANTS.items()
    }
    truth = judged_truth(config)
    rows = {name: one.rows for name, one in judged.items()}
    metrics = tuple(dict.fromkeys((*METRICS, *LAB_METRICS)))
    means = summary(rows | {TRUE_CLIPS: truth.rows}, metrics)
    losses = differences(rows, [(name, FULL) for name in rows if name != FULL], metrics)
    distances = {name: set_distance(one, truth) for name, one in judged.items()}
    further = {
        f"{name} - {FULL}": set_distance_difference(one, judged[FULL], truth)
        for name, one in judged.items()
        if name != FULL
    }
    names = ("coherence", "text")
    bars = {metric: curve([means[name][ALL][metric] for name in rows]) for metric in names}
    bar_plot(config.out / "plot.png", [*rows], bars, "score", "Guidance without one of its parts")
    figures = {
        "means": plain(means), "differences": plain(losses),
        DISTANCE: distances, f"{DISTANCE}_differences": plain(further),
    }  # fmt: skip
    text = "# Guidance without one of its parts (Table 3)\n\n" + setting(config)
    text += table_of({name: groups[ALL] for name, groups in means.items()}, METRICS)
    cells = " | ".join(f"{distances[name]:.3f}" if name in distances else "0" for name in means)
    text += f"| {DISTANCE} | {cells} |\n"
    text += f"\n## Differences to {FULL}, on the same captions and noises\n\n"
    text += table_of({pair: groups[ALL] for pair, groups in losses.items()}, METRICS, signed=True)
    text += _distance_row(further)
    return finish(config, "ablations", figures, text, [*judged.values(), truth])


def _distance_row(further: dict[str, Cell]) -> str:
    cells = " | ".join(show(interval, signed=True) for interval in further.values())
    return f"| {DISTANCE} | {cells} |\n"
