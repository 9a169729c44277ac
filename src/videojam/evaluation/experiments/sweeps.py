"""How strong, and how long? Inner-Guidance over its scale w2 and over its window.

    videojam evaluate sweeps --models runs/lab-model --out runs/sweeps

w2 from 0 to 5 in the window of the config, and windows from none to all of the sampling at its
w2; the same captions and noises everywhere, by default those of the development seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from videojam.evaluation.clips.judged import LAB_METRICS, TRUE_CLIPS, Judged
from videojam.evaluation.experiments.generated import (
    LabConfig,
    finish,
    judged_system,
    judged_truth,
    setting,
    settle,
    system_of,
)
from videojam.evaluation.report.plots import Panel, line_panels
from videojam.evaluation.report.tables import (
    ALL,
    Cell,
    curve,
    difference_table,
    differences,
    plain,
    summary,
    table_of,
)

METRICS = ("coherence", "dynamic_degree", "text", "warp_error")
_ALL_METRICS = tuple(dict.fromkeys((*METRICS, *LAB_METRICS, "speed_diagonals_per_s", "sharpness")))
SCALE, WINDOW = "motion_scale", "motion_stop"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(LabConfig):
    """Inner-Guidance over its scale and its window."""

    seed: int = 1000
    "The development seed, as settings are chosen by this; 2000 is kept for results."
    motion_scales: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    "Values of w2."
    motion_stops: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    "Shares of the steps after which Inner-Guidance stops."

    def __post_init__(self) -> None:
        LabConfig.__post_init__(self)  # super() is lost in a dataclass with slots
        for name, values in ((SCALE, self.motion_scales), (WINDOW, self.motion_stops)):
            for value in values:
                self.sampling(**{name: value})


def run(config: Config) -> dict[str, Any]:
    """Generate what is missing, judge, write; returns the figures."""
    config = settle(config)
    sweeps = {SCALE: config.motion_scales, WINDOW: config.motion_stops}
    judged: dict[str, Judged] = {}
    for setting_name, values in sweeps.items():
        for value in values:
            name = label(setting_name, value)
            system = system_of(config, name, "videojam", **{setting_name: value})
            judged[name] = judged_system(config, system)
    truth = judged_truth(config)
    rows = {name: one.rows for name, one in judged.items()}
    means = summary(rows | {TRUE_CLIPS: truth.rows}, _ALL_METRICS)
    # Against no Inner-Guidance at all, where it is among the values.
    pairs = [
        (label(one, value), label(one, 0.0))
        for one, values in sweeps.items()
        for value in values
        if 0.0 in values and value
    ]
    gains = differences(rows, pairs, _ALL_METRICS)
    _plot(config, sweeps, means)
    figures = {"means": plain(means), "differences": plain(gains)}
    text = "# Inner-Guidance over its scale and its window\n\n" + setting(config)
    for one, values in sweeps.items():
        columns = {label(one, value): means[label(one, value)][ALL] for value in values}
        text += f"\n## {one}\n\n"
        text += table_of(columns | {TRUE_CLIPS: means[TRUE_CLIPS][ALL]}, METRICS)
        gains_of_one = {pair: groups[ALL] for pair, groups in gains.items() if pair.startswith(one)}
        if gains_of_one:
            text += "\nDifferences on the same captions and noises:\n\n"
            text += difference_table(gains_of_one, METRICS)
    return finish(config, "sweeps", figures, text, [*judged.values(), truth])


def label(name: str, value: float) -> str:
    return f"{name} {value:g}"


def _plot(
    config: Config,
    sweeps: Mapping[str, Sequence[float]],
    means: Mapping[str, dict[str, dict[str, Cell]]],
) -> None:
    """Scores between 0 and 1 in one panel, the warp error in another, for each of the sweeps."""
    panels = []
    for one, values in sweeps.items():
        curves = {
            metric: curve([means[label(one, value)][ALL][metric] for value in values])
            for metric in METRICS
        }
        error = {"warp_error": curves.pop("warp_error")}
        panels.append(Panel(f"scores over {one}", values, curves, one, "mean over clips"))
        panels.append(Panel(f"warp error over {one}", values, error, one, "warp error"))
    line_panels(config.out / "plot.png", panels, "Inner-Guidance: how strong, and how long")
