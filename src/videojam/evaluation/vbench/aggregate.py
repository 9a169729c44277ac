"""VBench's dimensions -> the paper's Appearance and Motion, and VBench's own totals.

Every dimension is stretched from its range to [0, 1], and a group is the weighted mean of its
dimensions. Ranges, weights and groups are VBench's (Vchitect/VBench @45e79ec, scripts/constant.py
and cal_final_score.py); Appearance and Motion of the paper's Tables 1, 2, 3 and 6 are two such
groups of the dimensions in its Tables 4, 5 and 7 (published.py compares).
"""

from collections.abc import Mapping
from typing import NamedTuple


class Dimension(NamedTuple):
    """The range that counts as 0 to 1, and the weight in a group."""

    low: float = 0.0
    high: float = 1.0
    weight: float = 1.0


DIMENSIONS = {
    "subject_consistency": Dimension(0.1462),
    "background_consistency": Dimension(0.2615),
    "temporal_flickering": Dimension(0.6293),
    "motion_smoothness": Dimension(0.7060, 0.9975),
    "dynamic_degree": Dimension(weight=0.5),
    "aesthetic_quality": Dimension(),
    "imaging_quality": Dimension(),
    "object_class": Dimension(),
    "multiple_objects": Dimension(),
    "human_action": Dimension(),
    "color": Dimension(),
    "spatial_relationship": Dimension(),
    "scene": Dimension(0.0, 0.8222),
    "appearance_style": Dimension(0.0009, 0.2855),
    "temporal_style": Dimension(0.0, 0.364),
    "overall_consistency": Dimension(0.0, 0.364),
}
_APPEARANCE = (
    "aesthetic_quality", "imaging_quality", "subject_consistency", "background_consistency",
)  # fmt: skip
_MOTION = ("motion_smoothness", "dynamic_degree")
PAPER_DIMENSIONS = (*_APPEARANCE, *_MOTION)
"The six of the paper's Tables 4, 5 and 7, in their order."
_QUALITY = (*_APPEARANCE, *_MOTION, "temporal_flickering")
GROUPS = {
    "appearance": _APPEARANCE,
    "motion": _MOTION,
    "quality": _QUALITY,
    "semantic": tuple(name for name in DIMENSIONS if name not in _QUALITY),
}
_QUALITY_SHARE = 0.8  # of the total: weight 4 against 1


def aggregate_vbench(scores: Mapping[str, float]) -> dict[str, float]:
    """Aggregates in [0, 1] of VBench scores in [0, 1], by dimension as VBench names them.

    Gives "appearance" and "motion" of the paper,

        appearance = mean of aesthetic and imaging quality, (subject - 0.1462) / 0.8538 and
                     (background - 0.2615) / 0.7385
        motion = ((smoothness - 0.7060) / 0.2915 + dynamic degree / 2) / 1.5

    and VBench's "quality", "semantic" and "total" = 0.8 quality + 0.2 semantic, those of which all
    dimensions are there. Raises ValueError for dimensions that it does not know, values outside
    [0, 1] (percentages must be divided by 100), a missing one of the paper's six, or some but not
    all of the nine semantic ones: a mean over what happens to be there compares with nothing.
    """
    names = {_named(name): float(value) for name, value in scores.items()}
    unknown = sorted(names.keys() - DIMENSIONS.keys())
    if unknown:
        raise ValueError(
            f"VBench has no dimension {', '.join(unknown)}; there are {', '.join(DIMENSIONS)}"
        )
    if len(names) < len(scores):
        raise ValueError(f"a dimension came twice in {', '.join(scores)}; give it once")
    outside = {name: value for name, value in names.items() if not 0 <= value <= 1}
    if outside:
        raise ValueError(
            f"VBench scores are shares from 0 to 1, got {outside}; divide percentages by 100"
        )
    semantic = [name for name in GROUPS["semantic"] if name in names]
    wanted = (*PAPER_DIMENSIONS, *(GROUPS["semantic"] if semantic else ()))
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(
            f"scores of {', '.join(missing)} are missing beside {', '.join(names) or 'none'}; "
            "evaluate those dimensions too, a mean of the others compares with nothing"
        )
    found = {
        group: _mean(names, dimensions)
        for group, dimensions in GROUPS.items()
        if all(name in names for name in dimensions)
    }
    if "quality" in found and "semantic" in found:
        total = _QUALITY_SHARE * found["quality"] + (1 - _QUALITY_SHARE) * found["semantic"]
        found["total"] = total
    return found


def _named(name: str) -> str:
    """VBench writes "motion smoothness", "Motion Smoothness" and "motion_smoothness"."""
    return name.strip().lower().replace(" ", "_")


def _mean(scores: Mapping[str, float], names: tuple[str, ...]) -> float:
    """sum of weight (score - low) / (high - low), over the sum of the weights."""
    chosen = {name: DIMENSIONS[name] for name in names}
    weighted = [
        one.weight * (scores[name] - one.low) / (one.high - one.low) for name, one in chosen.items()
    ]
    return sum(weighted) / sum(one.weight for one in chosen.values())
