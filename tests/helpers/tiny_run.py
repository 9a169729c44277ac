"""A complete training run in seconds; also a script, so that tests can kill it.

python tiny_run.py OUT [field=value ...]
"""

import ast
import itertools
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from videojam.joint.checkpoint import JointInfo
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.training.checkpoints import checkpoints
from videojam.training.config import TrainConfig
from videojam.training.loop import TrainingData, train
from videojam.training.parallel import readers, share
from videojam.training.step import MicroBatch

SIZES = SmallWan(num_layers=2, num_heads=2, head_dim=16, text_width=16, text_layers=1)


def base_pipeline():
    """The base: random, but with nothing left at zero."""
    pipe = small_wan_pipeline(SIZES)
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in pipe.transformer.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=g))
    return pipe


def two_experts():
    """A pipeline of two transformers, as Wan 2.2 A14B."""
    from diffusers import WanPipeline

    pipe, other = base_pipeline(), base_pipeline()
    with torch.no_grad():
        for parameter in other.transformer.parameters():
            parameter.mul_(0.9)
    parts = {**pipe.components, "transformer_2": other.transformer}
    return WanPipeline(**parts, boundary_ratio=0.875)


def tiny_data(config, poison_step=None):
    """Eight random samples; `poison_step` has a NaN in it."""
    g = torch.Generator().manual_seed(1)
    x, d = torch.randn(2, 8, 16, 2, 4, 4, generator=g)
    text = [{"encoder_hidden_states": torch.zeros(8, 16)} for _ in range(8)]
    for i, one in enumerate(text):  # padded to one length, as pipelines do
        one["encoder_hidden_states"][: 1 + i] = torch.randn(1 + i, 16, generator=g)
    total = config.global_batch_size
    mine = share(total, *readers(config))

    def batches(start):
        for step in itertools.count(start):
            numbers = [step * total + place for place in mine]
            rows = [n % 6 for n in numbers]
            clips = x[rows].clone()
            if step + 1 == poison_step:
                clips[0, 0] = torch.nan
            yield MicroBatch(clips, d[rows], [text[r] for r in rows], numbers)

    return TrainingData(
        batches=batches,
        held_out=[lambda: MicroBatch(x[6:], d[6:], text[6:], [6, 7])],
        null_text={"encoder_hidden_states": torch.zeros(8, 16)},
    )


def tiny_config(out, **changes):
    settings = {
        "mode": "full", "steps": 12, "global_batch_size": 2, "learning_rate": 1e-3,
        "precision": "fp32", "checkpoint_every": 4, "validate_every": 6, "log_every": 2,
        "lora_rank": 4,
    }  # fmt: skip
    return TrainConfig(out=Path(out), **settings | changes)


def tiny_info(base="nowhere"):
    return JointInfo(
        sigma=0.15, background="black", estimator="DIS()", fps=8.0, height=32, width=32,
        num_frames=5, base=str(base),
    )  # fmt: skip


def tiny_train(
    out, poison_step=None, pipe=None, base="nowhere", sample=None, experts=False, **changes
):
    config = tiny_config(out, **changes)
    pipe = pipe or (two_experts() if experts else base_pipeline())
    return train(
        config,
        pipe,
        tiny_data(config, poison_step),
        tiny_info(base),
        sample,
    )


def saved(out, what="weights"):
    """The tensors of the newest checkpoint of a run whose model was not divided."""
    folder = checkpoints(Path(out) / "checkpoints")[-1] / what
    return {k: v for file in folder.iterdir() for k, v in load_file(file).items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    options = dict(argument.split("=", 1) for argument in sys.argv[2:])
    print("ready", flush=True)
    tiny_train(sys.argv[1], **{key: ast.literal_eval(value) for key, value in options.items()})
