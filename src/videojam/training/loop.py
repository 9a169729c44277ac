"""The training loop, in the order in which things happen.

Runs on a CPU, one GPU or many (Accelerate). The same call on the same folder resumes: data order
and randomness are functions of (seed, step), so a resumed run equals an undisturbed one, bit for
bit on a CPU. SIGTERM or Ctrl-C finishes the step, saves, and exits.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console

from videojam.joint.denoiser import Denoiser
from videojam.joint.find_family import family_of
from videojam.joint.fingerprint import base_samples
from videojam.joint.info import JointInfo
from videojam.joint.sizes import num_tokens
from videojam.joint.text import Text
from videojam.joint.widen import is_widened, widen
from videojam.records.lock import holding
from videojam.training import frozen, parallel
from videojam.training.averages import average, averaged
from videojam.training.checkpoints import checkpoints, load_weights
from videojam.training.config import TrainConfig
from videojam.training.cost import Cost, attention_kernel
from videojam.training.distill import distilled_loss
from videojam.training.log import Log
from videojam.training.model import (
    base_output,
    check_equals_base,
    own_memory,
    shallow,
    trainable_model,
)
from videojam.training.optimisers import make_optimiser, make_schedule
from videojam.training.result import Base, export_run
from videojam.training.resume import begin, resume
from videojam.training.saving import saver
from videojam.training.step import MicroBatch, on_device, training_loss
from videojam.training.stop import stop_requests
from videojam.training.validation import validation_losses

Sample = Callable[[Any, Path, int], None]
"""(joint transformer, folder, step): write paired videos, called by every process. Passed in, so
training knows no sampler."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """What the loop needs of a prepared dataset."""

    batches: Callable[[int], Iterator[MicroBatch]]
    "start step -> this process's share of the global batch of each step, without end."
    held_out: Sequence[Callable[[], MicroBatch]]
    "Reads a batch of held-out samples; all of them, on every process."
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
    accelerator = parallel.accelerator(config)
    with contextlib.ExitStack() as held:  # by the first process, for all of them
        parallel.on_main(
            accelerator, lambda: held.enter_context(holding(config.out, "training run"))
        )
        exported = _train_parts(config, pipe, data, info, sample, accelerator)
    accelerator.end_training()
    return exported


def _train_parts(
    config: TrainConfig,
    pipe: Any,
    data: TrainingData,
    info: JointInfo,
    sample: Sample | None,
    accelerator: Accelerator,
) -> Path:
    parts = experts(pipe)
    bases: dict[str, Base] = {}
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
        bases[part] = _train_part(part_config, pipe, part, data, info, sample, accelerator)
        if len(parts) > 1 and not parallel.shards(config, accelerator):  # room for the other one
            getattr(pipe, part).to("cpu")
    exported = config.out
    if accelerator.is_main_process:
        exported = export_run(config, pipe, info, bases)
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
    accelerator: Accelerator,
) -> Base:
    """Train one transformer of the pipeline, in place; gives what the base was."""
    console = Console(quiet=not accelerator.is_main_process)
    device, joint = accelerator.device, config.target == "joint"
    sharded = parallel.shards(config, accelerator)
    frozen.check_storage(config, device)
    saved = config.out / "checkpoints"
    settings = {"train": asdict(config), "data": asdict(info)}
    # The first process decides what is resumed: others may see an older state of the disk.
    existing = parallel.on_main(accelerator, lambda: begin(config, settings, saved))
    parallel.check_shared(config.out / "config.json", accelerator)

    # 1. The model, checked against its base on a real batch before anything is trained.
    first = next(iter(data.batches(0)))
    first = first.part(0, config.micro_batch_size or len(first.numbers))
    denoiser = Denoiser(pipe, family_of(getattr(pipe, part)), info.fps, info.background)
    # A model that is to be divided or made smaller may be too large for one device as it is: its
    # check is on the CPU.
    apart = sharded or frozen.is_apart(config)
    place = torch.device("cpu") if apart else device
    x, text = first.x[:1].to(place), on_device(first.text[:1], place)
    model = getattr(pipe, part).to(place)
    # Of a base whose values are rounded in memory, the fingerprint is taken before that.
    found = base_samples(model) if config.frozen_storage != "stored" else None
    base = Base({name: tensor.dtype for name, tensor in model.state_dict().items()}, found)
    if config.mode == "full" or config.precision == "fp32":
        model.float()
    own_memory(model)
    started_joint = is_widened(model, denoiser.family, first.x.shape[1])
    if config.distill_guidance and not started_joint:
        raise ValueError(
            "distill_guidance distils the guidance of a joint model, and this one is a base; train "
            "VideoJAM first, then give the model that was exported"
        )
    if joint and not started_joint:
        looked_at = shallow if apart else contextlib.nullcontext
        with accelerator.autocast():
            with looked_at(model):
                expected = base_output(model, denoiser, x, text, config.seed)
            model = widen(model, denoiser.family, first.x.shape[1])
            with looked_at(model):
                check_equals_base(model, denoiser, expected, x, text, config.seed)
        console.print("start-up check: the widened model equals its base")
    elif joint:
        console.print("training goes on from a joint model")
    if config.frozen_storage in ("int8", "nf4"):
        frozen.quantise(model, config.frozen_storage, device)
    model = trainable_model(model, config, denoiser.family, first.x.shape[1])
    pipe.register_modules(**{part: model})

    # 2. What is trained, and by what.
    ready = parallel.spread(model, config, accelerator)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if config.start_from is not None:
        load_weights(config.start_from, parameters)
    optimiser = make_optimiser(config, parameters, denoiser.family)
    schedule = make_schedule(config, optimiser)
    ema = average(config, parameters)
    done = resume(existing, parameters, optimiser, schedule, ema, console)
    if done > config.steps:
        raise ValueError(
            f"{config.out} has done {done} steps, more than the {config.steps} asked for; ask for "
            "at least as many, or start a new --out with --start-from one of its checkpoints"
        )
    log = Log(config, accelerator, console, done)
    tokens = num_tokens(model, first.x.shape[2:])
    parallel.check_length(tokens, config)
    low, high = config.objective.sigma_range
    reader, num_readers = parallel.readers(config)
    sigmas = tuple(s for s in config.validation_sigmas if low <= s <= high) or ((low + high) / 2,)

    def loss_of(batch: MicroBatch) -> Any:
        with accelerator.autocast():
            if config.distill_guidance:
                return distilled_loss(
                    ready, model, batch, data.null_text, config.guidance, config.objective,
                    denoiser, config.seed, device,
                )  # fmt: skip
            return training_loss(
                ready, batch, data.null_text, config.objective, denoiser, config.seed, joint, device
            )

    def validate(step: int) -> None:
        with accelerator.autocast(), attention_kernel(device, tokens), averaged(ema, parameters):
            losses = validation_losses(
                model,
                data.held_out,
                sigmas,
                denoiser,
                joint,
                device,
                accelerator,
                (reader, num_readers),
            )
        if losses:
            log.write(step, {f"validation/{key}": value for key, value in losses.items()})
        else:
            console.print("no held-out samples, so no validation losses: prepare --holdout-videos")

    def paired_videos(step: int) -> None:
        if sample is not None:
            model.eval()
            with averaged(ema, parameters):
                sample(model, config.out / "samples" / f"step-{step:08d}", step)
            model.train()
            parallel.wait_long()  # some may have had more to sample than others

    def stop_broken(what: str, step: int) -> None:
        saving.wait()
        good = checkpoints(saved)
        raise FloatingPointError(
            f"the {what} at step {step}; nothing of this step was kept. Last good checkpoint: "
            f"{good[-1] if good else 'none yet'}. Resume from it with a lower --learning-rate, or "
            "look at the data of this step; the same settings would end here again"
        )

    with attention_kernel(device, tokens):
        cost = Cost.measure(
            lambda: loss_of(first),
            model,
            tokens * len(first.x) // config.context_parallel,
            -(-config.global_batch_size // (num_readers * len(first.x))),
            device,
            torch.bfloat16 if config.precision == "bf16" else torch.float32,
            accelerator.num_processes,
        )
    if config.compile:
        model.compile_repeated_blocks(dynamic=False)
    if done == 0 and config.validate_every:
        validate(0)

    # 3. The steps.
    with stop_requests() as stop, saver(saved, config) as saving:
        batches = data.batches(done)
        clock, clock_step = time.perf_counter(), done
        for step in range(done + 1, config.steps + 1):
            # Anything random inside the model (LoRA dropout) depends on the step alone.
            torch.manual_seed(config.seed * 1_000_003 + step)
            batch = next(batches)
            count = len(batch.numbers)
            parallel.check_length(num_tokens(model, batch.x.shape[2:]), config)
            size = config.micro_batch_size or count
            sums = torch.zeros(4, device=device)
            for start in range(0, count, size):
                micro = batch.part(start, start + size)
                weight, last = len(micro.numbers) / count, start + size >= count
                # The backward pass too: gradient checkpointing computes attention again there.
                with parallel.gradients(ready, last), attention_kernel(device, tokens):
                    parts = loss_of(micro)
                    # Of a clip that processes share, each has a part of the gradient: a sum, but
                    # what all processes have is averaged.
                    accelerator.backward(parts.total * weight * config.context_parallel)
                sums[:3] += torch.stack([part.detach() for part in parts]) * weight
            sums[3] = stop()  # shared, so that all processes stop after the same step
            reduced: Any = accelerator.reduce(sums, "mean")
            total, appearance, motion, stopping = reduced.tolist()
            if not math.isfinite(total):
                stop_broken(f"loss is {total}", step)
            norm = float(
                parallel.whole(
                    torch.nn.utils.clip_grad_norm_(parameters.values(), config.max_grad_norm)
                )
            )
            if not math.isfinite(norm):  # of all processes, so they stop together
                stop_broken(f"loss is {total:.4g}, but the norm of its gradient {norm}", step)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
            if ema is not None:
                ema.step(parameters.values())
            log.step_done(step, total)

            if step % config.log_every == 0 or step == config.steps:
                seconds = (time.perf_counter() - clock) / (step - clock_step)
                losses = {"loss/total": total, "loss/appearance": appearance}
                if joint:
                    losses["loss/motion"] = motion
                rates = {"grad_norm": norm, "learning_rate": schedule.get_last_lr()[0]}
                log.write(step, losses | rates | cost.figures(seconds, device))
                clock, clock_step = time.perf_counter(), step

            pause = time.perf_counter()
            last_step = step == config.steps
            if step % config.checkpoint_every == 0 or last_step or stopping:
                saving.save(step, parameters, optimiser, schedule, ema)
            if stopping and not last_step:
                saving.wait()
                log.close()
                raise Stopped(f"stopped after step {step} and saved; the same command resumes")
            if config.validate_every and (step % config.validate_every == 0 or last_step):
                validate(step)
            if config.sample_every and (step % config.sample_every == 0 or last_step):
                paired_videos(step)
            clock += time.perf_counter() - pause  # the speed in the log is that of training

    # 4. The result.
    if ema is not None:
        ema.copy_to(parameters.values())
    accelerator.wait_for_everyone()
    log.close()
    if sharded:
        parallel.gather(model)
    return base
