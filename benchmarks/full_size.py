"""The published Wan 2.1-1.3B configuration, random weights: widened, one LoRA step, on a CPU.

    python benchmarks/full_size.py --out runs/full-size

Through the same loop as any training: start-up check, checkpoint and adapter included.
"""

import itertools
import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
import tyro
from diffusers import WanTransformer3DModel

from record import record
from videojam.joint.checkpoint import JointInfo
from videojam.joint.families import FAMILIES
from videojam.training.config import TrainConfig
from videojam.training.loop import TrainingData, train
from videojam.training.speed import peak_memory_gib
from videojam.training.step import MicroBatch

WAN_1_3B = {
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 8960,
    "num_layers": 30,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
}


@dataclass(frozen=True, kw_only=True)
class FullSize:
    """What to train on."""

    out: Path = Path("runs/full-size")
    "Emptied first."
    latent: tuple[int, int, int] = (3, 16, 16)
    "Latent frames, height, width; (3, 16, 16) is 9 frames of 128 x 128."
    steps: int = 1
    rank: int = 64


class Pipe(SimpleNamespace):
    """As much of a pipeline as training needs: text and pixels are encoded beforehand."""

    def register_modules(self, **modules):
        self.__dict__.update(modules)


def main(args: FullSize) -> None:
    torch.set_num_threads(2)
    shutil.rmtree(args.out, ignore_errors=True)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    start = time.perf_counter()
    transformer = WanTransformer3DModel(**WAN_1_3B)
    torch.set_default_dtype(torch.float32)
    for name, parameter in transformer.named_parameters():  # as from_pretrained loads it
        if any(part in name for part in transformer._keep_in_fp32_modules):
            parameter.data = parameter.data.float()
    built = time.perf_counter() - start
    memory_base = peak_memory_gib(torch.device("cpu"))

    x, d = torch.randn(2, 1, 16, *args.latent)
    text = [torch.randn(30, 4096)]
    data = TrainingData(
        batches=lambda start: ([MicroBatch(x, d, text, [n])] for n in itertools.count(start)),
        validation=lambda: iter(()),
        null_text=torch.zeros(1, 4096),
    )
    config = TrainConfig(
        out=args.out, mode="lora", steps=args.steps, lora_rank=args.rank, learning_rate=1e-4,
        precision="bf16", gradient_checkpointing=True, validate_every=0, log_every=1,
    )  # fmt: skip
    info = JointInfo(
        sigma=0.15, background="black", estimator="none", fps=16.0, height=8 * args.latent[1],
        width=8 * args.latent[2], num_frames=4 * args.latent[0] - 3, base="random Wan 2.1-1.3B",
    )  # fmt: skip
    pipe = Pipe(transformer=transformer)
    parameters = sum(p.numel() for p in transformer.parameters())
    del transformer
    start = time.perf_counter()
    train(config, pipe, FAMILIES[0], data, info)
    whole = time.perf_counter() - start
    log = json.loads((args.out / "metrics.jsonl").read_text().splitlines()[-1])
    model = pipe.transformer
    figures = {
        "base_parameters": parameters,
        "dtypes": dict(Counter(str(p.dtype) for p in model.parameters())),
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "config_channels": [model.config.in_channels, model.config.out_channels],
        "tokens": args.latent[0] * args.latent[1] * args.latent[2] // 4,
        "text_tokens": FAMILIES[0].text_length,
        "seconds_to_build": built,
        "seconds_per_step": 1 / log["steps_per_s"],
        "seconds_of_the_run": whole,
        "model_flop_utilisation": log["model_flop_utilisation"],
        "peak_memory_gib_base_alone": memory_base,
        "peak_memory_gib": log["peak_memory_gib"],
        "losses": {key: log[key] for key in ("loss/appearance", "loss/motion")},
        "adapter_mib": {
            path.name: path.stat().st_size / 2**20 for path in (args.out / "adapter").iterdir()
        },
    }
    print(record("full_size", figures).read_text())


if __name__ == "__main__":
    main(tyro.cli(FullSize))
