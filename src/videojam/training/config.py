"""The settings of a training run. The command line and run files are made from this class."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from videojam.objective import Objective


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
    batch_size: int = 1
    "Samples per process and micro-batch."
    gradient_accumulation: int = 1
    "Micro-batches per optimiser step."
    learning_rate: float = 5e-6
    "The paper's, fixed, for full training; LoRA usually wants 1e-4."
    optimiser: Literal["adamw", "muon"] = "adamw"
    "muon: orthogonalised updates for matrices, for training from nothing; AdamW for vectors."
    lr_schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: Literal["bf16", "fp32"] = "bf16"
    "Arithmetic of the forward and backward pass; trained weights are kept in float32."
    gradient_checkpointing: bool = False
    "Recompute activations in the backward pass: less memory, about a third more arithmetic."
    compile: bool = False
    "Compile the transformer's blocks: about twice as fast for small models; needs a compiler."
    lora_rank: int = 64
    lora_alpha: float | None = None
    "Scale of the LoRA update is alpha / rank; None sets alpha = rank."
    ema_decay: float | None = None
    "Keep an exponential moving average of the trained weights and export it instead."
    objective: Objective = field(default_factory=Objective)
    seed: int = 0

    validate_every: int = 250
    "Steps between validation losses (fixed noises and time steps); 0 switches them off."
    validation_sigmas: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    "Noise levels of the validation losses."
    sample_every: int = 0
    "Steps between paired videos (base and joint, same seed); 0 switches them off."
    sample_prompts: tuple[str, ...] = ()
    "Prompts of the paired videos; empty takes the first two validation captions."
    checkpoint_every: int = 250
    keep_checkpoints: int = 2
    "Older ones are removed once a newer one is complete."
    log_every: int = 10
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    "Beside metrics.jsonl, which is always written."
    export: Literal["auto", "adapter", "folder", "both"] = "auto"
    "adapter: base + LoRA + projections. folder: stock diffusers folder. auto: by mode."

    def __post_init__(self) -> None:
        for name in (
            "steps", "batch_size", "gradient_accumulation", "checkpoint_every", "log_every",
            "keep_checkpoints", "lora_rank",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("validate_every", "sample_every", "warmup_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate is {self.learning_rate}, expected between 0 and 1")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}, expected between 0 and 1, or none")
        if not all(0 < sigma <= 1 for sigma in self.validation_sigmas):
            raise ValueError(
                f"validation_sigmas are {self.validation_sigmas}, expected levels in (0, 1]"
            )
        if self.mode == "full" and self.export in ("adapter", "both"):
            raise ValueError("full training has no adapter to export; use export=folder")
        if self.target == "appearance" and self.export in ("adapter", "both"):
            raise ValueError("an adapter is for joint models; use export=folder")
