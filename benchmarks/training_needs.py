"""Memory, disk and time of training five models, by arithmetic: nothing is measured.

    python benchmarks/training_needs.py

Folders with nothing but configs of the published sizes, and `videojam info` on each of them.
"""

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from record import record
from videojam.cli.main import main as videojam
from videojam.models.moviegen import PRESETS, MovieGenTransformer3DModel

_WAN = ("diffusers", "WanTransformer3DModel")
_GEN = (MovieGenTransformer3DModel.__module__, "MovieGenTransformer3DModel")
_HEAD = {"attention_head_dim": 128}
# 81 frames of 480 x 832; Wan 2.2's autoencoder compresses 4 x 16 x 16, the others 4 x 8 x 8.
MODELS: dict[str, tuple[tuple[str, str], dict[str, Any], tuple[int, int, int]]] = {
    "1.3B (Wan 2.1)": (
        _WAN,
        _HEAD | {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30},
        (21, 60, 104),
    ),
    "5B (Wan 2.2 TI2V)": (
        _WAN,
        _HEAD
        | {"num_attention_heads": 24, "ffn_dim": 14336, "num_layers": 30}
        | {"in_channels": 48, "out_channels": 48},
        (21, 30, 52),
    ),
    "14B (Wan 2.1)": (
        _WAN,
        _HEAD | {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40},
        (21, 60, 104),
    ),
    "14B I2V (Wan 2.1)": (
        _WAN,
        _HEAD
        | {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40}
        | {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120},
        (21, 60, 104),
    ),
    "30B (Movie Gen)": (_GEN, PRESETS["dit-30b"], (21, 60, 104)),
}
ARGUMENTS = ["--card", "24GB", "80GB", "--processes", "1", "8", "--tflops", "400"]


def write_configs(folder: Path, kind: tuple[str, str], config: dict[str, Any]) -> None:
    """A model folder without weights."""
    index = {
        "_class_name": "WanPipeline", "_diffusers_version": "0.42.1",
        "transformer": kind, "vae": ("diffusers", "AutoencoderKLWan"),
        "text_encoder": ("transformers", "UMT5EncoderModel"),
        "scheduler": ("diffusers", "UniPCMultistepScheduler"),
    }  # fmt: skip
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "transformer" / "config.json").write_text(
        json.dumps({"_class_name": kind[1], **config})
    )


def main() -> None:
    tables = {}
    for name, (kind, config, latent) in MODELS.items():
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root) / "model"
            write_configs(folder, kind, config)
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                videojam(["info", str(folder), "--latent", *map(str, latent), *ARGUMENTS])
        tables[name] = printed.getvalue().replace(root, "").splitlines()
        print(f"### {name}\n\n{printed.getvalue()}", flush=True)
    record("training_needs", {"arguments": ARGUMENTS, "arithmetic": tables})


if __name__ == "__main__":
    main()
