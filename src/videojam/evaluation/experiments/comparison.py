"""The main comparison (Tables 1, 2, 4 to 7 of the paper, on the Motion Lab): does it help?

    videojam evaluate comparison --models runs/lab-model --out runs/comparison

Base, control (the base fine-tuned on, without motion), VideoJAM with text guidance alone, and
VideoJAM with Inner-Guidance, from the same captions and the same noises, beside the simulator's
own clips of these captions, the upper bound of every score, and the same after a way through the
autoencoder, the upper bound of these models. VideoJAM - control is what the joint
objective brings; with Inner-Guidance less without it is what the guidance brings at inference.

Scores of the lab's judge are right at 1. Of the metrics of any clip, warp_error is better low and
flow_smoothness high; dynamic_degree, flicker and sharpness are best near the true clips'. Read
them beside the speeds: a model that moves less than the data is smooth for nothing. Near means
near the true clips that went through the autoencoder: what these models make has lost its fine
detail, and noise in the place of detail would count as sharpness.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from videojam.evaluation.clips.judged import CEILING, LAB_METRICS, TRUE_CLIPS, Row
from videojam.evaluation.experiments import limits
from videojam.evaluation.experiments.generated import (
    LabConfig,
    finish,
    judged_ceiling,
    judged_system,
    judged_truth,
    lab_of,
    setting,
    settle,
    system_of,
)
from videojam.evaluation.report.plots import bar_plot
from videojam.evaluation.report.results import markdown_table
from videojam.evaluation.report.tables import (
    ALL,
    GROUPS,
    Cell,
    curve,
    difference_table,
    differences,
    in_group,
    plain,
    summary,
    table_of,
)
from videojam.evaluation.statistics.set_distance import set_distance, set_distance_difference
from videojam.lab.scene import KINDS

JOINT, GUIDED = "VideoJAM", "VideoJAM with Inner-Guidance"
PAIRS = ((JOINT, "control"), (GUIDED, "control"), (GUIDED, JOINT), ("control", "base"))
PRIMARY = ("coherence", f"{GUIDED} - control")
"What the comparison is for; all other differences are exploratory."
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
    judged_and_others = judged | {"other true clips": others}
    distances = {
        reference: {
            name: set_distance(one, judged[reference])
            for name, one in judged_and_others.items()
            if name != reference
        }
        for reference in (CEILING, TRUE_CLIPS)
    }
    further: dict[str, dict[str, Cell]] = {
        f"{a} - {b}": {
            reference: set_distance_difference(judged[a], judged[b], judged[reference])
            for reference in distances
        }
        for a, b in PAIRS
    }
    speeds = {name: speed_quantiles(judged) for name, judged in rows.items()}
    groups = {name: curve([means[name][g]["coherence"] for g in GROUPS]) for name in rows}
    bar_plot(config.out / "plot.png", GROUPS, groups, "coherence", "Motion Lab, by kind of scene")
    parts = limits.groups(lab_of(config), config.prompts)
    part_means, part_gains = limits.limits(rows, PAIRS, parts, PRIMARY[0])
    figures = {
        "means": plain(means), "differences": plain(gains), "appearance_distance": distances,
        "appearance_distance_differences": plain(further), "speeds": speeds,
        "limits": {"means": plain(part_means), "differences": plain(part_gains)},
    }  # fmt: skip
    text = "# Base, control and VideoJAM on the Motion Lab\n\n" + setting(config)
    text += table_of({name: groups[ALL] for name, groups in means.items()}, METRICS)
    text += "\n## Differences on the same captions and noises\n\n"
    of_all = {pair: groups[ALL] for pair, groups in gains.items()}
    text += difference_table(of_all, METRICS, PRIMARY)
    text += "\n## By kind of scene\n"
    for kind in KINDS:
        text += f"\n### {kind}\n\n"
        text += table_of({name: groups[kind] for name, groups in means.items()}, METRICS)
        text += "\n"
        pairs = {pair: groups[kind] for pair, groups in gains.items()}
        text += difference_table(pairs, METRICS)
    text += limits.text(part_means, part_gains, parts, PRIMARY[0])
    text += _appearance(distances, further) + _speeds(speeds)
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
        for name, speed in speeds.items():
            if group in speed:
                ratio = speed[group]["mean"] / max(speeds[TRUE_CLIPS][group]["mean"], 1e-9)
                values = [speed[group][column] for column in columns]
                body.append([group, name, *(f"{v:.3f}" for v in values), f"{ratio:.2f}"])
    return text + markdown_table(["", "", *columns, "of true"], body)


def _appearance(distances: dict[str, dict[str, float]], further: dict[str, dict[str, Cell]]) -> str:
    """Distances of sets of frames, and paired differences between systems."""
    text = "\n## Appearance distance\n\nOf all frames to those of the clips in the column, of the "
    text += "same captions (lower is nearer). `other true clips` is what other scenes make.\n\n"
    names = dict.fromkeys(name for distance in distances.values() for name in distance)
    body = [
        [
            name,
            *(
                f"{distance[name]:.3f}" if name in distance else "-"
                for distance in distances.values()
            ),
        ]
        for name in names
    ]
    text += markdown_table(["", *(f"to {reference}" for reference in distances)], body)
    text += "\nDifferences, by bootstrap over captions; less than zero is nearer:\n\n"
    return text + table_of(further, [*distances], signed=True)
