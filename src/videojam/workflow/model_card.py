"""README.md of a model that is passed on: what it is, what it was made from, and how to use it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videojam.joint.info import JointInfo, read_info
from videojam.joint.source import LORA_FILE
from videojam.records.atomic import write_text


def write_card(
    folder: Path,
    info: JointInfo,
    run: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    license: str | None = None,
) -> None:
    """Write README.md; the numbers are those of the run's own files, as far as there is one.

    license: default what the base's own card says.
    """
    base = read_info(folder).base
    named = info.base if not Path(info.base).exists() else Path(info.base).name
    kind = "adapter" if (folder / LORA_FILE).is_file() else "model"
    header = ["---", "library_name: diffusers", "pipeline_tag: text-to-video", "tags: [videojam]"]
    licence = license or base_license(Path(base))
    header += [f"license: {licence}"] if licence else []
    header += [f"base_model: {info.base}"] if named == info.base and named else []
    lines = [
        *header, "---", "", f"# VideoJAM {kind} of {named or 'an unnamed base'}", "",
        "Joint appearance-motion fine-tuning (arXiv 2502.02492), made with the videojam package.",
        "", "```python", "from videojam import VideoJAM", "",
        'clip = VideoJAM.from_pretrained("this folder or repository")("a dog jumps", seed=0)',
        "```", "", "| | |", "|---|---|", *_row("Base", named),
        *_row("Revision", info.base_revision),
        *_row("License of the base", licence or "not known here; it holds for this model too"),
        *_row("Clips", f"{info.num_frames} frames of {info.height} x {info.width}, {info.fps:g} "
                       "per second"),
        *_row("Optical flow", f"{info.estimator}, sigma {info.sigma:g} on {info.background}"),
    ]  # fmt: skip
    if settings is not None:
        train = settings["train"]
        names = ("mode", "learning_rate", "global_batch_size", "optimiser",
                 "precision", "ema_decay")  # fmt: skip
        names += ("lora_rank", "lora_alpha") if train["mode"] == "lora" else ()
        for name in names:
            lines += _row(name.replace("_", " ").capitalize(), train.get(name))
        for name in ("text_dropout", "motion_dropout"):
            lines += _row(name.replace("_", " ").capitalize(), train["objective"].get(name))
    if run is not None:
        for name, value in last_metrics(run).items():
            lines += _row(name, f"{value:.6g}")
    lines += ["", "No quality metrics are part of this card but those above."]
    write_text(folder / "README.md", "\n".join(lines) + "\n")


def _row(name: str, value: Any) -> list[str]:
    return [] if value in (None, "") else [f"| {name} | {value} |"]


def base_license(base: Path) -> str | None:
    """What the front matter of a model folder's README says; None if it says nothing."""
    path = base / "README.md"
    if not path.is_file():
        return None
    lines = path.read_text("utf-8", errors="replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    for line in lines[1:]:
        if line.strip() == "---":
            return None
        name, _, value = line.partition(":")
        if name.strip() == "license" and value.strip():
            return value.strip()
    return None


def last_metrics(run: Path) -> dict[str, float]:
    """Step and the last losses of each kind in metrics.jsonl; of both experts if there are two."""
    found: dict[str, float] = {}
    for path in sorted(run.rglob("metrics.jsonl")):
        prefix = "" if path.parent == run else f"{path.parent.name} "
        for line in path.read_text().splitlines():
            try:
                values = json.loads(line)
            except ValueError:  # cut short by a kill
                continue
            found |= {
                f"{prefix}{name}": float(value)
                for name, value in values.items()
                if name == "step" or (name.startswith(("loss/", "validation/")) and "@" not in name)
            }
    return found
