"""Joint against plain training step of the same model, side by side in one run, for every family.

    python benchmarks/joint_step.py

The method widens the projections; everything else of a step is the same. Steps alternate, and the
ratio is of medians, so that a slow spell of the machine hits both. Each family has a transformer
of its class, four blocks of 768 channels with random weights: where a published model is deeper or
wider, the projections are a smaller share of it than here. Then Wan as wide as Wan 2.1-1.3B, with
two of its 30 blocks.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from record import record
from videojam import widen
from videojam.joint.denoiser import Denoiser
from videojam.joint.find_family import family_of
from videojam.joint.inputs import text_inputs
from videojam.joint.latents import latent_channels
from videojam.joint.sizes import num_tokens, pixel_size
from videojam.objective import Objective
from videojam.training.cost import training_flops
from videojam.training.step import MicroBatch, training_loss

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))
from small_models import MODELS

_HEADS, _HEAD, _BLOCKS = 16, 48, 4
_WIDTH = _HEADS * _HEAD
# Arguments of transformers, under all the names that the classes have for them.
_SIZES: dict[str, Any] = {
    "num_attention_heads": _HEADS, "attention_head_dim": _HEAD,
    "num_cross_attention_heads": _HEADS, "cross_attention_head_dim": _HEAD,
    "cross_attention_dim": _WIDTH, "model_dim": _WIDTH, "ffn_dim": 4 * _WIDTH,
    "ff_dim": 4 * _WIDTH, "mlp_ratio": 4.0, "num_layers": _BLOCKS, "num_visual_blocks": _BLOCKS,
    "rope_axes_dim": (16, 16, 16), "axes_dims": (16, 16, 16),
    "sample_height": 16, "sample_width": 16,
}  # fmt: skip
_LATENT = (2, 16, 16)  # (t, h, w)
_OTHER_LATENT = {"Allegro": (6, 16, 16), "CogVideoX": (3, 16, 16), "CogVideoX-1.5": (4, 16, 16)}
_SAME_MODEL = ("Wan2.2-A14B", "Kandinsky-5-unconditioned")  # as another one of the list
_WAN = {
    "num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 2,
    "freq_dim": 256,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class JointStep:
    """How long to measure."""

    models: tuple[str, ...] = ()
    "Families; default all whose pipelines can be trained."
    rounds: int = 20
    threads: int = 2


def main(args: JointStep) -> None:
    torch.set_num_threads(args.threads)
    figures = {}
    for name, make in MODELS.items():
        pipe = make()
        trained = type(pipe).__name__ in family_of(pipe.transformer).pipelines
        if name in _SAME_MODEL or not trained or (args.models and name not in args.models):
            continue
        latent = _OTHER_LATENT.get(name, _LATENT)
        figures[name] = _compare(pipe, _SIZES, latent, args.rounds)
        print(name, figures[name], flush=True)
    if not args.models:
        wide = _compare(MODELS["Wan2.1"](), _WAN, (3, 16, 16), args.rounds)
        figures["Wan2.1 as wide as 1.3B, 2 blocks"] = wide
        print(record("joint_step", figures))


def _compare(
    pipe: Any, sizes: dict[str, Any], latent: tuple[int, int, int], rounds: int
) -> dict[str, Any]:
    small = pipe.transformer
    config = {key: value for key, value in small.config.items() if not key.startswith("_")}
    torch.manual_seed(0)
    base = type(small)(**config | {key: sizes[key] for key in config.keys() & sizes.keys()})
    pipe.register_modules(transformer=base)
    if type(pipe.vae).__name__ == "AutoencoderKLAllegro":  # it codes tiles alone
        pipe.vae.enable_tiling()
    size, channels = pixel_size(pipe, latent), latent_channels(pipe.vae)
    denoiser = Denoiser(pipe)
    x, d = torch.randn(2, 1, channels, *latent)
    text, null = (text_inputs(pipe, [prompt], size)[0] for prompt in ("a dog jumps", ""))
    batch = MicroBatch(x, d, [text], [0])
    models = {"plain": base, "joint": widen(base, family_of(base), channels)}

    def loss(name: str) -> torch.Tensor:
        joint = name == "joint"
        return training_loss(models[name], batch, null, Objective(), denoiser, 0, joint=joint).total

    steps = {name: _step(model, lambda name=name: loss(name)) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds + 2):
        for name in sorted(steps, reverse=bool(round_ % 2)):
            start = time.perf_counter()
            steps[name]()
            if round_ >= 2:  # warm
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    flops = {name: training_flops(lambda name=name: loss(name), models[name]) for name in models}
    return {
        "parameters": sum(p.numel() for p in base.parameters()),
        "video_tokens": num_tokens(base, latent),
        "median_seconds": medians,
        "ratio_of_medians": medians["joint"] / medians["plain"],
        "ratio_of_model_flops": flops["joint"] / flops["plain"],
        "rounds": rounds,
    }


def _step(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def step() -> None:
        loss().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    main(tyro.cli(JointStep))
