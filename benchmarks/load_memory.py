"""What loading takes in memory, against the size of the files.

    python benchmarks/load_memory.py

A Wan of random weights in bfloat16, small layers but many of them, so that weights outweigh
everything else. Each case is a process of its own; its figure is the highest resident memory less
what it had after importing everything, in MiB:

    folder        VideoJAM.from_pretrained of a joint folder
    as float32    the same with dtype=float32, for comparison
    with base     what `videojam generate --base` loads: the joint model and its base
    twice         both without sharing, for comparison

All weights are read once after loading: until then they are mapped from the file and take nothing.
Mapped pages count as resident, as they do for a user who looks at his system's monitor.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import record

CASE = """
import json, sys
import torch
torch.set_num_threads(1)
import diffusers, transformers
from diffusers import WanPipeline, AutoencoderKLWan
from transformers import UMT5EncoderModel
from videojam.cli.generate import GenerateArgs, _load_base
from videojam import VideoJAM
from pathlib import Path

def high():  # of this program alone: ru_maxrss would begin at what the parent had
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

before = high()
case, joint, base = sys.argv[1:]
jam = VideoJAM.from_pretrained(joint, torch.float32 if case == "as float32" else None)
if case in ("with base", "twice"):
    args = GenerateArgs(out=Path("o"), prompt=("a",), base=base,
                        offload="model" if case == "twice" else "none")
    other = _load_base(args, jam, None)
    assert (other.vae is jam.pipe.vae) == (case == "with base")

def touch(pipe):  # weights stay in the file until they are read: read a number of every page
    for component in pipe.components.values():
        if isinstance(component, torch.nn.Module):
            for weight in component.parameters():
                weight.detach().flatten()[::1024].sum()

touch(jam.pipe)
if case in ("with base", "twice"):
    touch(other)
print(json.dumps(high() - before))
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder)
        sizes = {model: _mib(folder / model) for model in ("base", "joint")}
        shared = _mib(folder / "base" / "text_encoder") + _mib(folder / "base" / "vae")
        cases: dict[str, Any] = {}
        for case in ("folder", "as float32", "with base", "twice"):
            done = subprocess.run(
                [sys.executable, "-c", CASE, case, str(folder / "joint"), str(folder / "base")],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            cases[case] = round(json.loads(done.stdout.splitlines()[-1]), 1)
    figures = {"files, MiB": sizes | {"text encoder and VAE": shared}, "highest, MiB": cases}
    print(record("load_memory", figures).read_text())


def _write(folder: Path) -> None:
    import torch

    from videojam.joint.checkpoint import JointInfo, save_folder
    from videojam.joint.widen import widen
    from videojam.models.small_wan import SmallWan, small_wan_pipeline

    sizes = SmallWan(num_layers=40, num_heads=12, head_dim=64, text_width=1024, text_layers=24)
    pipe = small_wan_pipeline(sizes).to(torch.bfloat16)
    pipe.save_pretrained(folder / "base")
    pipe.register_modules(transformer=widen(pipe.transformer))
    info = JointInfo(fps=16.0, height=64, width=64, num_frames=17, base=str(folder / "base"))
    save_folder(pipe, folder / "joint", info)


def _mib(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / 2**20, 1)


if __name__ == "__main__":
    main()
