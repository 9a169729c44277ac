"""lab.json in a model's folder: the clips that it was trained on, for who asks it for others."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from videojam.joint.checkpoint import read_info
from videojam.lab.clips import Lab
from videojam.records.atomic import write_text

LAB_FILE = "lab.json"


def write_lab(folder: Path, lab: Lab) -> None:
    """Beside the model's own files."""
    write_text(folder / LAB_FILE, json.dumps(asdict(lab), indent=2) + "\n")


def lab_of(folder: Path, seed: int) -> Lab:
    """Clips as a joint model in `folder` was trained on, of another seed.

    A model without the file was trained on all types with a quiet background, at its own size.
    """
    if (folder / LAB_FILE).is_file():
        known = json.loads((folder / LAB_FILE).read_text())
        return replace(Lab(**known | {"types": tuple(known["types"])}), seed=seed)
    info = read_info(folder)
    return Lab(
        frames=info.num_frames, fps=info.fps, height=info.height, width=info.width, seed=seed
    )
