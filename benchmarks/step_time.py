"""What a training step takes beside the model: ratios, measured side by side in one run.

    python benchmarks/step_time.py

A random Wan transformer of four blocks of 768 channels on the CPU, one thread, full training. The
four ways of a step (joint or plain, compiled or not) take turns, and so do checkpoints at once and
in the background. Seconds of steps are those of the process on the CPU, which others on the machine
do not change; waiting is by the clock. The loader is the one of every training, on a dataset of
clips of the same size, and then on clips of 81 x 480 x 832.
"""

import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from record import record
from videojam import widen
from videojam.data import dataset, loader
from videojam.joint.denoiser import Denoiser
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.objective import Objective
from videojam.training.config import TrainConfig
from videojam.training.saving import saver
from videojam.training.step import MicroBatch, training_loss

SIZES = SmallWan(num_layers=4, num_heads=16, head_dim=48, text_width=16, text_layers=1)
LATENT, FULL_SIZE = (16, 2, 16, 16), (16, 21, 60, 104)
NULL = {"encoder_hidden_states": torch.zeros(8, 16)}
STEP_AT_480P_S = 2.2  # LoRA of 1.3B at 400 TFLOP/s, by arithmetic (training_needs.py)


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """How often to measure."""

    rounds: int = 15


def main(args: StepTime) -> None:
    torch.set_num_threads(1)
    pipe = small_wan_pipeline(SIZES)
    denoiser, base = Denoiser(pipe), pipe.transformer
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {"parameters": sum(p.numel() for p in base.parameters())}
        small = _clips(Path(folder) / "small" / "samples.lance", LATENT, 64)
        found["steps"] = _steps(base, denoiser, small, args.rounds)
        print(found["steps"], flush=True)
        found["loader"] = _loader(widen(base), denoiser, small, args.rounds)
        large = _clips(Path(folder) / "large" / "samples.lance", FULL_SIZE, 8)
        reading = _reading(large, 12)
        found["loader"]["clip_of_480p"] = reading | {
            "of_a_step_of_1.3B_on_an_H100_by_arithmetic": reading["cpu_seconds"] / STEP_AT_480P_S
        }
        print(found["loader"], flush=True)
        found["checkpoints"] = _checkpoints(widen(base), Path(folder), args.rounds // 3)
        print(found["checkpoints"], flush=True)
    found["rounds"] = args.rounds
    record("step_time", found)


def _clips(path: Path, latent: tuple[int, ...], number: int) -> Path:
    """A prepared dataset of random latents."""
    path.parent.mkdir()
    g = torch.Generator().manual_seed(0)
    _, t, h, w = latent
    for first in range(0, number, 8):
        samples = []
        for place in range(first, first + 8):
            x, d = torch.randn(2, *latent, generator=g).half()
            samples.append(dataset.Sample(
                f"{place}.mp4#0000", f"{place}.mp4", 0, 0, 0.0, "a clip", "train", 8 * h, 8 * w,
                4 * t - 3, 8.0, 8.0, 1.0, 0.0, x, d, NULL,
            ))  # fmt: skip
        dataset.append(path, samples)
    return path


def _batches(path: Path, num_workers: int) -> Iterator[MicroBatch]:
    read = loader.batches(path, batch_size=1, seed=0, num_workers=num_workers)
    for number, batch in enumerate(read):
        yield MicroBatch(batch.x, batch.d, batch.text, [number])


def _stepper(model: torch.nn.Module, denoiser: Denoiser, joint: bool) -> Callable[..., None]:
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def step(batch: MicroBatch) -> None:
        training_loss(model, batch, NULL, Objective(), denoiser, 0, joint).total.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def _steps(base: Any, denoiser: Denoiser, clips: Path, rounds: int) -> dict[str, Any]:
    batch = next(_batches(clips, 0))
    ways: dict[str, Callable[..., None]] = {}
    for name in ("plain", "joint", "plain, compiled", "joint, compiled"):
        joint = name.startswith("joint")
        model: Any = widen(base) if joint else type(base).from_config(base.config)
        if "compiled" in name:
            model.compile_repeated_blocks(dynamic=False)
        ways[name] = _stepper(model, denoiser, joint)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 2):
        for name in sorted(ways, reverse=bool(round_ % 2)):
            start = time.process_time()
            ways[name](batch)
            if round_ >= 2:  # warm
                seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "median_cpu_seconds": medians,
        "joint_over_plain": medians["joint"] / medians["plain"],
        "joint_over_plain_compiled": medians["joint, compiled"] / medians["plain, compiled"],
        "compiled_over_not": medians["joint, compiled"] / medians["joint"],
    }


def _loader(model: Any, denoiser: Denoiser, clips: Path, rounds: int) -> dict[str, Any]:
    step, read = _stepper(model, denoiser, True), _batches(clips, 2)
    step(next(read))
    waited, start = 0.0, time.perf_counter()
    for _ in range(rounds):
        before = time.perf_counter()
        batch = next(read)
        waited += time.perf_counter() - before
        step(batch)
    return {
        "waited_for_the_loader_share_of_the_time": waited / (time.perf_counter() - start),
        "clip_of_these_steps": _reading(clips, rounds),
    }


def _reading(clips: Path, number: int) -> dict[str, float]:
    """One clip after the other, with nothing read ahead."""
    read = _batches(clips, 0)
    next(read)
    start, clock = time.process_time(), time.perf_counter()
    for _ in itertools.islice(read, number):
        pass
    return {
        "cpu_seconds": (time.process_time() - start) / number,
        "seconds": (time.perf_counter() - clock) / number,
    }


def _checkpoints(model: Any, folder: Path, rounds: int) -> dict[str, Any]:
    """How long a step waits for its checkpoint, of all weights and Adam's moments."""
    parameters = dict(model.named_parameters())
    optimiser = torch.optim.AdamW(parameters.values(), lr=1e-6)
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0)
    held: dict[str, list[float]] = {"at once": [], "in the background": []}
    written: list[float] = []
    with contextlib.ExitStack() as stack:
        savers = {}
        for name in held:
            config = TrainConfig(
                out=folder, checkpoint_in_background=name != "at once", keep_checkpoints=1
            )
            savers[name] = stack.enter_context(saver(folder / name, config))
        for step in range(1, rounds + 1):
            for name, saving in savers.items():
                start = time.perf_counter()
                saving.save(step, parameters, optimiser, schedule, None)
                held[name].append(time.perf_counter() - start)
                saving.wait()
                if name != "at once":
                    written.append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in held.items()}
    return {
        "median_seconds_that_steps_wait": medians,
        "background_over_at_once": medians["in the background"] / medians["at once"],
        "median_seconds_until_written_in_the_background": statistics.median(written),
        "mib": sum(3 * p.nbytes for p in parameters.values()) / 2**20,
        "rounds": rounds,
    }


if __name__ == "__main__":
    main(tyro.cli(StepTime))
