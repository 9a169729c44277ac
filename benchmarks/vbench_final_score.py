"""Our aggregates against VBench's own final-score code, on the paper's rows and on random scores.

    python benchmarks/vbench_final_score.py VBENCH/scripts

The folder holds constant.py and cal_final_score.py of Vchitect/VBench (they are in its repository,
not in the package on the index). Nothing of it is copied here.
"""

import argparse
import random
import sys
from pathlib import Path
from typing import Any

from record import record
from videojam.evaluation.report.published import checks, published
from videojam.evaluation.vbench.aggregate import DIMENSIONS, GROUPS, aggregate_vbench


def theirs(code: Any, scores: dict[str, float]) -> dict[str, float]:
    """All aggregates by their functions; those of the paper from their normalised scores."""
    named = {name.replace("_", " "): value for name, value in scores.items()}
    normalised = code.get_nomalized_score({key: 0 for key in code.TASK_INFO} | named)

    def group(names: tuple[str, ...]) -> float:
        keys = [name.replace("_", " ") for name in names]
        return sum(normalised[key] for key in keys) / sum(code.DIM_WEIGHT[key] for key in keys)

    quality, semantic = code.get_quality_score(normalised), code.get_semantic_score(normalised)
    return {
        "appearance": group(GROUPS["appearance"]), "motion": group(GROUPS["motion"]),
        "quality": quality, "semantic": semantic,
        "total": code.get_final_score(quality, semantic),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scripts", type=Path)
    sys.path.insert(0, str(parser.parse_args().scripts))
    import cal_final_score as code

    rows = [
        dict(zip(table.columns, (v / 100 for v in row if v is not None), strict=True))
        for table in published().values()
        if table.kind == "dimensions"
        for row in table.rows.values()
    ]
    dice = random.Random(0)
    rows += [{name: dice.random() for name in DIMENSIONS} for _ in range(1000)]
    worst = 0.0
    for row in rows:
        ours, other = aggregate_vbench(row), theirs(code, row)
        worst = max(worst, *(abs(value - other[name]) for name, value in ours.items()))
    largest = max(checks(), key=lambda check: abs(check.difference))
    figures = {
        "rows": len(rows), "largest_difference_to_vbench": worst,
        "largest_difference_to_the_paper_points": abs(largest.difference),
        "of": f"{largest.aggregate} of {largest.system}, Table {largest.table}",
    }  # fmt: skip
    print(figures)
    print(record("vbench_final_score", figures))


if __name__ == "__main__":
    main()
