"""The systems of a comparison: models that are sampled here, and clips from elsewhere.

videojam=run/adapter,motion_scale=3      a model folder, adapter or hub id, with its settings
base=Wan-AI/Wan2.1-T2V-1.3B-Diffusers    a hub id: plain, or joint with joint=yes
fast=run/adapter,preset=fast             the same with less passes (guidance/presets.py)
base=embedded:base                       a model in the package
sora=downloads/sora,mapping=sora.csv     a folder of clips
"""

import difflib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

from videojam.embedded.shipped import NAMES, Name, embedded
from videojam.evaluation.clips.systems import branch_weights
from videojam.guidance.presets import preset_settings
from videojam.joint.checkpoint import INFO_FILE
from videojam.sampling.pipeline import Sampling
from videojam.sampling.samples import fingerprint

_EMBEDDED = "embedded:"
_OWN = ("mapping", "joint", "fps", "preset")
_YES = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One system by name."""

    name: str
    kind: Literal["joint", "plain", "clips"]
    source: str
    "A folder, a hub id, or embedded:NAME."
    settings: dict[str, Any] = field(default_factory=dict)
    "Fields of Sampling, which win over those of the comparison."
    mapping: Path | None = None
    "Of imported clips."
    fps: float | None = None
    "Frames a second of what a plain model makes; that of the joint models by default."

    @property
    def model(self) -> Path:
        """The folder of a model (or the hub id, as a path)."""
        if self.source.startswith(_EMBEDDED):
            return embedded(cast(Name, self.source.removeprefix(_EMBEDDED)))
        return Path(self.source)

    def sampling(self, common: Sampling) -> Sampling:
        """The comparison's settings with this system's own."""
        return Sampling(**(asdict(common) | self.settings))

    def made_from(self, sampling: Sampling, dtype: str) -> dict[str, Any]:
        """What decides the clips of a model. Guidance as its weights: two ways to say the same are
        the same."""
        named = ("num_frames", "height", "width", "num_inference_steps", "negative_prompt")
        return {
            "model_fingerprint": fingerprint(self.model),
            "kind": self.kind,
            "dtype": dtype,
            "sampling": {name: getattr(sampling, name) for name in named},
            "guidance": branch_weights(sampling)
            if self.kind == "joint"
            else {"text_scale": float(sampling.text_scale)},
        }


def parse_system(text: str) -> Compared:
    """NAME=SOURCE[,setting=value...]. ValueError for another form, source or setting."""
    name, equals, rest = text.partition("=")
    source, *options = rest.split(",")
    name, source = name.strip(), source.strip()
    if not equals or not name or not source or not name.replace(" ", "").isprintable():
        raise ValueError(
            f"system {text!r}; expected NAME=SOURCE[,setting=value...], such as "
            "videojam=run/adapter,motion_scale=3 or sora=clips/sora"
        )
    given: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise ValueError(f"system {name}: {option!r} is no setting=value")
        given[key.strip().replace("-", "_")] = value.strip()
    known = {one.name: one.type for one in fields(Sampling)}
    for key in given:
        if key not in known and key not in _OWN:
            near = difflib.get_close_matches(key, [*known, *_OWN], n=1, cutoff=0.0)
            raise ValueError(f"system {name}: no setting {key!r}; did you mean {near[0]!r}?")
    kind = _kind(name, source, given.pop("joint", None))
    mapping, fps, preset = (given.pop(one, None) for one in ("mapping", "fps", "preset"))
    if kind == "clips" and (given or fps or preset):
        raise ValueError(
            f"system {name} is a folder of clips, which has no {', '.join(given) or 'fps'} to set"
        )
    if kind != "clips" and mapping:
        raise ValueError(f"system {name} is a model; mapping is for a folder of clips")
    settings = {key: _value(name, key, str(known[key]), value) for key, value in given.items()}
    try:
        settings = preset_settings(preset or "paper") | settings
    except ValueError as error:
        raise ValueError(f"system {name}: {error}") from error
    return Compared(
        name=name,
        kind=kind,
        source=source,
        settings=settings,
        mapping=Path(mapping) if mapping else None,
        fps=float(fps) if fps else None,
    )


def _kind(name: str, source: str, joint: str | None) -> Literal["joint", "plain", "clips"]:
    if joint is not None and joint.lower() not in _YES:
        raise ValueError(f"system {name}: joint is {joint!r}, expected yes or no")
    if source.startswith(_EMBEDDED):
        model = source.removeprefix(_EMBEDDED)
        if model not in NAMES:
            raise ValueError(f"system {name}: no embedded model {model!r}; {', '.join(NAMES)}")
        return "joint" if model == "videojam" else "plain"
    folder = Path(source)
    if folder.is_dir():
        if (folder / INFO_FILE).is_file():
            return "joint"
        if (folder / "model_index.json").is_file():
            return "plain"
        return "clips"
    if folder.is_absolute() or source.count("/") != 1 or source.startswith((".", "~")):
        raise ValueError(
            f"system {name}: {source} is no folder, and not a hub id (owner/model) either"
        )
    return "joint" if _YES.get((joint or "no").lower()) else "plain"


def _value(system: str, key: str, kind: str, text: str) -> Any:
    if "str" in kind or "Literal" in kind or "Mode" in kind:
        return text
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        raise ValueError(f"system {system}: {key} is {text!r}, expected a number") from None
