"""videojam calibrate: the ratios that MagCache needs, of a model under its guidance."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from videojam.cli.default_model import default_model
from videojam.records.atomic import write_text
from videojam.sampling.caches import mag_ratios
from videojam.sampling.generate import VideoJAM
from videojam.sampling.pipeline import Sampling
from videojam.sampling.samples import fingerprint


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrateArgs(Sampling):
    """Measure MagCache's ratios of a joint model; sample with `generate --cache mag=OUT`."""

    out: Path
    "File to write, .json."
    prompt: tuple[str, ...]
    "Prompts to measure on; a few are enough."
    model: str | None = None
    "Folder, adapter or hub id of a joint model; default the embedded small model."
    seed: int = 0
    device: str | None = None
    "Default: cuda where there is one, else cpu."


def main(args: CalibrateArgs) -> None:
    """Write them."""
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = args.model or str(default_model())
    dtype = torch.float32 if device == "cpu" else None
    jam = VideoJAM.from_pretrained(model, dtype, device=device)
    sampling = Sampling(**{field.name: getattr(args, field.name) for field in fields(Sampling)})
    ratios = mag_ratios(jam, [(prompt, args.seed) for prompt in args.prompt], sampling)
    found = {
        "mag_ratios": [round(ratio, 6) for ratio in ratios],
        "num_inference_steps": sampling.num_inference_steps,
        "model_fingerprint": fingerprint(model),
    }
    write_text(args.out, json.dumps(found, indent=2) + "\n")
    print(f"wrote {args.out}; sample with `videojam generate --cache mag={args.out}`")
