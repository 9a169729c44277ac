"""What a training of a model takes, before anything but configs is loaded: the arithmetic's tables.

videojam info MODEL --card 24GB 80GB          ways to train it
videojam train ... --dry-run                  one training, on its dataset
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videojam.data import dataset
from videojam.data.prepare.prepare import samples_path
from videojam.data.run_folder import load_null_text
from videojam.joint.find_family import family_of
from videojam.joint.sizes import num_tokens
from videojam.joint.source import empty_transformer
from videojam.models.info import describe
from videojam.models.needs import (
    GIB,
    Counts,
    Setup,
    card_bytes,
    checkpoint_bytes,
    count,
    fits,
    memory,
    sample_flops,
    sustained,
)
from videojam.records.object_store import Location
from videojam.training.config import TrainConfig
from videojam.training.cost import sustained_flops
from videojam.training.model import trainable_model
from videojam.training.parallel import processes, readers, share
from videojam.workflow.datasets import joint_info, rows_of, weights_of

_SHAPE = "latent_shape"
_UTILISATION = 0.4  # of a large matrix product's rate, where no rate is stated

_SMALL: dict[str, Any] = {"gradient_checkpointing": True}
WAYS: dict[str, dict[str, Any]] = {
    "LoRA": {},
    "LoRA, checkpointing": _SMALL,
    "LoRA, checkpointing, float8": _SMALL | {"frozen_storage": "float8"},
    "LoRA, checkpointing, nf4": _SMALL | {"frozen_storage": "nf4"},
    "LoRA, checkpointing, offloaded": _SMALL | {"offload_blocks": True},
    "full, checkpointing": _SMALL | {"mode": "full"},
    "full, checkpointing, 8-bit Adam": _SMALL | {"mode": "full", "optimiser": "adamw8bit"},
    "full, checkpointing, Adam on the CPU": _SMALL | {"mode": "full", "optimiser_on_cpu": True},
}
"Ways to train that `info` compares; with several processes those that can be are sharded, too."


def sizes_of(model: str, config: TrainConfig) -> tuple[Any, Counts]:
    """The model to train without values, and its sizes; only configs are read."""
    from accelerate import init_empty_weights

    transformer = empty_transformer(model)
    with init_empty_weights():
        made = trainable_model(
            transformer, config, family_of(transformer), describe(model).channels
        )
    return made, count(made)


def setup_of(config: TrainConfig, number: int) -> Setup:
    """What the arithmetic has to know of a configuration on so many processes."""
    mine = -(-config.global_batch_size * config.context_parallel // number)
    return Setup(
        mode=config.mode,
        precision=config.precision,
        gradient_checkpointing=config.gradient_checkpointing,
        optimiser=config.optimiser,
        optimiser_on_cpu=config.optimiser_on_cpu,
        average=config.ema_decay is not None,
        frozen_storage=config.frozen_storage,
        offload_blocks=config.offload_blocks,
        micro_batch=min(config.micro_batch_size or mine, mine),
        processes=number,
        sharded=config.sharding != "none",
        context_parallel=config.context_parallel,
    )


def ways_table(
    model: str,
    cards: Sequence[str],
    numbers: Sequence[int],
    latent: tuple[int, int, int],
    text_tokens: int,
    tflops: float | None,
) -> str:
    """Markdown: every way to train a model with one sample for each process, and where it fits.

    numbers: of processes. tflops: that a device sustains; None leaves the time out.
    """
    memories = {card: card_bytes(card) for card in cards}
    head = ["way", "GiB", "weights", "gradients", "optimiser", "passing", "activations"]
    head += ["checkpoint"] + ["s/sample"] * (tflops is not None) + [*memories]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    found: dict[str, tuple[Any, Counts]] = {}
    for number in numbers:
        for name, settings in WAYS.items():
            for sharding in ("none", "full") if number > 1 else ("none",):
                try:
                    config = TrainConfig(
                        out=Path("."), sharding=sharding, global_batch_size=number, **settings
                    )
                except ValueError:  # does not go together
                    continue
                if config.mode not in found:
                    found[config.mode] = sizes_of(model, config)
                transformer, counts = found[config.mode]
                tokens = num_tokens(transformer, latent)
                setup = setup_of(config, number)
                parts = memory(counts, setup, tokens)
                shown = {k: f"{v / GIB:.1f}" for k, v in parts.items() if k != "average"}
                cells = [
                    name + f", {number} processes" * (number > 1) + ", sharded" * setup.sharded,
                    f"{sum(parts.values()) / GIB:.1f}",
                    *shown.values(),
                    f"{checkpoint_bytes(counts, setup) / GIB:.1f}",
                ]
                if tflops is not None:
                    flops = sample_flops(counts, setup, tokens, text_tokens)
                    cells.append(f"{flops / sustained(tflops):.1f}")
                cells += ["fits" if fits(parts, card) else "-" for card in memories.values()]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shapes(folder: Location) -> list[tuple[int, ...]]:
    """(t, h, w) of the latents in a dataset, each once. ValueError for an empty one."""
    column = dataset.table(samples_path(folder), (_SHAPE,))[_SHAPE].combine_chunks()
    if not len(column):
        raise ValueError(f"{folder} has no samples; run `videojam prepare` first")
    sizes = column.flatten().to_numpy().reshape(len(column), -1)[:, -3:]
    return [tuple(size) for size in np.unique(sizes, axis=0).tolist()]


def dry_run(
    folders: Sequence[Location], config: TrainConfig, model: str | None, tflops: float | None
) -> str:
    """What a training would take on the devices it is launched on, in lines of text.

    tflops: that a device sustains; default a share of a matrix product measured here. Raises
    ValueError for a batch that the processes cannot share, and datasets that do not go together.
    """
    number = processes().num_processes
    share(config.global_batch_size, *readers(config))
    weights_of(folders, config)
    info = joint_info(folders, model)
    largest = max((shape for folder in folders for shape in _shapes(folder)), key=math.prod)
    text = max(len(value) for value in load_null_text(folders[0]).values() if value.ndim > 1)
    transformer, counts = sizes_of(info.base, config)
    tokens, setup = num_tokens(transformer, largest), setup_of(config, number)
    parts = memory(counts, setup, tokens)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    rate, said = sustained_flops(tflops, device, dtype, _UTILISATION)
    flops = sample_flops(counts, setup, tokens, text)
    step = flops * config.global_batch_size / number / rate
    rows = sum(len(rows_of(folder, "train")) for folder in folders)
    kept = config.keep_checkpoints + (config.steps // config.keep_every if config.keep_every else 0)
    disk = checkpoint_bytes(counts, replace(setup))
    lines = [
        f"{config.mode} training of {info.base}: {counts.trained:,} numbers trained, "
        f"{counts.matrices + counts.frozen:,} frozen",
        f"{rows} samples, the largest of {' x '.join(map(str, largest))} latents, {tokens} tokens; "
        f"{config.steps} steps of {config.global_batch_size} on {number} process(es): "
        f"{config.steps * config.global_batch_size / max(rows, 1):.3g} times through them",
        "memory on each device, GiB (arithmetic; text encoder and VAE are not loaded onto it):",
        *(f"  {part:<12} {value / GIB:9.3f}" for part, value in parts.items()),
        f"  {'in all':<12} {sum(parts.values()) / GIB:9.3f}",
        f"disk: {disk / GIB:.3f} GiB a checkpoint, {kept * disk / GIB:.3f} GiB for the {kept} kept",
        f"time: {step:.3g} s a step, {step * config.steps / 3600:.3g} h in all, at "
        f"{rate / 1e12:.3g} TFLOP/s ({said})",
    ]
    return "\n".join(lines)
