"""Figures: files that are pictures, colours that stay, and clear refusals."""

import builtins
import math

import pytest
import torch
from PIL import Image

from videojam.evaluation.report.plots import (
    Panel,
    Whiskers,
    bar_plot,
    line_panels,
    line_plot,
    strip,
    whisker_panels,
)

CURVE = ([1.0, 2.0, math.nan], [0.5, 1.5, math.nan], [1.5, 2.5, math.nan])


def _check(path, least=2000):
    assert path.stat().st_size > least
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 100
    assert not list(path.parent.glob("*.part"))


def test_every_figure_is_a_picture(tmp_path):
    x = [0.0, 1.0, 2.0]
    plain = ([3.0, 2.0, 1.0], None, None)
    curves = {"with a band": CURVE, "without": plain}
    folder = tmp_path / "made" / "on the way"
    _check(line_plot(folder / "line.png", x, curves, "x", "y", "title", log_y=True, lines=(1.0,)))
    panels = [Panel("one", x, curves, "x", "y"), Panel("two", x, {"without": plain}, "x", "y")]
    _check(line_panels(tmp_path / "panels.png", panels, "both"))
    groups = ["a", "b", "c"]
    _check(bar_plot(tmp_path / "bars.png", groups, {"one": CURVE, "other": plain}, "y", "title"))
    clip = torch.randint(256, (9, 16, 24, 3), dtype=torch.uint8)
    _check(strip(tmp_path / "strip.png", {"first": clip, "second": clip[:3]}, 4, "a title"))


def test_lengths_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'odd' has 2 values, but x has 3"):
        line_plot(tmp_path / "a.png", [0, 1, 2], {"odd": ([1, 2], None, None)}, "x", "y", "")
    with pytest.raises(ValueError, match="'odd' are 1, but there are 2 groups"):
        bar_plot(tmp_path / "b.png", ["a", "b"], {"odd": ([1], None, None)}, "y", "")
    with pytest.raises(ValueError, match="no clips"):
        strip(tmp_path / "c.png", {})


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError("no module named matplotlib")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"videojam\[plot\]"):
        line_plot(tmp_path / "a.png", [0.0], {"a": ([1.0], None, None)}, "x", "y", "")


def test_points_with_intervals(tmp_path):
    panels = [
        Whiskers({"a": (0.5, 1.0, 0.5, 2.0), "b": (1.0, 2.0, 1.0, 3.0)}, "x", "y"),
        Whiskers({"b": (1.0, 0.0, 0.0, 0.0)}, "x", "z"),
    ]
    _check(whisker_panels(tmp_path / "points.png", panels, "title"))
