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
from videojam.joint.families import FAMILIES
from videojam.objective import Objective
from videojam.training.speed import training_flops
from videojam.training.step import MicroBatch, training_loss

WAN = FAMILIES[0]
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
    x, d = torch.randn(2, batch_size, 16, *shape)
    batch = MicroBatch(x, d, [torch.randn(20, text_width)] * batch_size, list(range(batch_size)))
    steps = {"plain": _step(base, batch, False), "joint": _step(widen(base), batch, True)}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds + 2):
        for name in sorted(steps, reverse=bool(round_ % 2)):
            start = time.perf_counter()
            steps[name]()
            if round_ >= 2:  # warm
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    flops = {
        "plain": training_flops(lambda: _loss(base, batch, False)),
        "joint": training_flops(lambda: _loss(widen(base), batch, True)),
    }
    return {
        "median_seconds": medians,
        "ratio_of_medians": medians["joint"] / medians["plain"],
        "ratio_of_model_flops": flops["joint"] / flops["plain"],
        "rounds": rounds,
    }


def _step(model, batch, joint):
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def step() -> None:
        _loss(model, batch, joint).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def _loss(model, batch, joint):
    null = torch.zeros(1, batch.text[0].shape[1])
    return training_loss(model, batch, null, Objective(), WAN, seed=0, joint=joint).total


if __name__ == "__main__":
    main(tyro.cli(JointStep))
