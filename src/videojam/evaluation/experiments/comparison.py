"""The main comparison (Tables 1, 2, 4 to 7 of the paper, on the Motion Lab): does it help?

    videojam evaluate comparison --models runs/lab-model --out runs/comparison

Base, control (the base fine-tuned on, without motion), VideoJAM with text guidance alone, and
VideoJAM with Inner-Guidance, from the same captions and the same noises, beside the simulator's
own clips of these captions, the upper bound of every score, and the same after a way through the
autoencoder, the upper bound of these models. VideoJAM - control is what the joint
objective brings; with Inner-Guidance less without it is what the guidance brings at inference.

Scores of the lab's judge are right at 1. Of the metrics of any clip, warp_error is better low and
flow_smoothness high; dynamic_degree, flicker and sharpness are best near the true clips'. Read
them beside the speeds: a model that moves less than the data is smooth for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from videojam.evaluation.experiments.generated import (
    LabConfig,
    finish,
    judged_ceiling,
    judged_system,
    judged_truth,
    setting,
    settle,
    system_of,
)
from videojam.evaluation.judged import CEILING, LAB_METRICS, TRUE_CLIPS, Row
from videojam.evaluation.plots import bar_plot
from videojam.evaluation.results import markdown_table
from videojam.evaluation.set_distance import set_distance
from videojam.evaluation.tables import (
    ALL,
    GROUPS,
    curve,
    differences,
    in_group,
    plain,
    summary,
    table_of,
)
from videojam.lab.scene import KINDS

JOINT, GUIDED = "VideoJAM", "VideoJAM with Inner-Guidance"
PAIRS = ((JOINT, "control"), (GUIDED, "control"), (GUIDED, JOINT), ("control", "base"))
SPEED = "speed_diagonals_per_s"
METRICS = (
    "coherence", *(name for name in LAB_METRICS if name != "coherence"),
    "dynamic_degree", SPEED, "flow_smoothness", "warp_error", "temporal_flickering", "sharpness",
)  # fmt: skip
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(LabConfig):
    """Base, control, VideoJAM without and with Inner-Guidance: same captions, same noises."""


def run(config: Config) -> dict[str, Any]:
    """Generate what is missing, judge, write; returns the figures."""
    config = settle(config)
    systems = (
        system_of(config, "base", "base"),
        system_of(config, "control", "control"),
        system_of(config, JOINT, "videojam", motion_scale=0.0),
        system_of(config, GUIDED, "videojam"),
    )
    judged = {system.name: judged_system(config, system) for system in systems}
    judged[CEILING] = judged_ceiling(config)
    judged[TRUE_CLIPS] = judged_truth(config)
    others = judged_truth(config, range(config.prompts, 2 * config.prompts))
    rows = {name: one.rows for name, one in judged.items()}
    means = summary(rows, METRICS)
    gains = differences(rows, PAIRS, METRICS)
    truth = judged[TRUE_CLIPS]
    distances = {name: set_distance(judged[name], truth) for name in rows if name != TRUE_CLIPS}
    distances["other true clips"] = set_distance(others, truth)
    speeds = {name: speed_quantiles(own) for name, own in rows.items()}
    groups = {name: curve([means[name][g]["coherence"] for g in GROUPS]) for name in rows}
    bar_plot(config.out / "plot.png", GROUPS, groups, "coherence", "Motion Lab, by kind of scene")
    figures = {
        "means": plain(means), "differences": plain(gains), "appearance_distance": distances,
        "speeds": speeds,
    }  # fmt: skip
    text = "# Base, control and VideoJAM on the Motion Lab\n\n" + setting(config)
    text += table_of({name: groups[ALL] for name, groups in means.items()}, METRICS)
    text += "\n## Differences on the same captions and noises\n\n"
    text += table_of({pair: groups[ALL] for pair, groups in gains.items()}, METRICS, signed=True)
    text += "\n## By kind of scene\n"
    for kind in KINDS:
        text += f"\n### {kind}\n\n"
        text += table_of({name: groups[kind] for name, groups in means.items()}, LAB_METRICS)
        text += "\n"
        pairs = {pair: groups[kind] for pair, groups in gains.items()}
        text += table_of(pairs, LAB_METRICS, signed=True)
    text += _appearance(distances) + _speeds(speeds)
    return finish(config, "comparison", figures, text, judged.values())


def speed_quantiles(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Mean and quantiles over clips of the speed of the fastest 5% of pixels, per kind."""
    found: dict[str, dict[str, float]] = {}
    for group in GROUPS:
        speeds = torch.tensor([row.values[SPEED] for row in in_group(rows, group)]).double()
        if not len(speeds):
            continue
        at = speeds.quantile(torch.tensor(_QUANTILES, dtype=torch.float64)).tolist()
        named = {f"{100 * q:g} %": value for q, value in zip(_QUANTILES, at, strict=True)}
        found[group] = {"mean": float(speeds.mean())} | named
    return found


def _speeds(speeds: dict[str, dict[str, dict[str, float]]]) -> str:
    """Mean, quantiles, and the ratio of the mean to the true clips', of all clips and per kind."""
    columns = [*speeds[TRUE_CLIPS][ALL]]
    text = "\n## Speeds\n\nOf the fastest 5 % of the pixels (DIS), in frame diagonals per second; "
    text += "the last column is the mean over that of the true clips.\n\n"
    body = []
    for group in GROUPS:
        for name, own in speeds.items():
            if group in own:
                ratio = own[group]["mean"] / max(speeds[TRUE_CLIPS][group]["mean"], 1e-9)
                values = [own[group][column] for column in columns]
                body.append([group, name, *(f"{v:.3f}" for v in values), f"{ratio:.2f}"])
    return text + markdown_table(["", "", *columns, "of true"], body)


def _appearance(distances: dict[str, float]) -> str:
    text = "\n## Appearance distance\n\nOf all frames to those of the true clips of the same "
    text += "captions (lower is nearer). The last row is the floor: as many other true clips.\n\n"
    return text + markdown_table(["", "distance"], [[k, f"{v:.3f}"] for k, v in distances.items()])
