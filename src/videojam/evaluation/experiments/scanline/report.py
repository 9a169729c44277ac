"""What was measured of all training seeds -> figures, tables and pictures."""

from typing import Any, NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from videojam.evaluation.experiments.scanline.bench import TRUE, Bench, Values
from videojam.evaluation.experiments.scanline.compared import (
    BASE,
    CONTROL,
    EQUAL_COST,
    GUIDED,
    JOINT,
    ROLES,
    Scope,
)
from videojam.evaluation.experiments.scanline.noticed import STARTS
from videojam.evaluation.experiments.scanline.statistics import OverSeeds, over_seeds
from videojam.evaluation.premise.order import TIMES
from videojam.evaluation.report.plots import Panel, line_panels, strip
from videojam.evaluation.report.results import markdown_table
from videojam.evaluation.report.tables import Cell, show
from videojam.evaluation.statistics.bootstrap import Interval
from videojam.lab.scanline.judge import PRIMARY, Scores
from videojam.lab.scanline.world import picture
from videojam.sampling.pipeline import Sampling

PAIRS = ((JOINT, CONTROL), (GUIDED, CONTROL), (GUIDED, JOINT), (CONTROL, BASE))
FULL = "inner_guidance"
_SHOWN_CLIPS = 6
_ENLARGED = 6


class SeedFigures(NamedTuple):
    """Of one training seed; but for `swept`, on captions that nothing was chosen by."""

    swept: dict[str, dict[float, Values]]
    "Setting -> value -> scores of the joint model, around its best settings."
    compared: dict[str, Values]
    shuffled: dict[str, Tensor]
    continued: dict[str, Tensor]
    ablated: dict[str, Values]
    strip: dict[str, Tensor]


def strip_of(
    bench: Bench, scope: Scope, chosen: dict[str, Sampling]
) -> dict[str, UInt8[Tensor, "n f w 3"]]:
    """System -> a few held-out clips as pictures: time downwards."""

    def measure() -> dict[str, Tensor]:
        clips = bench.clips("held out", _SHOWN_CLIPS)
        found = {TRUE: picture(clips.frames[:, :, 0])}
        for name, sampling in chosen.items():
            sampler = bench.sampler(ROLES[name])
            noise = sampler.noise(range(_SHOWN_CLIPS), bench.held_out_seed)
            found[name] = picture(sampler.frames(clips.captions, noise, sampling)[:, :, 0])
        return found

    return bench.kept("strip", measure)


def summarise(chosen: dict[str, Sampling], seeds: dict[int, SeedFigures]) -> dict[str, Any]:
    """Means, differences and curves over the training seeds."""
    each = [*seeds.values()]
    systems = [*each[0].compared]
    pairs = [(a + cost, b + cost) for cost in ("", EQUAL_COST) for a, b in PAIRS]
    return {
        "primary": PRIMARY,
        "training_seeds": [*seeds],
        "chosen": {
            name: {"text_scale": own.text_scale, "motion_scale": own.motion_scale}
            for name, own in chosen.items()
        },
        "means": {name: _each_score([one.compared[name] for one in each]) for name in systems},
        "differences": {
            f"{a} - {b}": _each_score([_less(o.compared[a], o.compared[b]) for o in each])
            for a, b in pairs
        },
        "table_3": {
            mode: _each_score([one.ablated[mode] for one in each]) for mode in each[0].ablated
        },
        "table_3_differences": {
            mode: _each_score([_less(one.ablated[mode], one.ablated[FULL]) for one in each])
            for mode in each[0].ablated
            if mode != FULL
        },
        "sweeps": {
            name: {
                f"{value:g}": _each_score([one.swept[name][value] for one in each])
                for value in values
            }
            for name, values in each[0].swept.items()
        },
        "figure_3": {
            "t": [*TIMES],
            "shuffled_over_original": {
                curve: [(one.shuffled[curve][1] / one.shuffled[curve][0]).tolist() for one in each]
                for curve in each[0].shuffled
            },
            "loss": {
                curve: [one.shuffled[curve][0].tolist() for one in each]
                for curve in each[0].shuffled
            },
        },
        "figure_8": {
            "start": [*STARTS],
            "lawful": {k: [o.continued[k][:, 0].tolist() for o in each] for k in each[0].continued},
            "off_px": {k: [o.continued[k][:, 1].tolist() for o in each] for k in each[0].continued},
        },
    }  # fmt: skip


def _less(a: Values, b: Values) -> Values:
    return {name: a[name].double() - b[name].double() for name in a}


def _each_score(seeds: list[Values]) -> dict[str, dict[str, Any]]:
    """Score -> mean with both intervals and the seeds' own means, for scores that apply."""
    found: dict[str, dict[str, Any]] = {}
    for score in Scores._fields:
        values = torch.stack([one[score] for one in seeds])
        if bool(values.isfinite().any()):
            found[score] = _plain(over_seeds(values))
    return found


def _plain(found: OverSeeds) -> dict[str, Any]:
    return {
        "per_seed": found.per_seed,
        "hierarchical": found.hierarchical and found.hierarchical._asdict(),
        "over_seeds": found.over_seeds and found.over_seeds._asdict(),
    }


# --- tables ---------------------------------------------------------------------------------------


def markdown(figures: dict[str, Any], settings: dict[str, Any]) -> str:
    """results.md."""
    world = ", ".join(
        f"{key} {settings[key]}" for key in ("kind", "radius", "background", "speed", "frames")
    )
    recipe = settings["recipe"]
    text = (
        f"# The scanline experiment\n\nWorld: {world}. {len(figures['training_seeds'])} training "
        f"seeds; base {recipe['base_steps']} steps, control and joint model "
        f"{recipe['tune_steps']} each; {settings['scope']['prompts']} held-out captions a seed, "
        f"{settings['scope']['steps']} Euler steps. The primary metric is `{PRIMARY}`, declared "
        "before; the others explain it, and with so many intervals some exclude zero by chance."
        "\n\n## Systems at their own best scales\n\nMean [95 % over training seeds and prompts]."
        "\n\n"
    )
    text += _table(figures["means"], "hierarchical")
    text += "\nScales chosen on development captions of all training seeds together: "
    text += "; ".join(
        f"{name}: w1 = {own['text_scale']:g}, w2 = {own['motion_scale']:g}"
        for name, own in figures["chosen"].items()
    )
    text += ".\n\n## Differences on the same captions and noises\n\nMean [95 % t interval over "
    text += "the training seeds].\n\n" + _table(figures["differences"], "over_seeds", signed=True)
    text += "\nThe same [95 % over training seeds and prompts, which is too narrow for few seeds]:"
    text += "\n\n" + _table(figures["differences"], "hierarchical", signed=True)
    text += f"\n`{PRIMARY}` of each training seed:\n\n"
    head = ["", *map(str, figures["training_seeds"])]
    rows = [
        [name, *(f"{value:+.3f}" for value in own[PRIMARY]["per_seed"])]
        for name, own in figures["differences"].items()
    ]
    text += markdown_table(head, rows)
    text += "\n## Guidance without one of its parts (Table 3)\n\n"
    text += _table(figures["table_3"], "hierarchical")
    text += "\nLess the whole:\n\n" + _table(
        figures["table_3_differences"], "over_seeds", signed=True
    )
    for name, values in figures["sweeps"].items():
        text += f"\n## {name}, development captions\n\n" + _table(values, "hierarchical")
    text += "\n## Loss of shuffled over original clips (Figure 3)\n\n"
    ratios = figures["figure_3"]["shuffled_over_original"]
    text += markdown_table(["t", *(f"{t:g}" for t in TIMES)], [
        [curve, *(f"{value:.3f}" for value in torch.tensor(own).mean(0).tolist())]
        for curve, own in ratios.items()
    ])  # fmt: skip
    text += "\n## Clips continued from a share of the steps (Figure 8)\n\n"
    for what, about in (("lawful", "lawful"), ("off_px", "px from the true bodies")):
        rows = [
            [name, *(f"{value:.3f}" for value in torch.tensor(own).mean(0).tolist())]
            for name, own in figures["figure_8"][what].items()
        ]
        text += markdown_table([about, *(f"{100 * at:g} %" for at in STARTS)], rows) + "\n"
    return text


def _table(rows: dict[str, Any], which: str, signed: bool = False) -> str:
    scores = [*next(iter(rows.values()))]
    body = [
        [name, *(show(_cell(own.get(score), which), signed) for score in scores)]
        for name, own in rows.items()
    ]
    return markdown_table(["", *(score.replace("_", " ") for score in scores)], body)


def _cell(found: dict[str, Any] | None, which: str) -> Cell:
    return Interval(**found[which]) if found and found[which] else None


# --- pictures -------------------------------------------------------------------------------------


def draw(out: Any, figures: dict[str, Any], seeds: dict[int, SeedFigures]) -> None:
    """plot.png, sweeps.png and a strip of clips for each training seed."""

    def over(curves: dict[str, list[list[float]]]) -> dict[str, Any]:
        bands = {}
        for name, own in curves.items():
            rows = torch.tensor(own)
            bands[name] = tuple(v.tolist() for v in (rows.mean(0), rows.amin(0), rows.amax(0)))
        return bands

    three, eight = figures["figure_3"], figures["figure_8"]
    line_panels(
        out / "plot.png",
        [
            Panel("loss of shuffled / original frames", three["t"],
                  over(three["shuffled_over_original"]), "t (0 noise, 1 data)", "", lines=(1.0,)),
            Panel("lawful, continued from", eight["start"], over(eight["lawful"]),
                  "share of the steps", ""),
        ],
        "Mean over training seeds, band from the lowest to the highest",
    )  # fmt: skip
    panels = []
    for name, values in figures["sweeps"].items():
        cells = [own[PRIMARY]["hierarchical"] for own in values.values()]
        bands = [[(cell or {}).get(key, float("nan")) for cell in cells]
                 for key in ("mean", "low", "high")]  # fmt: skip
        panels.append(Panel(f"{PRIMARY} over {name}", [*map(float, values)],
                            {PRIMARY: (bands[0], bands[1], bands[2])}, name, ""))  # fmt: skip
    line_panels(out / "sweeps.png", panels)
    for seed, own in seeds.items():
        rows = {name: _x_t(clips) for name, clips in own.strip.items()}
        strip(out / f"clips-seed-{seed}.png", rows, _SHOWN_CLIPS, "time downwards")


def _x_t(clips: UInt8[Tensor, "n f w 3"]) -> UInt8[Tensor, "n h w2 3"]:
    """Each clip as one picture, enlarged."""
    return clips.repeat_interleave(_ENLARGED, 1).repeat_interleave(_ENLARGED, 2)
