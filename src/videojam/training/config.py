"""The settings of a training run. The command line and run files are made from this class."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from videojam.guidance.inner import GuidanceSettings
from videojam.objective import Objective
from videojam.records.object_store import ObjectPath, location


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One run. The same command on the same folder resumes it."""

    out: Path
    "Folder of the run: config, metrics, checkpoints, samples, exported model."
    mode: Literal["lora", "full"] = "lora"
    "lora: LoRA on the blocks and both projections in full. full: every weight, as in the paper."
    target: Literal["joint", "appearance"] = "joint"
    "joint: VideoJAM. appearance: the base's own objective on the same data, for comparisons."
    steps: int = 2000
    "Optimiser steps (paper: 50 000 for 4B, 35 000 for 30B)."
    global_batch_size: int = 1
    "Samples of one optimiser step, over all processes (paper: 32 for 4B, 256 for 30B)."
    micro_batch_size: int | None = None
    """Samples that one process passes through the model at once; None: its whole share. Fewer need
    less memory and change nothing else: gradients are accumulated."""
    learning_rate: float | None = None
    "None: 5e-6 for full training, the paper's, fixed; 1e-4 for LoRA. May be changed on resume."
    projection_rate: float = 1.0
    "Factor on the learning rate of the two projections, whose motion half begins at zero."
    optimiser: Literal["adamw", "adamw8bit", "muon"] = "adamw"
    """adamw8bit: both moments in 8 bits (bitsandbytes), 2 bytes a trained number in place of 8.
    muon: orthogonalised updates for matrices, for training from nothing; AdamW for vectors."""
    fused: bool = False
    "All of AdamW's update in one kernel: fewer passes over memory, rounding of its own."
    optimiser_on_cpu: bool = False
    "Moments and their arithmetic in the machine's memory: 8 bytes a trained number less, slower."
    lr_schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: Literal["bf16", "fp32"] = "bf16"
    "Arithmetic of the forward and backward pass; trained weights are kept in float32."
    gradient_checkpointing: bool = False
    "Recompute activations in the backward pass: less memory, about a third more arithmetic."
    frozen_storage: Literal["stored", "float8", "int8", "nf4"] = "stored"
    """How the frozen matrices of a LoRA's base lie in memory: stored: as loaded. float8: half of
    bfloat16, cast block by block. int8 and nf4 (4 bits): quantised by bitsandbytes."""
    offload_blocks: bool = False
    "Frozen weights in the machine's memory; the device holds those of the block at work."
    compile: bool = False
    "Compile the transformer's blocks: about twice as fast for small models; needs a compiler."
    sharding: Literal["none", "full", "hybrid"] = "none"
    """none: every process holds the whole model. full: each holds its share of weights, gradients
    and optimiser (FSDP2). hybrid: shares within a machine, copies between machines."""
    shard_group: int | None = None
    "Processes that share a model in hybrid sharding; None: the devices of one machine."
    context_parallel: int = 1
    """Processes that share a clip, for clips too long for one device: its tokens are divided among
    them, and in attention the heads (Ulysses). Both numbers must divide by it."""
    reduce_dtype: Literal["float32", "bfloat16"] = "float32"
    "Type in which sharded gradients are summed over processes."
    lora_rank: int = 64
    lora_alpha: float | None = None
    "Scale of the LoRA update is alpha / rank; None sets alpha = rank."
    ema_decay: float | None = None
    "Keep an exponential moving average of the trained weights and export it instead."
    objective: Objective = field(default_factory=Objective)
    distill_guidance: bool = False
    """Train a LoRA on a joint model so that one pass gives what its guidance gives; sample what
    comes out with --text-scale 0 --motion-scale 0."""
    guidance: GuidanceSettings = field(default_factory=GuidanceSettings)
    "That is distilled, at fixed scales."
    start_from: Path | None = None
    "Checkpoint folder of another run, whose trained weights this run begins with."
    seed: int = 0
    data_weights: tuple[float, ...] = ()
    "With several datasets, the share of steps of each, up to a factor; empty: equal shares."

    validate_every: int = 250
    "Steps between validation losses (fixed noises and time steps); 0 switches them off."
    validation_sigmas: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    "Noise levels of the validation losses."
    sample_every: int = 0
    "Steps between paired videos (base and joint, same seed); 0 switches them off."
    sample_prompts: tuple[str, ...] = ()
    "Prompts of the paired videos; empty takes the first two validation captions."
    checkpoint_every: int = 250
    checkpoint_in_background: bool = False
    """Write checkpoints while the next steps are made; until one is written, it takes its size in
    the machine's memory once more."""
    keep_checkpoints: int = 2
    "Older ones are removed once a newer one is complete."
    keep_every: int = 0
    "Checkpoints of every so many steps stay for good; 0 for none."
    log_every: int = 10
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    "Beside metrics.jsonl, which is always written."
    tracker_project: str = "videojam"
    "Name of the project in the trackers."
    run_name: str | None = None
    "Name of the run in the trackers; None: that of the folder `out`."
    export: Literal["auto", "adapter", "folder", "both"] = "auto"
    "adapter: base + LoRA + projections. folder: stock diffusers folder. auto: by mode."

    def __post_init__(self) -> None:
        if isinstance(location(self.out), ObjectPath):
            raise ValueError(
                f"out is {location(self.out)}, expected a folder on a disk: a run is locked and "
                "its files grow; copy the result to the bucket"
            )
        for name in (
            "steps", "global_batch_size", "micro_batch_size", "checkpoint_every", "log_every",
            "keep_checkpoints", "lora_rank", "shard_group", "context_parallel",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        for name in ("validate_every", "sample_every", "warmup_steps", "keep_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if not 0 < self.rate < 1:
            raise ValueError(f"learning_rate is {self.learning_rate}, expected between 0 and 1")
        for name in ("max_grad_norm", "projection_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay is {self.weight_decay}, expected 0 or more")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}, expected between 0 and 1, or none")
        if not all(0 < sigma <= 1 for sigma in self.validation_sigmas):
            raise ValueError(
                f"validation_sigmas are {self.validation_sigmas}, expected levels in (0, 1]"
            )
        for idle, why in self._without_effect():
            raise ValueError(f"{idle} would have no effect: {why}; leave it out")
        for asked, why in self._impossible():
            raise ValueError(f"{asked} {why}")
        self._check_distilled()
        if self.mode == "full" and self.export in ("adapter", "both"):
            raise ValueError("full training has no adapter to export; use export=folder")
        if self.target == "appearance" and self.export in ("adapter", "both"):
            raise ValueError("an adapter is for joint models; use export=folder")

    def _check_distilled(self) -> None:
        if not self.distill_guidance:
            return
        if self.mode != "lora" or self.target != "joint":
            raise ValueError(
                f"distill_guidance trains a LoRA on a joint model, got mode {self.mode} and target "
                f"{self.target}; use mode lora and target joint"
            )
        if self.guidance.reuses or self.guidance.text_term != "plain":
            raise ValueError(
                "distill_guidance needs every term anew at every noise level; leave text_every, "
                "motion_every, settled_cosine and text_term out of guidance"
            )

    @property
    def rate(self) -> float:
        """The learning rate: the one asked for, or that of the mode."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 5e-6 if self.mode == "full" else 1e-4

    def _without_effect(self) -> Iterator[tuple[str, str]]:
        """Settings that would be ignored, and why."""
        if self.warmup_steps and self.lr_schedule == "constant":
            yield "warmup_steps", "lr_schedule is constant (use constant_with_warmup)"
        if self.lora_alpha is not None and self.mode == "full":
            yield "lora_alpha", "mode is full, which has no LoRA"
        if self.sample_prompts and not self.sample_every:
            yield "sample_prompts", "sample_every is 0"
        if self.sample_every and self.target == "appearance":
            yield "sample_every", "paired videos need the joint target"
        if self.projection_rate != 1 and self.optimiser == "muon":
            yield "projection_rate", "muon has one rate for all"
        if self.projection_rate != 1 and self.target == "appearance":
            yield "projection_rate", "the appearance target has no new projections"
        if self.fused and self.optimiser != "adamw":
            yield "fused", f"optimiser is {self.optimiser}"
        if not self.distill_guidance and self.guidance != GuidanceSettings():
            yield "guidance", "distill_guidance is off"
        if self.sharding == "none" and self.reduce_dtype != "float32":
            yield "reduce_dtype", "sharding is none"
        if self.shard_group and self.sharding != "hybrid":
            yield "shard_group", "sharding is not hybrid"
        if (self.run_name or self.tracker_project != "videojam") and not self.trackers:
            yield "run_name and tracker_project", "there are no trackers"
        if self.micro_batch_size and self.micro_batch_size > self.global_batch_size:
            yield "micro_batch_size", "it is larger than the global batch"

    def _impossible(self) -> Iterator[tuple[str, str]]:
        """What excludes each other, and why."""
        quantised = self.frozen_storage in ("int8", "nf4")
        storage = f"frozen_storage {self.frozen_storage}"
        if self.frozen_storage != "stored" and self.mode == "full":
            yield storage, "needs mode lora: full training has no frozen weights"
        if self.offload_blocks and self.mode == "full":
            yield "offload_blocks", "needs mode lora: full training has no frozen weights"
        if quantised and self.offload_blocks:
            yield storage, "cannot be offloaded; use float8 with offload_blocks"
        if quantised and self.precision == "fp32":
            yield storage, "computes in bfloat16; use precision bf16"
        for asked, name in (
            (self.frozen_storage != "stored", storage),
            (self.offload_blocks, "offload_blocks"),
            (self.optimiser == "adamw8bit", "optimiser adamw8bit"),
            (self.optimiser_on_cpu, "optimiser_on_cpu"),
        ):
            if asked and self.sharding != "none":
                yield name, f"does not work with sharding {self.sharding}, which divides the same"
        swapped = "offload_blocks" if self.offload_blocks else storage
        if self.offload_blocks or self.frozen_storage == "float8":
            if not self.gradient_checkpointing:
                yield (
                    swapped,
                    (
                        "needs gradient_checkpointing: without it the backward pass keeps the "
                        "weights of all blocks as they were used, and nothing is saved"
                    ),
                )
            if self.compile:
                yield swapped, "does not work with compile: weights change place between blocks"
        if self.context_parallel > 1 and self.sample_every:
            yield "context_parallel", "cannot sample on the way; sample the exported model"
        if self.offload_blocks and self.sample_every:
            yield "offload_blocks", "cannot sample on the way: the whole model would have to fit"
        if self.frozen_storage != "stored" and self.export in ("folder", "both"):
            yield (
                storage,
                ("has no whole weights to export; use export adapter, then `videojam export`"),
            )
        if self.frozen_storage != "stored" and self.target == "appearance":
            yield storage, "needs the joint target: its result is an adapter"
        if self.optimiser_on_cpu and self.optimiser != "adamw":
            yield "optimiser_on_cpu", f"needs optimiser adamw, not {self.optimiser}"
        if self.data_weights and not all(0 < w < float("inf") for w in self.data_weights):
            yield "data_weights", f"are {self.data_weights}, expected positive numbers"
