"""Named settings of guidance, from the paper's to the cheapest: rows of fields of GuidanceSettings.

Both guide in the first 0.4 of the steps alone, where motion and layout are decided, and compute
their terms there at every second or fourth step. Chosen on development captions of a small world
(docs/results.md, "What guidance costs"). Shares of plain classifier-free guidance, two passes a
step, at 50 steps: paper 1.25, balanced 0.7, fast 0.6.
"""

from typing import Any, Literal

Preset = Literal["paper", "balanced", "fast"]
PRESETS: dict[Preset, dict[str, Any]] = {
    "paper": {},
    "balanced": {"text_every": 2, "motion_every": 2, "text_stop": 0.4, "motion_stop": 0.4},
    "fast": {"text_every": 4, "motion_every": 4, "text_stop": 0.4, "motion_stop": 0.4},
}


def preset_settings(preset: Any) -> dict[str, Any]:
    """The fields of GuidanceSettings that a preset sets. ValueError for one that is not there."""
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
    return dict(PRESETS[preset])
