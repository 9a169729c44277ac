"""Do raters agree with each other? Krippendorff's alpha over pairs, nominal."""

from collections.abc import Iterable

import krippendorff
import numpy as np

from videojam.study.analysis.answers import Answer
from videojam.study.plan import CHOICES


def krippendorff_alpha(answers: Iterable[Answer], question: str) -> float | None:
    """1 for raters who always agree, 0 for chance; None where no pair has two answers.

    Also None where all answers are the same: then there is nothing to agree about.
    """
    counts: dict[int, np.ndarray] = {}
    for answer in answers:
        if answer.kind == "pair" and answer.question == question:
            row = counts.setdefault(answer.film, np.zeros(len(CHOICES), int))
            row[CHOICES.index(answer.choice)] += 1
    table = np.array([row for row in counts.values() if row.sum() >= 2])
    if not len(table) or (table.sum(0) > 0).sum() < 2:
        return None
    return float(krippendorff.alpha(value_counts=table, level_of_measurement="nominal"))
