"""Samples on disk: their names, the prompts they came from, and how each was made.

A sample is NAME.mp4, NAME.motion.mp4, NAME.side.mp4 (video | motion, or base | video | motion)
and a sidecar NAME.json, written last: a sample that has one is complete. NAME comes from prompt
and seed alone, so the same sample has the same name in every run and in any list of prompts.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from safetensors.torch import save_file
from torch import Tensor

from videojam.joint.info import read_info
from videojam.joint.source import LORA_FILE
from videojam.media.video import side_by_side, write_video
from videojam.records.atomic import write_text
from videojam.records.text_files import lines
from videojam.sampling.generate import Clip

_AS_BEFORE = {
    "pipeline": {},
    "text_every": 1,
    "motion_every": 1,
    "reuse": "keep",
    "settled_cosine": None,
    "text_term": "plain",
    "motion_strength": None,
    "image_scale": 0.0,
}


def sample_name(prompt: str, seed: int) -> str:
    """File name of a sample: words to read, a hash to tell apart, the seed."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:40].rstrip("-")
    digest = hashlib.sha256(prompt.encode()).hexdigest()[:8]
    return f"{words}-{digest}-s{seed}".lstrip("-")


def write_sample(
    folder: Path,
    name: str,
    clip: Clip,
    fps: float,
    sidecar: dict[str, Any],
    base: UInt8[Tensor, "f h w 3"] | None = None,
    flow: bool = False,
) -> None:
    """Write the files of one sample; base: the base model's video; flow: also NAME.flow."""
    clips = {"": clip.video, ".motion": clip.motion}
    if base is not None:
        clips[".base"] = base
    shown = [clip.video, clip.motion] if base is None else [base, clip.video, clip.motion]
    clips[".side"] = side_by_side(*shown)
    for suffix, frames in clips.items():
        write_video(folder / f"{name}{suffix}.mp4", frames, fps)
    if flow:
        save_file({"flow": clip.flow.half()}, folder / f"{name}.flow.safetensors")
    write_sidecar(folder, name, sidecar)


def write_sidecar(folder: Path, name: str, sidecar: dict[str, Any]) -> None:
    """NAME.json, which says that the sample is complete. ValueError for NaN: JSON has none."""
    text = json.dumps(sidecar, indent=2, allow_nan=False) + "\n"
    write_text(folder / f"{name}.json", text)


def is_done(folder: Path, name: str, sample: dict[str, Any]) -> bool:
    """True if the sample is on disk, complete. ValueError if it was made in another way.

    sample: what decides the result; folders of the models and the batch size do not.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        return False
    found = json.loads(path.read_text())
    differing = [
        key
        for key in sample
        if key not in ("model", "base") and _decisive(found.get(key)) != _decisive(sample[key])
    ]
    if differing:
        raise ValueError(
            f"{path} was made with other {', '.join(differing)}; give another folder, or remove it"
        )
    return True


def _decisive(value: Any) -> Any:
    """Without what is a matter of speed, and without settings that were not there before and are
    as it was then."""
    if type(value) is not dict:
        return value
    speed = ("batch_size", "branches_at_once")
    return {k: v for k, v in value.items() if k not in speed and (k, v) not in _AS_BEFORE.items()}


def fingerprint(model: Path | str) -> str:
    """Tells models apart without reading all of them: names, sizes, first and last MiB of files.

    Of an adapter its base counts too. A hub id stands for itself. Raises ValueError for a folder
    without models.
    """
    model = Path(model)
    if not model.exists():
        return f"hub: {model}"
    files = [p for p in sorted(model.rglob("*")) if p.suffix in (".json", ".safetensors")]
    if not files:
        raise ValueError(f"{model} has no .json or .safetensors files; give a model folder")
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(model).as_posix()}:{size}:".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read())
    if (model / LORA_FILE).is_file():
        base = read_info(model).base
        digest.update((fingerprint(base) if Path(base).is_dir() else base).encode())
    return digest.hexdigest()


def read_prompts(path: Path) -> list[str]:
    """Prompts of a .txt file, one a line, or a .jsonl file, objects with a key `prompt`.

    Raises ValueError that names the line that is wrong.
    """
    if path.suffix not in (".txt", ".jsonl"):
        raise ValueError(f"{path} ends in {path.suffix!r}, expected .txt or .jsonl")
    prompts = [
        line if path.suffix == ".txt" else _prompt_of(path, number, line)
        for number, line in lines(path)
    ]
    if not prompts:
        raise ValueError(f"{path} has no prompts; write one a line")
    return prompts


def _prompt_of(path: Path, number: int, line: str) -> str:
    try:
        prompt = json.loads(line)["prompt"]
    except (ValueError, TypeError, KeyError):
        prompt = None
    if not isinstance(prompt, str) or not prompt:
        expected = '{"prompt": "a dog jumps"}'
        raise ValueError(f"{path}:{number} is {line[:80]!r}, expected an object like {expected}")
    return prompt
