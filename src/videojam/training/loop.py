"""The training loop, in the order in which things happen.

Runs on a CPU, one GPU or many (Accelerate). The same call on the same folder resumes: data order
and randomness are functions of (seed, step), so a resumed run equals an undisturbed one, bit for
bit on a CPU. SIGTERM or Ctrl-C finishes the step, saves, and exits.
"""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from videojam.joint.checkpoint import JointInfo, save_adapter, save_components, save_folder
from videojam.joint.denoiser import Denoiser
from videojam.joint.families import family_of
from videojam.joint.sizes import num_tokens
from videojam.joint.text import Text
from videojam.joint.widen import is_widened
from videojam.training import parallel
from videojam.training.checkpoints import checkpoints, load_checkpoint, save_checkpoint
from videojam.training.config import TrainConfig
from videojam.training.cost import Cost, attention_kernel
from videojam.training.log import Log, remember
from videojam.training.model import (
    base_output,
    check_equals_base,
    own_memory,
    restore_dtypes,
    trainable_model,
)
from videojam.training.muon import Muon
from videojam.training.step import MicroBatch, on_device, training_loss
from videojam.training.validation import validation_losses

Sample = Callable[[Any, Path, int], None]
"(joint transformer, folder, step): write paired videos. Passed in, so training knows no sampler."


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """What the loop needs of a prepared dataset."""

    batches: Callable[[int], Iterator[list[MicroBatch]]]
    "start step -> this process's micro-batches, one list per step, without end."
    validation: Callable[[], Iterator[MicroBatch]]
    "Held-out samples."
    null_text: Text
    "The empty prompt."


class Stopped(Exception):
    """The run was asked to stop and has saved; the same command resumes it."""


def train(
    config: TrainConfig,
    pipe: Any,
    data: TrainingData,
    info: JointInfo,
    sample: Sample | None = None,
) -> Path:
    """Train, validate, save and export; returns the folder of the exported model.

    A model of two experts (Wan 2.2 A14B) has them trained one after the other, each on its own
    noise levels, in a run folder of its own under config.out.
    Raises Stopped after a signal, FloatingPointError for a loss that is not finite (naming the
    last good checkpoint), ValueError for a run folder of another configuration.
    """
    parts = experts(pipe)
    dtypes: dict[str, dict[str, torch.dtype]] = {}
    for part, levels in parts.items():
        part_config = config
        if len(parts) > 1:
            if config.objective.sigma_range != (0.0, 1.0):
                raise ValueError(
                    f"sigma_range is {config.objective.sigma_range}, but this model has two "
                    "experts, each trained on its own share of noise levels; leave it out"
                )
            objective = replace(config.objective, sigma_range=levels)
            part_config = replace(config, out=config.out / part, objective=objective)
        dtypes[part] = _train_part(part_config, pipe, part, data, info, sample)
        if len(parts) > 1:  # room for the other one
            getattr(pipe, part).to("cpu")
    exported = config.out
    if parallel.processes().is_main_process:
        exported = _export(config, pipe, info, dtypes)
        Console().print(f"exported to {exported}")
    return exported


def experts(pipe: Any) -> dict[str, tuple[float, float]]:
    """The pipeline's transformers by name, with the noise levels that each is used for."""
    if getattr(pipe, "transformer_2", None) is None:
        return {"transformer": (0.0, 1.0)}
    boundary = pipe.config.boundary_ratio
    return {"transformer": (boundary, 1.0), "transformer_2": (0.0, boundary)}


def _train_part(
    config: TrainConfig,
    pipe: Any,
    part: str,
    data: TrainingData,
    info: JointInfo,
    sample: Sample | None,
) -> dict[str, torch.dtype]:
    """Train one transformer of the pipeline, in place; gives the dtypes that the base had."""
    accelerator = parallel.accelerator(config)
    console = Console(quiet=not accelerator.is_main_process)
    device, joint = accelerator.device, config.target == "joint"
    settings = {"train": asdict(config), "data": asdict(info)}
    remember(config.out, settings, accelerator.is_main_process)

    # 1. The model, checked against its base on a real batch before anything is trained.
    first = next(iter(data.batches(0)))[0]
    denoiser = Denoiser(pipe, family_of(getattr(pipe, part)), info.fps)
    x, text = first.x[:1].to(device), on_device(first.text[:1], device)
    base = getattr(pipe, part).to(device)
    dtypes = {name: tensor.dtype for name, tensor in base.state_dict().items()}
    if config.mode == "full" or config.precision == "fp32":
        base.float()
    own_memory(base)
    started_joint = is_widened(base, denoiser.family, first.x.shape[1])
    if joint and not started_joint:
        with accelerator.autocast():
            expected = base_output(base, denoiser, x, text, config.seed)
    model = trainable_model(base, config, denoiser.family, first.x.shape[1])
    pipe.register_modules(**{part: model})
    del base
    if joint and not started_joint:
        with accelerator.autocast():
            check_equals_base(model, denoiser, expected, x, text, config.seed)
        console.print("start-up check: the widened model equals its base")
    elif joint:
        console.print("training goes on from a joint model")

    # 2. What is trained, and by what.
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    kind = Muon if config.optimiser == "muon" else torch.optim.AdamW
    optimiser = kind(parameters.values(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = _schedule(config, optimiser)
    ema = _ema(config, parameters)
    saved = config.out / "checkpoints"
    done = 0
    if existing := checkpoints(saved):
        done = load_checkpoint(existing[-1], parameters, optimiser, schedule, ema)
        console.print(f"resuming at step {done} of {config.steps} from {existing[-1]}")
    ready, optimiser = accelerator.prepare(model, optimiser)
    log = Log(config, accelerator, console, done)
    tokens = num_tokens(model, first.x.shape[2:])
    low, high = config.objective.sigma_range
    sigmas = tuple(s for s in config.validation_sigmas if low <= s <= high) or ((low + high) / 2,)

    def loss_of(batch: MicroBatch) -> Any:
        with accelerator.autocast():
            return training_loss(
                ready, batch, data.null_text, config.objective, denoiser, config.seed, joint, device
            )

    def validate(step: int) -> None:
        with accelerator.autocast(), attention_kernel(device, tokens), _averaged(ema, parameters):
            losses = validation_losses(model, data.validation(), sigmas, denoiser, joint, device)
        if losses:
            log.write(step, {f"validation/{key}": value for key, value in losses.items()})
        else:
            console.print("no held-out samples, so no validation losses: prepare --holdout-videos")

    def paired_videos(step: int) -> None:
        if sample is not None and accelerator.is_main_process:
            model.eval()
            with _averaged(ema, parameters):
                sample(model, config.out / "samples" / f"step-{step:08d}", step)
            model.train()

    def save(step: int) -> Path | None:
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            inner = getattr(optimiser, "optimizer", optimiser)
            return save_checkpoint(
                saved, step, parameters, inner, schedule, ema, config.keep_checkpoints
            )
        return None

    cost = Cost.measure(
        lambda: loss_of(first),
        tokens * len(first.x),
        config.gradient_accumulation,
        device,
        torch.bfloat16 if config.precision == "bf16" else torch.float32,
        accelerator.num_processes,
    )
    if config.compile:
        model.compile_repeated_blocks(dynamic=False)
    if done == 0 and config.validate_every:
        validate(0)

    # 3. The steps.
    with _stop_requests() as stop:
        micro_batches = data.batches(done)
        clock, clock_step = time.perf_counter(), done
        for step in range(done + 1, config.steps + 1):
            # Anything random inside the model (LoRA dropout) depends on the step alone.
            torch.manual_seed(config.seed * 1_000_003 + step)
            micros = next(micro_batches)
            sums = torch.zeros(4, device=device)
            for index, micro in enumerate(micros):
                last = index == len(micros) - 1
                sync = contextlib.nullcontext() if last else accelerator.no_sync(ready)
                # The backward pass too: gradient checkpointing computes attention again there.
                with sync, attention_kernel(device, tokens):
                    parts = loss_of(micro)
                    accelerator.backward(parts.total / len(micros))
                sums[:3] += torch.stack([part.detach() for part in parts]) / len(micros)
            sums[3] = stop()  # shared, so that all processes stop after the same step
            reduced: Any = accelerator.reduce(sums, "mean")
            total, appearance, motion, stopping = reduced.tolist()
            if not math.isfinite(total):
                good = checkpoints(saved)
                raise FloatingPointError(
                    f"the loss is {total} at step {step}; nothing of this step was kept. Last "
                    f"good checkpoint: {good[-1] if good else 'none yet'}. Lower the learning "
                    "rate, or look at the data of this step; the same command resumes from there"
                )
            norm: Any = accelerator.clip_grad_norm_(parameters.values(), config.max_grad_norm)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
            if ema is not None:
                ema.step(parameters.values())

            if step % config.log_every == 0 or step == config.steps:
                seconds = (time.perf_counter() - clock) / (step - clock_step)
                losses = {"loss/total": total, "loss/appearance": appearance}
                if joint:
                    losses["loss/motion"] = motion
                rates = {"grad_norm": float(norm), "learning_rate": schedule.get_last_lr()[0]}
                log.write(step, losses | rates | cost.figures(seconds, device))
                clock, clock_step = time.perf_counter(), step

            pause = time.perf_counter()
            last_step = step == config.steps
            if config.validate_every and (step % config.validate_every == 0 or last_step):
                validate(step)
            if config.sample_every and (step % config.sample_every == 0 or last_step):
                paired_videos(step)
            if step % config.checkpoint_every == 0 or last_step or stopping:
                save(step)
            clock += time.perf_counter() - pause  # the speed in the log is that of training
            if stopping and step < config.steps:
                log.close()
                raise Stopped(f"stopped after step {step} and saved; the same command resumes")

    # 4. The result.
    if ema is not None:
        ema.copy_to(parameters.values())
    accelerator.wait_for_everyone()
    log.close()
    return dtypes


def _export(
    config: TrainConfig, pipe: Any, info: JointInfo, dtypes: dict[str, dict[str, torch.dtype]]
) -> Path:
    """The adapter and / or the stock folder. dtypes: of the base, for each transformer."""
    form, joint = config.export, config.target == "joint"
    dropouts = config.objective
    info = replace(info, text_dropout=dropouts.text_dropout, motion_dropout=dropouts.motion_dropout)
    if form == "auto":
        form = "adapter" if config.mode == "lora" and joint else "folder"
    adapter, folder = config.out / "adapter", config.out / "model"
    if form in ("adapter", "both"):
        save_adapter(pipe, adapter, info)
    if form in ("folder", "both"):
        for part, base_dtypes in dtypes.items():
            model = getattr(pipe, part)
            if config.mode == "lora":
                model.fuse_lora()
                model.unload_lora()
            restore_dtypes(model, base_dtypes)
        save_folder(pipe, folder, info) if joint else save_components(pipe, folder)
    return folder if form == "folder" else adapter


def _schedule(config: TrainConfig, optimiser: torch.optim.Optimizer) -> Any:
    from diffusers.optimization import get_scheduler

    return get_scheduler(
        config.lr_schedule,
        optimiser,
        num_warmup_steps=config.warmup_steps,
        num_training_steps=config.steps,
    )


def _ema(config: TrainConfig, parameters: dict[str, torch.nn.Parameter]) -> Any | None:
    from diffusers.training_utils import EMAModel

    if config.ema_decay is None:
        return None
    return EMAModel(parameters.values(), decay=config.ema_decay)


@contextlib.contextmanager
def _averaged(ema: Any | None, parameters: dict[str, torch.nn.Parameter]) -> Iterator[None]:
    """Within, the model holds the averaged weights, if there are any."""
    if ema is None:
        yield
        return
    ema.store(parameters.values())
    ema.copy_to(parameters.values())
    try:
        yield
    finally:
        ema.restore(parameters.values())


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Within, SIGTERM and Ctrl-C only set a flag, which the yielded function reads."""
    asked: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(s, lambda number, frame: asked.append(number)) for s in signals]
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
