"""Distilled guidance in small: the scanline joint model learns what its own guidance gives.

    nice python benchmarks/guidance_distill.py --models MODELS --folder KEPT

The loss is that of `videojam train --distill-guidance` (training/distill.py). States are those that
sampling comes by: a round samples clips under guidance, and its (state, guided prediction) pairs of
the last rounds are learned from; later half of the clips go the student's own way. All weights are
trained, from those of the joint model. The same command goes on after the last whole round.
benchmarks/guidance_cost.py then samples it in one pass a step.
"""

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from guidance_rollout import rollout
from videojam.evaluation.experiments.scanline.model import latents, predictor, text
from videojam.evaluation.experiments.scanline.settings import Triple
from videojam.evaluation.experiments.scanline.triple import load
from videojam.guidance.branches import Branch
from videojam.guidance.inner import GuidanceSettings
from videojam.joint.latents import join
from videojam.joint.noising import flow_matching
from videojam.lab.scanline.clips import draw
from videojam.records.atomic import replacing, write_text
from videojam.rng import generator
from videojam.training.cost import attention_kernel
from videojam.training.distill import share_missed
from videojam.training.step import sample_noise

GUIDANCE = GuidanceSettings(text_scale=5.0, motion_scale=5.0)
STEPS, CLIPS, BATCH, UPDATES = 40, 32, 16, 80
POOLS, ALONE_FROM = 3, 3
"Rounds that are learned from, and the first one in which half of the clips are the student's."
RATE, WARMUP, DECAY = 1e-3, 20, 0.98
Pool = dict[str, Tensor]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    train(Triple(seed=args.seed), args.models, args.folder, args.rounds)


def student(triple: Triple, models: Path, folder: Path) -> torch.nn.Module:
    """The averaged weights of the last round. ValueError if there was none."""
    path = folder / "state.safetensors"
    if not path.exists():
        raise ValueError(f"{path} is not there; run benchmarks/guidance_distill.py first")
    model = load(triple, "joint", models)
    kept = load_file(path)
    model.load_state_dict({n[8:]: v for n, v in kept.items() if n.startswith("average/")})
    return model.eval()


def train(triple: Triple, models: Path, folder: Path, rounds: int, clips: int = CLIPS) -> None:
    """Rounds that are not done yet."""
    folder.mkdir(parents=True, exist_ok=True)
    teacher = load(triple, "joint", models)
    model = copy.deepcopy(teacher).train()
    average = copy.deepcopy(teacher)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    log: list[dict[str, Any]] = []
    state = folder / "state.safetensors"
    if state.exists():
        log = json.loads((folder / "log.json").read_text())
        restore(load_file(state), model, average, optimiser)
    for number in range(len(log), rounds):
        start = time.process_time()
        for before in range(max(0, number - POOLS + 1), number + 1):
            make_pool(triple, teacher, average, folder, before, clips)
        pool = read_pools(folder, number)
        sampled, losses = time.process_time() - start, []
        random = generator(triple.seed, "distil batches", number)
        for update in range(UPDATES):
            at = number * UPDATES + update
            left = 1 - at / (rounds * UPDATES)
            for group in optimiser.param_groups:
                group["lr"] = RATE * min(1.0, (at + 1) / WARMUP, 2 * left)
            chosen = torch.randint(len(pool["sigma"]), (BATCH,), generator=random)
            losses.append(learn(triple, model, {k: v[chosen] for k, v in pool.items()}))
            optimiser.step()
            optimiser.zero_grad()
            with torch.no_grad():
                for mean, new in zip(average.parameters(), model.parameters(), strict=True):
                    mean.lerp_(new, 1 - min(DECAY, (at + 1) / (at + 10)))
        x, d = torch.tensor(losses).mean(0).tolist()
        log.append(
            {"round": number, "missed of x": round(x, 4), "missed of d": round(d, 4),
             "sampling, s": round(sampled, 1), "all, s": round(time.process_time() - start, 1)}
        )  # fmt: skip
        with replacing(state) as part:
            save_file(kept(model, average, optimiser), part)
        write_text(folder / "log.json", json.dumps(log, indent=1) + "\n")
        print(log[-1], flush=True)


def learn(triple: Triple, model: Any, batch: Pool) -> tuple[float, float]:
    """Gradients of a batch; the shares of guidance that are missed in both halves."""
    tokens = triple.world.frames * triple.world.width // 4
    level = flow_matching(batch["sigma"])
    words = text(triple.sizes, batch["captions"])
    with torch.autocast("cpu", torch.bfloat16), attention_kernel(torch.device("cpu"), tokens):
        found = predictor(model)(batch["state"].float(), level, words).float()
        parts = share_missed(found, batch["guided"].float(), batch["joint"].float())
        parts.total.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    return float(parts.appearance), float(parts.motion)


def make_pool(
    triple: Triple, teacher: Any, model: Any, folder: Path, number: int, clips: int
) -> None:
    """States of one round's clips, with what the teacher says of them, in a file."""
    path = folder / f"pool-{number}.safetensors"
    if path.exists():
        return
    numbers = range(number * clips, (number + 1) * clips)
    drawn = draw(triple.world, triple.seed, numbers, "distil")
    like = latents(triple.world, drawn).x
    start = join(*(sample_noise(like, triple.seed, f"distil {h}", [*numbers]) for h in "xd"))
    alone = torch.arange(clips) % 2 == 0
    own = (model, alone) if number >= ALONE_FROM else (None, None)
    steps = [
        {"state": step.state.half(), "guided": step.guided.half(),
         "joint": step.predictions[Branch.JOINT].half(), "captions": drawn.captions,
         "sigma": torch.full((clips,), step.sigma)}
        for step in rollout(teacher, triple.sizes, drawn.captions, start, GUIDANCE, STEPS, *own)
    ]  # fmt: skip
    with replacing(path) as part:
        save_file(
            {key: torch.cat([one[key] for one in steps]).contiguous() for key in steps[0]}, part
        )


def read_pools(folder: Path, number: int) -> Pool:
    found = [
        load_file(folder / f"pool-{one}.safetensors")
        for one in range(max(0, number - POOLS + 1), number + 1)
    ]
    (folder / f"pool-{number - POOLS}.safetensors").unlink(missing_ok=True)
    return {key: torch.cat([one[key] for one in found]) for key in found[0]}


def kept(model: Any, average: Any, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights, their average and the optimiser's state, by name."""
    found = {f"model/{n}": v.detach().clone() for n, v in model.state_dict().items()}
    found |= {f"average/{n}": v.detach().clone() for n, v in average.state_dict().items()}
    for place, own in optimiser.state_dict()["state"].items():
        found |= {f"optimiser/{place}/{name}": value.clone() for name, value in own.items()}
    return found


def restore(
    found: dict[str, Tensor], model: Any, average: Any, optimiser: torch.optim.Optimizer
) -> None:
    """The opposite of `kept`."""
    for prefix, one in (("model/", model), ("average/", average)):
        own = {n.removeprefix(prefix): v for n, v in found.items() if n.startswith(prefix)}
        one.load_state_dict(own)
    state = optimiser.state_dict()
    for key, value in found.items():
        if key.startswith("optimiser/"):
            _, place, name = key.split("/")
            state["state"].setdefault(int(place), {})[name] = value
    optimiser.load_state_dict(state)


if __name__ == "__main__":
    main()
