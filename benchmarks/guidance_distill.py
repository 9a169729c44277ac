"""Distilled guidance in small: a LoRA on the scanline joint model, its guidance the teacher.

    python benchmarks/guidance_distill.py --models MODELS --folder KEPT

The loss is that of `videojam train --distill-guidance` (training/distill.py); the scanline models
have a loop of their own. benchmarks/guidance_cost.py then
samples it in one pass a step.
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from videojam.evaluation.experiments.scanline.model import latents, predictor, text
from videojam.evaluation.experiments.scanline.settings import Triple
from videojam.evaluation.experiments.scanline.triple import load
from videojam.guidance.inner import GuidanceSettings
from videojam.joint.families import family_of
from videojam.joint.latents import join
from videojam.joint.noising import flow_matching
from videojam.lab.scanline.clips import draw
from videojam.objective import Objective, sample_sigma
from videojam.records.atomic import replacing
from videojam.rng import generator
from videojam.training.config import TrainConfig
from videojam.training.distill import guided, lora_off, step_of
from videojam.training.model import trainable_model
from videojam.training.step import sample_noise

GUIDANCE = GuidanceSettings(text_scale=5.0, motion_scale=5.0)
DISTILLED = "distilled.safetensors"
BATCH, RATE, RANK, NULL = 16, 1e-3, 16, -1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=120)
    args = parser.parse_args()
    torch.set_num_threads(1)
    student(args.models, args.folder, args.steps)


def student(models: Path, folder: Path, steps: int = 120) -> torch.nn.Module:
    """Trained if it is not there yet."""
    triple = Triple(seed=0)
    base = load(triple, "joint", models)
    config = TrainConfig(out=folder, lora_rank=RANK, precision="fp32", distill_guidance=True)
    model = trainable_model(base, config, family_of(base), 3)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    path = folder / DISTILLED
    if path.exists():
        for name, value in load_file(path).items():
            parameters[name].data = value
        return model.eval()
    optimiser = torch.optim.AdamW(parameters.values(), lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / 20, 1.2 * (1 - step / steps))
    )
    predict, clock = predictor(model), time.time()
    for step in range(steps):
        numbers = [*range(step * BATCH, (step + 1) * BATCH)]
        clips = draw(triple.world, triple.seed, range(numbers[0], numbers[-1] + 1), "distil")
        clean = latents(triple.world, clips)
        draws = [generator(triple.seed, "distil sigma", n) for n in numbers]
        sigma = torch.cat([sample_sigma(Objective(), "uniform", 1.0, d) for d in draws])
        level = flow_matching(sigma)
        noised = join(
            *(
                level.seen(half, sample_noise(half, triple.seed, f"distil noise {name}", numbers))
                for name, half in zip("xd", clean, strict=True)
            )
        )
        words, nothing = (
            text(triple.sizes, captions)
            for captions in (clips.captions, torch.full_like(clips.captions, NULL))
        )
        places = [step_of(float(one), 1.0) for one in sigma]
        with torch.no_grad(), lora_off(model):
            target = guided(predict, noised, level, words, nothing, GUIDANCE, places)
        loss = torch.mean((predict(noised, level, words) - target) ** 2)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        if step % 20 == 0 or step == steps - 1:
            print(step, f"{float(loss):.4f}", f"{time.time() - clock:.0f} s", flush=True)
    with replacing(path) as part:
        save_file({name: value.detach() for name, value in parameters.items()}, part)
    return model.eval()


if __name__ == "__main__":
    main()
