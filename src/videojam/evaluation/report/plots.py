"""Figures of the experiments: curves with bands, bars with whiskers, strips of frames.

matplotlib is the `plot` extra. Nothing here needs a screen, and no global state of matplotlib is
touched. A figure is written beside and renamed, so it is never half there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from videojam.records.atomic import replacing

# Okabe & Ito (2008): told apart with any colour vision. Yellow is left out, too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = "osD^vPX"  # and told apart in print without colours

Values = Sequence[int | float]
Curve = tuple[Values, Values | None, Values | None]
"(mean, low, high) at every x; low and high None for a curve without a band."


class Panel(NamedTuple):
    """One set of axes of line_panels."""

    title: str
    x: Values
    curves: Mapping[str, Curve]
    xlabel: str
    ylabel: str
    log_y: bool = False
    lines: Values = ()
    "Heights of thin reference lines, such as a threshold."


def line_plot(
    path: Path,
    x: Values,
    curves: Mapping[str, Curve],
    xlabel: str,
    ylabel: str,
    title: str,
    *,
    log_y: bool = False,
    lines: Values = (),
) -> Path:
    """One curve per label, with a band from low to high; NaN leaves a gap.

    lines: heights of thin reference lines. Raises ValueError for a curve of another length than x.
    """
    return line_panels(path, [Panel(title, x, curves, xlabel, ylabel, log_y, lines)])


def line_panels(path: Path, panels: Sequence[Panel], title: str = "") -> Path:
    """Several line plots side by side. A label has the same colour in all of them."""
    figure = _figure(6.4 * len(panels), 4.4)
    labels = list(dict.fromkeys(label for panel in panels for label in panel.curves))
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        for label, curve in panel.curves.items():
            _draw_curve(axes, panel.x, curve, label, labels.index(label))
        for height in panel.lines:
            axes.axhline(height, color="0.5", linewidth=0.8, linestyle=":")
        if panel.log_y:
            axes.set_yscale("log")
        axes.set(title=panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel)
        axes.legend(frameon=False)
    if title:
        figure.suptitle(title)
    return _save(figure, path)


class Points(NamedTuple):
    """One set of axes of scatter_panels."""

    title: str
    points: Mapping[str, tuple[Values, Values]]
    "Label -> (x, y)."
    xlabel: str
    ylabel: str
    line: tuple[float, float]
    "Intercept and slope of a line through all of them."


def scatter_panels(path: Path, panels: Sequence[Points]) -> Path:
    """Points and a line, side by side."""
    figure = _figure(5.4 * len(panels), 4.4)
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        for number, (label, (x, y)) in enumerate(panel.points.items()):
            axes.scatter(x, y, label=label, marker=_MARKERS[number], color=COLOURS[number], s=28)
        axes.axline((0.0, panel.line[0]), slope=panel.line[1], color="0.5", linewidth=0.8)
        xs = [value for x, _ in panel.points.values() for value in x]
        margin = 0.05 * (max(xs) - min(xs)) or 1.0
        axes.set_xlim(min(xs) - margin, max(xs) + margin)
        axes.axhline(0.0, color="0.5", linewidth=0.8, linestyle=":")
        axes.set(title=panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel)
        axes.legend(frameon=False)
    return _save(figure, path)


class Whiskers(NamedTuple):
    """One set of axes of whisker_panels."""

    points: Mapping[str, tuple[float, float, float, float]]
    "Label -> (x, y, low, high)."
    xlabel: str
    ylabel: str


def whisker_panels(path: Path, panels: Sequence[Whiskers], title: str = "") -> Path:
    """Points with intervals, side by side; one legend, as labels look the same in all of them."""
    figure = _figure(5.4 * len(panels), 5.2)
    labels = list(dict.fromkeys(label for panel in panels for label in panel.points))
    shown: dict[str, Any] = {}
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        for label, (x, y, low, high) in panel.points.items():
            number = labels.index(label)
            shown[label] = axes.errorbar(
                [x], [y], [[y - low], [high - y]], color=COLOURS[number % len(COLOURS)],
                marker=_MARKERS[(number + number // len(COLOURS)) % len(_MARKERS)], capsize=2,
                linestyle="none",
            )  # fmt: skip
        axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    handles = [shown[label] for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    if title:
        figure.suptitle(title)
    return _save(figure, path)


def _draw_curve(axes: Any, x: Values, curve: Curve, label: str, number: int) -> None:
    mean, low, high = curve
    for values in (mean, low, high):
        if values is not None and len(values) != len(x):
            raise ValueError(
                f"the curve {label!r} has {len(values)} values, but x has {len(x)}; give one for "
                "each x, NaN where there is none"
            )
    style = {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": ("-", "--", "-.")[number // len(COLOURS) % 3],
    }
    axes.plot(x, mean, label=label, marker=_MARKERS[number % len(_MARKERS)], markersize=4, **style)
    if low is not None and high is not None:
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)


def bar_plot(
    path: Path,
    groups: Sequence[str],
    bars: Mapping[str, Curve],
    ylabel: str,
    title: str,
    *,
    lines: Values = (),
) -> Path:
    """Bars of each group beside each other, one colour per label, with whiskers low to high.

    bars: label -> (mean, low, high), one value per group; NaN leaves a place empty. Raises
    ValueError for labels with another number of values than there are groups.
    """
    figure = _figure(max(6.4, 0.35 * len(groups) * len(bars) + 2), 4.4)
    axes = figure.add_subplot()
    width = 0.8 / max(1, len(bars))
    for number, (label, (mean, low, high)) in enumerate(bars.items()):
        if len(mean) != len(groups):
            raise ValueError(
                f"the bars {label!r} are {len(mean)}, but there are {len(groups)} groups; give "
                "one for each group, NaN where there is none"
            )
        at = [place + (number + 0.5) * width - 0.4 for place in range(len(groups))]
        axes.bar(at, mean, width, label=label, color=COLOURS[number % len(COLOURS)])
        if low is not None and high is not None:
            below = [max(0.0, m - value) for m, value in zip(mean, low, strict=True)]
            above = [max(0.0, value - m) for m, value in zip(mean, high, strict=True)]
            axes.errorbar(at, mean, (below, above), fmt="none", ecolor="0.2", capsize=2, lw=1)
    for height in lines:
        axes.axhline(height, color="0.5", linewidth=0.8, linestyle=":")
    crowded = sum(map(len, groups)) > 60
    axes.set_xticks(
        range(len(groups)),
        groups,
        rotation=30 if crowded else 0,
        ha="right" if crowded else "center",
    )
    axes.set(title=title, ylabel=ylabel)
    if len(bars) > 1:  # below, because bars leave no room
        figure.legend(frameon=False, loc="outside lower center", ncols=min(len(bars), 5))
    return _save(figure, path)


def strip(
    path: Path, rows: Mapping[str, UInt8[Tensor, "f h w 3"]], num_frames: int = 8, title: str = ""
) -> Path:
    """Clips as rows of frames, evenly spaced in time, first and last included, named at the left.

    Raises ValueError for no rows.
    """
    if not rows:
        raise ValueError("a strip of no clips; give at least one")
    pictures = [_row(clip, num_frames) for clip in rows.values()]
    heights = [picture.shape[0] / picture.shape[1] for picture in pictures]
    figure = _figure(10.0, 10 * sum(heights) + 0.4)
    for place, (label, picture) in enumerate(zip(rows, pictures, strict=True)):
        axes = figure.add_subplot(len(rows), 1, place + 1)
        axes.imshow(picture.numpy(), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(label, rotation=0, ha="right", va="center")
        axes.spines[:].set_visible(False)
    if title:
        figure.suptitle(title)
    return _save(figure, path)


def _row(clip: Tensor, num_frames: int) -> Tensor:
    """(h, n w + gaps, 3): frames of a clip beside each other, one white pixel between them."""
    at = torch.linspace(0, len(clip) - 1, min(num_frames, len(clip))).round().long().tolist()
    gap = clip.new_full((clip.shape[1], 1, 3), 255)
    return torch.cat([piece for k in at for piece in (clip[k].cpu(), gap.cpu())][:-1], dim=1)


def require_matplotlib() -> None:
    """ImportError, which says what to install, without matplotlib."""
    _figure(1.0, 1.0)


def _figure(width: float, height: float) -> Any:
    """A figure that no window and no pyplot knows of: the Agg canvas draws it when it is saved."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"figures need matplotlib, and importing it failed: {error}. Install the extra: "
            'pip install "videojam[plot]"'
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> Path:
    for axes in figure.axes:
        if not axes.images:
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="0.9")
            axes.set_axisbelow(True)
    with replacing(path) as part:
        figure.savefig(part, dpi=150, format=path.suffix.lstrip(".") or "png")
    return path
