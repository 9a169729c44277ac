"""What sampling costs, and what it gives: guidance of less passes, caches, and the paper's way.

    python benchmarks/guidance_cost.py --models MODELS --folder KEPT --stream development --count 64
    python benchmarks/guidance_cost.py --models MODELS --folder KEPT

The scanline world, whose joint model is the one that Inner-Guidance helps (docs/results.md):
models of training seed 0, all systems from the same noises. Settings are chosen on development
captions; the figures are of held-out ones. Final latents are kept in parts of 64 clips, so the
command goes on where it was stopped, and several processes share the work; each of them writes the
results.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import FirstBlockCacheConfig, MagCacheConfig
from safetensors.torch import load_file, save_file

from guidance_distill import student
from record import record
from videojam.evaluation.experiments.scanline.bench import Bench
from videojam.evaluation.experiments.scanline.fit import Speed
from videojam.evaluation.experiments.scanline.model import CHANNELS, to_frames
from videojam.evaluation.experiments.scanline.sample import Sampler
from videojam.evaluation.experiments.scanline.settings import Triple
from videojam.evaluation.report.plots import Whiskers, whisker_panels
from videojam.evaluation.statistics.bootstrap import bootstrap_mean, paired_bootstrap
from videojam.guidance.presets import PRESETS
from videojam.lab.scanline.judge import judge
from videojam.records.atomic import replacing
from videojam.records.lock import held
from videojam.sampling.caches import ratios_of
from videojam.sampling.pipeline import Sampling

PART = 64
PLOTS = Path(__file__).parent.parent / "docs" / "plots"
MARGIN = 0.03  # of `lawful`, stated before anything was measured
PLAIN, PAPER = "plain CFG of the control", "paper"
BLOCKS = r"blocks\.\d+\.(attn1|attn2|ffn)"


class System(NamedTuple):
    """A model and how it is sampled."""

    role: Any
    changes: dict[str, Any]
    cache: Any = None


def every(count: int, **changes: Any) -> dict[str, Any]:
    return {"text_every": count, "motion_every": count, **changes}


PAPERS = System("joint", {})
DEVELOPMENT = {
    PAPER: System("joint", {}),
    "every 2nd": System("joint", every(2)),
    "every 3rd": System("joint", every(3)),
    "every 4th": System("joint", every(4)),
    "every 3rd, on a line": System("joint", every(3, reuse="extrapolate")),
    "every 4th, text in half": System("joint", every(4, text_stop=0.5)),
    "every 2nd, text in half": System("joint", every(2, text_stop=0.5)),
    "every 6th": System("joint", every(6)),
    "every 2nd, on a line": System("joint", every(2, reuse="extrapolate")),
    "without Inner-Guidance": System("joint", {"motion_scale": 0.0}),
    "every 4th, on a line": System("joint", every(4, reuse="extrapolate")),
    "every 4th, text in half, on a line": System(
        "joint", every(4, reuse="extrapolate", text_stop=0.5)
    ),
    "every 6th, on a line": System("joint", every(6, reuse="extrapolate")),
    "every 4th, on a line, first block cache 0.05": System(
        "joint", every(4, reuse="extrapolate"), FirstBlockCacheConfig(0.05)
    ),
    "every 4th, on a line, first block cache 0.1": System(
        "joint", every(4, reuse="extrapolate"), FirstBlockCacheConfig(0.1)
    ),
    "paper, MagCache": System("joint", {}, "mag"),
    "every 3rd, settled at 0.9": System("joint", every(3, settled_cosine=0.9)),
}
SYSTEMS = {
    PAPER: System("joint", {}),
    "balanced": System("joint", PRESETS["balanced"]),
    "fast": System("joint", PRESETS["fast"]),
    "every 4th, kept": System("joint", every(4)),
    "balanced, MagCache": System("joint", PRESETS["balanced"], "mag"),
    "fast, MagCache": System("joint", PRESETS["fast"], "mag"),
    "distilled": System("distilled", {"text_scale": 0.0, "motion_scale": 0.0}),
    "paper, MagCache": System("joint", {}, "mag"),
}
PLAINS = System("control", {"text_scale": 3.0})
# Whose scores `videojam evaluate scanline` has kept, of the same captions and noises, at the scales
# that were best on its development captions.
KEPT = {
    PLAIN: "control-w1-3-w2-0-0-0.5-inner_guidance-40",
    "without Inner-Guidance": "joint-w1-3-w2-0-0-0.5-inner_guidance-40",
}


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    bench = Bench(Triple(seed=0), args.models, args.folder, Speed(compile=False))
    systems = DEVELOPMENT if args.stream == "development" else SYSTEMS
    parts = [range(at, at + PART) for at in range(0, args.count, PART)]
    if args.as_it_is:
        systems = {
            name: system
            for name, system in systems.items()
            if all(part_file(args, name, part).exists() for part in parts)
        }
    todo = [(name, part) for name in args.only or systems for part in parts]
    while todo:
        left = [one for one in todo if not measure(bench, args, one[0], systems[one[0]], one[1])]
        if len(left) == len(todo):
            time.sleep(5)  # others are at them
        todo = left
    if args.only:
        return
    found = compared(bench, args, systems)
    if args.stream == "held out":
        if not args.as_it_is or (args.folder / "seconds.json").exists():
            seconds = seconds_in_one_run(bench, args, {PLAIN: PLAINS, **systems})
            for name in found.keys() & seconds.keys():
                found[name]["processor seconds, of plain CFG"] = seconds[name]
        found |= kept_scores(args, found[PAPER].pop("scores"))
    for own in found.values():
        own.pop("scores", None)
    figures = {
        "stream": args.stream, "captions": args.count, "steps": args.steps, "w1": args.w1,
        "w2": args.w2, "margin": MARGIN, "systems": found,
    }  # fmt: skip
    name = "guidance_cost" + ("_development" if args.stream == "development" else "")
    print(record(name, figures).read_text())
    plot(figures, PLOTS / f"{name}.png")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, required=True, help="of `evaluate scanline`")
    parser.add_argument("--folder", type=Path, required=True, help="for final latents")
    parser.add_argument("--scores", type=Path, help="held-out-256 of `evaluate scanline`")
    parser.add_argument("--stream", choices=("development", "held out"), default="held out")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--w1", type=float, default=5.0)
    parser.add_argument("--w2", type=float, default=5.0)
    parser.add_argument("--only", nargs="*", help="make these systems' latents, and no results")
    parser.add_argument(
        "--as-it-is", action="store_true", help="results of the systems that are all there"
    )
    return parser.parse_args()


def settings(args: argparse.Namespace, system: System) -> Sampling:
    scales = {"text_scale": args.w1, "motion_scale": args.w2}
    return Sampling(num_inference_steps=args.steps, **scales | system.changes)


def part_file(args: argparse.Namespace, name: str, numbers: range) -> Path:
    words = name.replace(" ", "-").replace(",", "")
    return args.folder / f"{args.stream} {args.steps} {words} {numbers.start}.safetensors".replace(
        " ", "-"
    )


def measure(bench: Bench, args: Any, name: str, system: System, numbers: range) -> bool:
    """Final latents of some clips, and how often the transformer and each of its blocks ran; False
    if another process is at it."""
    path = part_file(args, name, numbers)
    with held(args.folder, path.name + ".lock") as mine:
        if not mine:
            return False
        if path.exists():
            return True
        sampler = sampler_of(bench, args, system)
        captions = bench.clips(args.stream, args.count).captions[numbers.start : numbers.stop]
        noise = sampler.noise(numbers, bench._noise_seed(args.stream))
        cache = mag_cache(bench, args) if system.cache == "mag" else system.cache
        with cached(sampler.pipe.transformer, cache), counted(sampler) as counts:
            start = time.process_time()
            found = sampler.latents(captions, noise, settings(args, system))
            seconds = time.process_time() - start
        runs = torch.tensor([counts["passes"], counts["blocks"], seconds], dtype=torch.float64)
        with replacing(path) as file:
            save_file({"latents": found.contiguous(), "runs": runs}, file)
        print(path.name, flush=True)
    return True


def sampler_of(bench: Bench, args: Any, system: System) -> Sampler:
    if system.role != "distilled":
        return bench.sampler(system.role)
    model = student(args.models, args.folder)
    return Sampler.of(model, bench.triple, "joint", bench.speed)


def mag_cache(bench: Bench, args: Any) -> MagCacheConfig:
    """With ratios of eight development captions under the paper's guidance."""
    sampler = bench.sampler("joint")
    captions = bench.clips("development", 8).captions
    ratios = ratios_of(
        sampler.pipe.transformer,
        args.steps,
        lambda: sampler.latents(captions, sampler.noise(range(8), 1), settings(args, PAPERS)),
    )
    print("MagCache's ratios", [round(ratio, 3) for ratio in ratios], flush=True)
    return MagCacheConfig(mag_ratios=ratios, num_inference_steps=args.steps)


@contextmanager
def cached(transformer: Any, cache: Any) -> Iterator[None]:
    if cache is None:
        yield
        return
    transformer.enable_cache(cache)
    try:
        yield
    finally:
        transformer.disable_cache()


@contextmanager
def counted(sampler: Any) -> Iterator[dict[str, float]]:
    """Passes of the transformer, and of its blocks as a mean over the blocks."""
    counts = {"passes": 0.0, "blocks": 0.0}
    transformer = sampler.pipe.transformer

    def count(name: str, weight: float) -> Any:
        def hook(*_: Any) -> None:
            counts[name] += weight

        return hook

    handles = [transformer.patch_embedding.register_forward_pre_hook(count("passes", 1.0))]
    handles += [
        block.attn1.to_q.register_forward_pre_hook(count("blocks", 1 / len(transformer.blocks)))
        for block in transformer.blocks
    ]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def compared(bench: Bench, args: Any, systems: dict[str, System]) -> dict[str, Any]:
    """Cost, scores and agreement of each system with the paper's way."""
    captions = bench.clips(args.stream, args.count).captions
    world = bench.triple.world
    clusters = torch.arange(args.count)
    parts = [range(at, at + PART) for at in range(0, args.count, PART)]
    latents, runs = {}, {}
    for name in systems:
        files = [load_file(part_file(args, name, part)) for part in parts]
        latents[name] = torch.cat([file["latents"] for file in files])[:, :CHANNELS]
        runs[name] = torch.stack([file["runs"] for file in files])
    scores = {
        name: judge(world, to_frames(world, found), captions)._asdict()
        for name, found in latents.items()
    }
    plain = 2 * args.steps
    figures = {}
    for name, system in systems.items():
        own = {
            "passes": int(runs[name][0, 0]),
            "passes, by the settings": settings(args, system).passes(
                args.steps, system.role != "control"
            ),
            "cost in passes, of plain CFG": float(runs[name][:, 0].mean() / plain),
            "cost in blocks, of plain CFG": float(runs[name][:, 1].mean() / plain),
            **judged(scores[name], scores[PAPER]),
            "scores": scores[name],
        }
        if system.role != "control":
            away = (latents[name] - latents[PAPER]).flatten(1).norm(dim=1)
            share = away / latents[PAPER].flatten(1).norm(dim=1)
            nothing = {"mean": 0.0, "low": 0.0, "high": 0.0}
            own["distance to the paper's latents"] = (
                nothing if name == PAPER else bootstrap_mean(share, clusters)._asdict()
            )
        figures[name] = own
    return figures


def judged(own: dict[str, Any], paper: dict[str, Any]) -> dict[str, Any]:
    """Means of the scores, and what they are less the paper's, with intervals over captions."""
    found: dict[str, Any] = {}
    for score in ("lawful", "asked_speed", "present"):
        clusters = torch.arange(len(own[score]))
        found[score] = bootstrap_mean(own[score], clusters)._asdict()
        less = paired_bootstrap(own[score], paper[score], clusters)
        found[f"{score}, less the paper's"] = less._asdict()
    found["equivalent"] = found["lawful, less the paper's"]["low"] > -MARGIN
    return found


def kept_scores(args: Any, paper: dict[str, Any]) -> dict[str, Any]:
    """Systems of two passes a step, for what guidance is worth at all."""
    if args.scores is None:
        return {}
    return {
        name: {
            "passes": 2 * args.steps, "cost in passes, of plain CFG": 1.0,
            "cost in blocks, of plain CFG": 1.0,
            **judged(load_file(args.scores / f"{file}.safetensors"), paper),
        }
        for name, file in KEPT.items()
    }  # fmt: skip


def plot(figures: dict[str, Any], path: Path) -> None:
    """Cost against quality and agreement."""
    panels = []
    for key, label in (
        ("lawful", "lawful [95 % interval]"),
        ("distance to the paper's latents", "distance to the paper's latents, share"),
    ):
        points = {
            name: (own["cost in blocks, of plain CFG"],
                   *(own[key][part] for part in ("mean", "low", "high")))
            for name, own in figures["systems"].items()
            if key in own
        }  # fmt: skip
        panels.append(Whiskers(points, "cost in blocks, share of plain guidance's", label))
    whisker_panels(path, panels, f"{figures['captions']} {figures['stream']} captions")


def seconds_in_one_run(bench: Bench, args: Any, names: dict[str, System], rounds: int = 3) -> Any:
    """Processor seconds of two samples, the systems in turn, as shares of plain CFG's; kept."""
    path = args.folder / "seconds.json"
    if path.exists():
        return json.loads(path.read_text())
    found: dict[str, list[float]] = {name: [] for name in names}
    captions = bench.clips(args.stream, 2).captions
    caches = {name: one.cache for name, one in names.items()}
    caches = {k: mag_cache(bench, args) if v == "mag" else v for k, v in caches.items()}
    for _ in range(rounds):
        for name, system in names.items():
            sampler = sampler_of(bench, args, system)
            with cached(sampler.pipe.transformer, caches[name]):
                start = time.process_time()
                sampler.latents(captions, sampler.noise(range(2), 1), settings(args, system))
                found[name].append(time.process_time() - start)
    shares = {
        name: statistics.median(a / b for a, b in zip(own, found[PLAIN], strict=True))
        for name, own in found.items()
    }
    path.write_text(json.dumps(shares))
    return shares


if __name__ == "__main__":
    main()
