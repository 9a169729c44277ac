"""Which differences of the published comparison on the lab survive Holm's correction.

    python benchmarks/lab_holm.py

Its clips' own records were not kept, so p is taken from the printed 95 % intervals, as if they were
normal: z = mean / (width / 3.92). All differences over all scenes are exploratory. Also by how much
the intervals of today, taken further out (bootstrap.py), are wider than these percentiles.
"""

import json
from statistics import NormalDist

from record import RESULTS, record
from videojam.evaluation.statistics.bootstrap import expanded_tail
from videojam.evaluation.statistics.several import LEVEL, holm

NORMAL = NormalDist()


def p_of(cell: dict[str, float]) -> float:
    z = abs(cell["mean"]) / ((cell["high"] - cell["low"]) / 3.92)
    return 2 * (1 - NORMAL.cdf(z))


def main() -> None:
    published = json.loads((RESULTS / "lab_comparison_quiet.json").read_text())["figures"]
    cells = {
        f"{pair}: {metric}": cell
        for pair, groups in published["differences"].items()
        for metric, cell in groups["all"].items()
    }
    adjusted = dict(zip(cells, holm([p_of(cell) for cell in cells.values()]), strict=True))
    captions = next(iter(cells.values()))["num_clusters"]
    wider = -NORMAL.inv_cdf(expanded_tail(captions)) / -NORMAL.inv_cdf(0.025) - 1
    figures = {
        "differences": len(cells),
        "survive": {name: round(p, 5) for name, p in adjusted.items() if p < LEVEL},
        "captions": captions,
        "intervals_of_today_wider_by_per_cent": round(100 * wider, 2),
    }
    print(record("lab_holm", figures).read_text())


if __name__ == "__main__":
    main()
