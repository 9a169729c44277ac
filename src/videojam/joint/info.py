"""videojam.json: what a joint model was trained on, and what sampling from it needs to know.

A file of its own, because diffusers warns about unknown keys in a transformer's config. Readers
take files of any version: keys that they do not know are kept, keys that are missing get a default
where there is a sensible one.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from videojam.joint.base import located, portable
from videojam.records.atomic import write_text
from videojam.records.provenance import versions

INFO_FILE = "videojam.json"
FORMAT = 2  # of this file; 1 had no number, and the base as it was typed


@dataclass(frozen=True, kw_only=True, slots=True)
class JointInfo:
    """What a joint model was trained on; sampling and decoding the motion half need it."""

    sigma: float = 0.15
    "Share of the frame diagonal at which the motion colour saturates."
    background: str = "black"
    "Colour of no motion: black or white."
    estimator: str = "unknown"
    "Optical flow estimator of the training data, with its settings."
    fps: float
    height: int
    width: int
    num_frames: int
    base: str = ""
    "Hub id or folder of the base model; in the file a folder is relative to it."
    base_revision: str | None = None
    "Commit of the base on the hub."
    base_fingerprint: str | None = None
    "Of the base's weights (fingerprint.py); only adapters need it."
    text_dropout: float | None = None
    motion_dropout: float | None = None
    "Probabilities of the training's dropouts, the paper's 0.3 and 0.2."
    text_scale: float | None = None
    motion_scale: float | None = None
    num_inference_steps: int | None = None
    "What whoever made the model recommends for sampling; None: the paper's."
    version: str | None = None
    "Of videojam that wrote the file."
    further: Mapping[str, Any] | None = None
    "Keys of the file that this version does not know."


def write_info(folder: Path, info: JointInfo) -> None:
    """Write videojam.json; a base that is a folder is named relative to `folder`."""
    base, revision = portable(info.base, info.base_revision, folder)
    data = asdict(info) | {"base": base, "base_revision": revision}
    further = data.pop("further") or {}
    data["version"] = versions().get("videojam")
    known = {key: value for key, value in data.items() if value is not None}
    text = json.dumps(further | {"format": FORMAT} | known, indent=2)
    write_text(folder / INFO_FILE, text + "\n")


def read_info(folder: Path | str) -> JointInfo:
    """Read videojam.json.

    Raises ValueError if there is none, it is no JSON object, a value has another type than
    expected, or a key without a default is missing.
    """
    path = Path(folder) / INFO_FILE
    if not path.is_file():
        raise ValueError(
            f"{folder} has no {INFO_FILE}, so it is not a VideoJAM model; give a folder, adapter "
            "or hub id that `videojam train` or `videojam export` made"
        )
    try:
        data = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds a {type(data).__name__}, expected an object")
    if data.get("format", 1) > FORMAT:
        warnings.warn(
            f"{path} is of format {data['format']}, written by videojam {data.get('version')}; "
            f"this version knows {FORMAT} and ignores what is new",
            stacklevel=2,
        )
    known = {one.name: one for one in fields(JointInfo) if one.name != "further"}
    missing = [name for name, one in known.items() if one.default is MISSING and name not in data]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: of the clips that it was trained on")
    values = {name: _checked(path, name, data[name]) for name in known if name in data}
    further = {k: v for k, v in data.items() if k not in known and k != "format"}
    values["base"] = located(data.get("base") or "", Path(folder))
    return JointInfo(**values, further=further or None)


_NUMBERS = ("sigma", "fps", "text_dropout", "motion_dropout", "text_scale", "motion_scale")
_COUNTS = ("height", "width", "num_frames", "num_inference_steps")


def _checked(path: Path, name: str, value: Any) -> Any:
    expected = (int, float) if name in _NUMBERS else (int,) if name in _COUNTS else (str,)
    unset = value is None and name not in ("sigma", "fps", "height", "width", "num_frames")
    if not unset and (not isinstance(value, expected) or isinstance(value, bool)):
        names = " or ".join(kind.__name__ for kind in expected)
        raise ValueError(f"{path} has {name} = {value!r}, expected {names}")
    return value
