"""Training one model of the three; the same call on the same folder goes on where it was.

A loop of its own: that of videojam.training draws each sample from a generator of its own and
records its pipeline's text encoder, and here a step is a third of a second. The objective, the
checkpoints and the averaging are the same ones. Whatever is random in a step depends on (seed,
stage, step), so a resumed run equals an undisturbed one, bit for bit.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from videojam.evaluation.experiments.scanline.model import (
    Latents,
    latents,
    predictor,
    text,
    without_text,
)
from videojam.evaluation.experiments.scanline.settings import Recipe, Role, Triple
from videojam.joint.find_family import family_of
from videojam.joint.noising import flow_matching
from videojam.joint.widen import projection_names
from videojam.lab.scanline.clips import draw
from videojam.objective import LossParts, joint_loss, plain_loss
from videojam.records.atomic import write_text
from videojam.rng import generator
from videojam.training.checkpoints import checkpoints, load_checkpoint, save_checkpoint
from videojam.training.cost import attention_kernel

_WARMUP_STEPS = 100
_FALLING = 0.2  # share of the base's steps
_LEAST = 0.02  # of the learning rate, at the end
_BETAS = (0.9, 0.98)
_MAX_GRAD_NORM = 1.0
_LOG_EVERY = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """How it is computed, which decides the last bits at most."""

    device: str = "cpu"
    compile: bool = True
    "Compile the transformer's blocks, once a process: a fifth faster."
    checkpoint_every: int = 100
    "Steps; what a run that is killed loses at most."


class Batch:
    """Everything that is random in step `step` of a stage, and its clips."""

    def __init__(self, triple: Triple, role: Role, step: int) -> None:
        recipe, stage = triple.recipe, "base" if role == "base" else "tune"
        n = recipe.batch
        clips = draw(triple.world, triple.seed, range(step * n, step * n + n), stage)
        random = generator(triple.seed, f"scanline {stage} step", step)
        own = generator(triple.seed, "scanline motion level", step)
        # Logit-normal, as for flow matching in the paper's model.
        self.sigma = torch.randn(n, generator=random).sigmoid()
        chance = torch.rand(2, n, generator=random)
        share = recipe.base_text_dropout if role == "base" else recipe.text_dropout
        self.drop_motion = chance[1] < recipe.motion_dropout
        self.captions = without_text(clips.captions, chance[0] < share)
        apart = torch.rand(n, generator=own) < recipe.noise_apart
        self.sigma_d = torch.where(apart, torch.randn(n, generator=own).sigmoid(), self.sigma)
        self.clean = latents(triple.world, clips, recipe.saturation)
        self.noise = Latents(*(torch.randn(self.clean.x.shape, generator=random) for _ in range(2)))


def fit(model: Any, triple: Triple, role: Role, folder: Path, speed: Speed) -> Any:
    """Train `model` in place for its role's steps; it ends with its averaged weights.

    Writes checkpoints and metrics.jsonl into the folder. Raises FloatingPointError for a loss that
    is not finite.
    """
    from diffusers.training_utils import EMAModel

    recipe, joint = triple.recipe, role == "joint"
    steps = recipe.base_steps if role == "base" else recipe.tune_steps
    model = model.to(speed.device).train()
    parameters = dict(model.named_parameters())
    optimiser = _optimiser(model, recipe, role)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, [rate_of(recipe, role, new) for new in (False, True)[: 1 + joint]]
    )
    ema = EMAModel(parameters.values(), decay=recipe.ema_decay, foreach=True)
    saved, log = folder / "checkpoints", folder / "metrics.jsonl"
    done = 0
    if existing := checkpoints(saved):
        done = load_checkpoint(existing[-1], parameters, optimiser, schedule, ema)
    _forget(log, done)
    if speed.compile:
        model.compile_repeated_blocks(dynamic=False)
    device = torch.device(speed.device)
    tokens = triple.world.frames * triple.world.width // 4
    sums, clock, since = torch.zeros(2), time.perf_counter(), done
    for step in range(done, steps):
        batch = Batch(triple, role, step)
        with attention_kernel(device, tokens):
            parts = loss_of(model, batch, triple, role, device)
            weight = motion_weight(recipe, step) if joint else 0.0
            motion = parts.motion.nan_to_num(0) if weight == 0 else parts.motion
            loss = (parts.appearance + weight * motion) / (1 + weight)
            loss.backward()
        if not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"the loss of {triple.name(role)} is {loss.item()} at step {step + 1}; lower "
                "base_rate or tune_rate"
            )
        torch.nn.utils.clip_grad_norm_(parameters.values(), _MAX_GRAD_NORM)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
        ema.step(parameters.values())
        sums += torch.stack([parts.appearance.detach(), parts.motion.detach()]).cpu()
        now = step + 1
        if now % _LOG_EVERY == 0 or now == steps:
            pace = (time.perf_counter() - clock) / (now - since)
            _write(log, now, sums / (now - since), pace)
            if now % (10 * _LOG_EVERY) == 0:
                Console().print(f"{triple.name(role)} {now}/{steps} {_last(log)}", soft_wrap=True)
            sums, clock, since = torch.zeros(2), time.perf_counter(), now
        if now % speed.checkpoint_every == 0 or now == steps:
            save_checkpoint(saved, now, parameters, optimiser, schedule, ema, keep=1)
    ema.copy_to(parameters.values())
    return model.eval()


def loss_of(
    model: Any, batch: Batch, triple: Triple, role: Role, device: torch.device
) -> LossParts:
    """The project's objective on a batch, in bf16 arithmetic; motion NaN for a plain model."""
    predict, level = predictor(model), flow_matching(batch.sigma.to(device))
    words = text(triple.sizes, batch.captions.to(device))
    x, noise_x = batch.clean.x.to(device), batch.noise.x.to(device)
    with torch.autocast(device.type, torch.bfloat16):
        if role != "joint":
            loss = plain_loss(predict, x, words, level=level, noise_x=noise_x)
            return LossParts(loss, loss, torch.full_like(loss.detach(), torch.nan))
        return joint_loss(
            predict, x, batch.clean.d.to(device), words, level=level, noise_x=noise_x,
            noise_d=batch.noise.d.to(device), drop_motion=batch.drop_motion.to(device),
            level_d=flow_matching(batch.sigma_d.to(device)),
        )  # fmt: skip


def rate_of(recipe: Recipe, role: Role, new: bool) -> Callable[[int], float]:
    """Factor on the learning rate at a step, of the new projections or of everything else."""

    def factor(step: int) -> float:
        warm = min(1.0, (step + 1) / _WARMUP_STEPS)
        if role == "base":
            left = 1 - step / recipe.base_steps
            return warm * max(_LEAST, min(1.0, left / _FALLING))
        waits = role == "joint" and not new and step < recipe.projections_first
        cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.tune_steps))
        return 0.0 if waits else warm * max(_LEAST, cosine)

    return factor


def motion_weight(recipe: Recipe, step: int) -> float:
    """Of the motion half of the loss at a step."""
    falling = recipe.motion_decay * recipe.tune_steps
    left = recipe.tune_steps - step
    return recipe.motion_weight * (min(1.0, left / falling) if falling else 1.0)


def _optimiser(model: Any, recipe: Recipe, role: Role) -> torch.optim.Optimizer:
    """AdamW; of a joint model, the new projections are a group of their own."""
    rate = recipe.base_rate if role == "base" else recipe.tune_rate
    names = projection_names(family_of(model)) if role == "joint" else ()
    groups: list[dict[str, Any]] = [{"params": [], "lr": rate}]
    groups += [{"params": [], "lr": rate * recipe.projection_rate}] * bool(names)
    for name, parameter in model.named_parameters():
        groups[name.startswith(names)]["params"].append(parameter)
    return torch.optim.AdamW(groups, betas=_BETAS, weight_decay=recipe.weight_decay)


def _write(log: Path, step: int, losses: Tensor, seconds: float) -> None:
    appearance, motion = losses.tolist()
    entry = {"step": step, "appearance": appearance, "seconds_per_step": seconds}
    if math.isfinite(motion):
        entry["motion"] = motion
    with log.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def _last(log: Path) -> str:
    last = json.loads(log.read_text().splitlines()[-1])
    return "  ".join(f"{name} {value:.4g}" for name, value in last.items() if name != "step")


def _forget(log: Path, done: int) -> None:
    """A resumed run drops what it will repeat, and a line that a kill cut short."""
    lines = log.read_text().splitlines(keepends=True) if log.is_file() else []
    kept = [line for line in lines if line.endswith("}\n") and json.loads(line)["step"] <= done]
    write_text(log, "".join(kept))
