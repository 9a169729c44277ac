"""Named settings of guidance, from the paper's to the cheapest: rows of fields of GuidanceSettings.

Both guide in the first 0.4 of the steps alone, where motion and layout are decided, and compute
their terms there at every second or fourth step. Chosen on development captions of a small world
(docs/results.md, "What guidance costs"). Shares of plain classifier-free guidance, two passes a
step, at 50 steps: paper 1.25, balanced 0.7, fast 0.6.
"""

from dataclasses import fields, replace
from typing import Any, Literal, TypeVar

from videojam.guidance.inner import GuidanceSettings

Preset = Literal["paper", "balanced", "fast"]
PRESETS: dict[Preset, dict[str, Any]] = {
    "paper": {},
    "balanced": {"text_every": 2, "motion_every": 2, "text_stop": 0.4, "motion_stop": 0.4},
    "fast": {"text_every": 4, "motion_every": 4, "text_stop": 0.4, "motion_stop": 0.4},
}

Settings = TypeVar("Settings", bound=GuidanceSettings)


def with_preset(settings: Settings, preset: Preset) -> Settings:
    """The settings with those of a preset where they are at their defaults.

    Raises ValueError for a preset that is not there, or a mode that cannot take it.
    """
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
    defaults = {field.name: field.default for field in fields(GuidanceSettings)}
    row = PRESETS[preset].items()
    return replace(settings, **{k: v for k, v in row if getattr(settings, k) == defaults[k]})
