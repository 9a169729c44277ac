"""Write the figures of a benchmark to benchmarks/results/NAME.json, with where they come from.

from record import record
record("inner_guidance", {"seconds": 1.2})
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from videojam.records.provenance import commit, machine, versions

RESULTS = Path(__file__).parent / "results"


def record(name: str, figures: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write one result file, replacing the last one of this name; returns its path.

    commit is null, and dirty true, where the code runs from no git commit.
    """
    at = commit()
    content = {
        "name": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "commit": at.hash if at else None,
        "dirty": at.dirty if at else True,
        "figures": figures,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path
