"""Joint against plain training step of the same model, side by side in one run.

    python benchmarks/joint_step.py

The method widens two projections; everything else of a step is the same. Steps alternate, and the
ratio is of medians, so that a slow spell of the machine hits both. Two sizes: the small Wan, where
the projections are a visible share, and one as wide as Wan 2.1-1.3B with two of its 30 blocks.
"""

import statistics
import time
from dataclasses import dataclass

import torch
import tyro
from diffusers import WanTransformer3DModel

from record import record
from videojam import widen
from videojam.joint.denoiser import Denoiser
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.objective import Objective
from videojam.training.speed import training_flops
from videojam.training.step import MicroBatch, training_loss

MODELS = {
    # (heads, head width, feed-forward, blocks, text width), latent (frames, height, width), batch
    "small Wan, 17x64x64": ((4, 32, 512, 4, 64), (5, 8, 8), 4),
    "Wan 1.3B width, 2 blocks, 9x128x128": ((12, 128, 8960, 2, 4096), (3, 16, 16), 1),
}


@dataclass(frozen=True, kw_only=True)
class JointStep:
    """How long to measure."""

    rounds: int = 30
    threads: int = 2


def main(args: JointStep) -> None:
    torch.set_num_threads(args.threads)
    figures = {
        name: _compare(sizes, shape, batch, args.rounds)
        for name, (sizes, shape, batch) in MODELS.items()
    }
    print(record("joint_step", figures).read_text())


def _compare(sizes, shape, batch_size, rounds) -> dict:
    heads, width, feed_forward, blocks, text_width = sizes
    torch.manual_seed(0)
    base = WanTransformer3DModel(
        num_attention_heads=heads, attention_head_dim=width, ffn_dim=feed_forward,
        num_layers=blocks, text_dim=text_width,
    )  # fmt: skip
    pipe = small_wan_pipeline(SmallWan(num_layers=1, text_width=text_width, text_layers=1))
    pipe.register_modules(transformer=base)
    denoiser = Denoiser(pipe)
    x, d = torch.randn(2, batch_size, 16, *shape)
    text = {"encoder_hidden_states": torch.randn(512, text_width)}
    batch = MicroBatch(x, d, [text] * batch_size, list(range(batch_size)))
    models = {"plain": base, "joint": widen(base)}

    def loss(name: str) -> torch.Tensor:
        null, joint = {k: 0 * v for k, v in text.items()}, name == "joint"
        parts = training_loss(models[name], batch, null, Objective(), denoiser, 0, joint=joint)
        return parts.total

    steps = {name: _step(model, lambda name=name: loss(name)) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds + 2):
        for name in sorted(steps, reverse=bool(round_ % 2)):
            start = time.perf_counter()
            steps[name]()
            if round_ >= 2:  # warm
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    flops = {name: training_flops(lambda name=name: loss(name)) for name in models}
    return {
        "median_seconds": medians,
        "ratio_of_medians": medians["joint"] / medians["plain"],
        "ratio_of_model_flops": flops["joint"] / flops["plain"],
        "rounds": rounds,
    }


def _step(model, loss):
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def step() -> None:
        loss().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    main(tyro.cli(JointStep))
