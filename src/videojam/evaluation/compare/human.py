"""Votes of people, measured elsewhere, for the columns that the paper's tables have."""

import csv
from collections.abc import Sequence
from pathlib import Path

from videojam.evaluation.report.layout import HUMAN


def read_human(path: Path, systems: Sequence[str]) -> dict[str, dict[str, float]]:
    """system -> question -> per cent of votes for the subject. An empty cell is left out.

    Raises ValueError for a missing file or column, an unknown system, or no per cent.
    """
    if not path.is_file():
        raise ValueError(f"--human {path} does not exist")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [c for c in ("system", *HUMAN) if c not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}")
        found = {}
        for row in reader:
            if row["system"] not in systems:
                raise ValueError(
                    f"{path}:{reader.line_num} is of {row['system']!r}, which is none of "
                    f"{', '.join(systems)}"
                )
            found[row["system"]] = {
                c: _percent(path, reader.line_num, row[c]) for c in HUMAN if row[c]
            }
    return found


def _percent(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise ValueError(f"{path}:{line} has {text!r}, expected per cent from 0 to 100")
    return value
