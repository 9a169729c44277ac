"""What was measured of the embedded models, as it was recorded (recorded.json in this folder).

`python benchmarks/demo_record.py` writes that file from the results of the two comparisons; a test
holds the two equal.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from videojam.evaluation.statistics.bootstrap import Interval

RECORDED = Path(__file__).parent / "recorded.json"


class Measured(NamedTuple):
    """One comparison."""

    metric: str
    systems: dict[str, Interval]
    differences: dict[str, Interval]
    "`A - B` -> of the metric, on the same captions and noises."
    over: str
    "What the intervals are over."
    setting: dict[str, Any]
    "How the clips were sampled."
    command: str
    commit: str


def recorded() -> dict[str, Measured]:
    """`line` and `scenes`."""
    found = {}
    for name, own in json.loads(RECORDED.read_text()).items():
        own["systems"] = {k: Interval(**v) for k, v in own["systems"].items()}
        own["differences"] = {k: Interval(**v) for k, v in own["differences"].items()}
        found[name] = Measured(**own)
    return found


def verdict(difference: Interval) -> str:
    """In a word, by where the 95 % interval lies."""
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "no difference seen"
