"""What sampling costs, and what it gives: guidance of less passes, caches, and the paper's way.

    python benchmarks/guidance_cost.py --models MODELS --folder KEPT --stream development --count 64
    python benchmarks/guidance_cost.py --models MODELS --folder KEPT --seeds 2 3
    python benchmarks/guidance_cost.py --lab runs/loud --folder KEPT --seeds 3000 --steps 25 \
        --w1 2.5 --w2 3

MODELS as `videojam evaluate scanline` trains them, of the training seeds that are named; or a
folder of `videojam lab-model`, on captions of a lab seed that nothing was chosen by. All systems
begin with the same noises. Settings are chosen on development captions; the figures are of
held-out ones. Final latents are kept in parts, so the command goes on where it was stopped, and
several processes share the work; each of them writes the results.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from guidance_systems import (
    ALONE,
    DEVELOPMENT,
    PAPER,
    PLAIN,
    SYSTEMS,
    System,
    cache_of,
    cached,
    counted,
)
from guidance_worlds import Line, MotionLab, as_judged
from record import RESULTS, record
from videojam.evaluation.report.plots import Whiskers, whisker_panels
from videojam.evaluation.statistics.bootstrap import bootstrap_mean, paired_bootstrap
from videojam.evaluation.statistics.set_distance import set_distance, set_distance_difference
from videojam.records.atomic import replacing
from videojam.records.lock import held
from videojam.sampling.pipeline import Sampling

PLOTS = Path(__file__).parent.parent / "docs" / "plots"
MARGIN = 0.03  # of the first score, stated before anything was measured
CALIBRATED = 8  # development captions, for MagCache


def main(given: list[str] | None = None) -> None:
    args = arguments(given)
    torch.set_num_threads(1)
    worlds = [world_of(args, seed) for seed in args.seeds]
    systems = dict(DEVELOPMENT if args.stream == "development" else SYSTEMS)
    if args.distilled is None:
        systems.pop("distilled", None)
    if args.as_it_is:
        systems = {
            name: system
            for name, system in systems.items()
            if all(
                part_file(world, args, name, part).exists() for world, part in parts(worlds, args)
            )
        }
    names = args.only or [*systems]
    todo = [(name, *one) for name in names for one in parts(worlds, args)]
    while todo:
        left = [one for one in todo if not measure(one[1], args, one[0], systems[one[0]], one[2])]
        if len(left) == len(todo):
            time.sleep(5)  # others are at them
        todo = left
    if args.only:
        return
    found = compared(worlds, args, systems)
    if args.stream == "held out" and (not args.as_it_is or seconds_file(worlds[0]).exists()):
        seconds = seconds_in_one_run(worlds[0], args, {PLAIN: SYSTEMS[PLAIN], **systems})
        for name in found.keys() & seconds.keys():
            found[name]["processor seconds, of plain CFG"] = seconds[name]
    figures = {
        "stream": args.stream, "seeds": args.seeds, "captions of each": args.count,
        "steps": args.steps, "w1": args.w1, "w2": args.w2, "w1 without motion": args.plain_w1,
        "margin": MARGIN, "systems": found,
    }  # fmt: skip
    name = args.name + ("_lab" if args.lab else "")
    name += "_development" if args.stream == "development" else ""
    print(record(name, figures, args.results).read_text())
    plot(figures, worlds[0].scores[0], args.plots / f"{name}.png")


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, help="of `evaluate scanline`")
    parser.add_argument("--lab", type=Path, help="of `lab-model`, in place of --models")
    parser.add_argument("--folder", type=Path, required=True, help="for final latents")
    parser.add_argument("--distilled", type=Path, help="folder of guidance_distill.py")
    parser.add_argument("--stream", choices=("development", "held out"), default="held out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--w1", type=float, default=5.0)
    parser.add_argument("--w2", type=float, default=5.0)
    parser.add_argument("--plain-w1", type=float, help="where there is no motion guidance")
    parser.add_argument("--device", default="cpu", help="of lab models")
    parser.add_argument("--only", nargs="*", help="make these systems' latents, and no results")
    parser.add_argument(
        "--as-it-is", action="store_true", help="results of the systems that are all there"
    )
    parser.add_argument("--name", default="guidance_cost", help="of the results")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--plots", type=Path, default=PLOTS)
    args = parser.parse_args(given)
    if (args.models is None) == (args.lab is None):
        parser.error("give --models or --lab")
    args.plain_w1 = args.w1 if args.plain_w1 is None else args.plain_w1
    return args


def world_of(args: argparse.Namespace, seed: int) -> Any:
    if args.lab is not None:
        return MotionLab(args.lab, args.folder, seed, args.stream, args.device)
    return Line(args.models, args.folder, seed, args.stream, args.distilled)


def parts(worlds: list[Any], args: argparse.Namespace) -> list[tuple[Any, range]]:
    return [
        (world, range(at, min(at + world.part, args.count)))
        for world in worlds
        for at in range(0, args.count, world.part)
    ]


def settings(args: argparse.Namespace, name: str, system: System) -> Sampling:
    w1 = args.plain_w1 if name in (PLAIN, ALONE) else args.w1
    scales = {"text_scale": w1, "motion_scale": args.w2}
    return Sampling(num_inference_steps=args.steps, **scales | system.changes)


def part_file(world: Any, args: argparse.Namespace, name: str, numbers: range) -> Path:
    words = name.replace(",", "")
    name = f"{args.stream} {args.steps} {words} {numbers.start}.safetensors"
    return world.folder / name.replace(" ", "-")


def measure(world: Any, args: Any, name: str, system: System, numbers: range) -> bool:
    """Final latents of some clips, their scores, and how often the transformer and each of its
    blocks ran; False if another process is at it."""
    path = part_file(world, args, name, numbers)
    with held(world.folder, path.name + ".lock") as mine:
        if not mine:
            return False
        made_by = repr((settings(args, name, system), system.role, system.cache))
        if path.exists():
            check_made_by(path, made_by)
            return True
        transformer = world.transformer(system.role)
        with cached(transformer, cache(world, args, system)), counted(transformer) as counts:
            start = time.process_time()
            found = world.sample(system, settings(args, name, system), numbers)
            seconds = time.process_time() - start
        runs = torch.tensor([counts["passes"], counts["blocks"], seconds], dtype=torch.float64)
        kept = {"latents": found, "runs": runs, **world.score(found, numbers)}
        with replacing(path) as file:
            tensors = {key: value.contiguous().clone() for key, value in kept.items()}
            save_file(tensors, file, {"made by": made_by})
        print(path.name, flush=True)
    return True


def check_made_by(path: Path, made_by: str) -> None:
    """ValueError for a part that other settings made under this name; older ones do not say."""
    with safe_open(path, "pt") as file:
        before = (file.metadata() or {}).get("made by", made_by)
    if before != made_by:
        raise ValueError(f"{path} was made by {before}, now {made_by}; remove it, to make it anew")


def cache(world: Any, args: Any, system: System) -> Any:
    """Of a system; MagCache's ratios are those of development captions."""

    def calibrate() -> None:
        paper, some = SYSTEMS[PAPER], range(min(CALIBRATED, args.count))
        world.sample(paper, settings(args, PAPER, paper), some, "development")

    return cache_of(system, world.transformer(system.role), args.steps, calibrate)


def compared(worlds: list[Any], args: Any, systems: dict[str, System]) -> dict[str, Any]:
    """Cost, scores and agreement of each system with the paper's way."""
    latents, runs, scores = {}, {}, {}
    for name in systems:
        files = []
        for world, part in parts(worlds, args):
            file = load_file(part_file(world, args, name, part))
            files.append(file | world.features(file["latents"], part))
        latents[name] = torch.cat([file.pop("latents") for file in files])[:, : worlds[0].channels]
        runs[name] = torch.stack([file.pop("runs") for file in files])
        scores[name] = {key: torch.cat([file[key] for file in files]) for key in files[0]}
    plain = 2 * args.steps
    figures = {}
    for name, system in systems.items():
        figures[name] = {
            "passes": float(runs[name][0, 0]),
            "passes, by the settings": settings(args, name, system).passes(
                args.steps, system.role != "control"
            ),
            "cost in passes, of plain CFG": float(runs[name][:, 0].mean() / plain),
            "cost in blocks, of plain CFG": float(runs[name][:, 1].mean() / plain),
            "processor seconds, of the paper's": float(
                runs[name][:, 2].mean() / runs[PAPER][:, 2].mean()
            ),
            **judged(worlds[0].scores, scores[name], scores[PAPER]),
        }
        if system.role != "control":
            away = (latents[name] - latents[PAPER]).flatten(1).norm(dim=1)
            share = away / latents[PAPER].flatten(1).norm(dim=1)
            nothing = {"mean": 0.0, "low": 0.0, "high": 0.0}
            found = bootstrap_mean(share, torch.arange(len(share)))._asdict()
            figures[name]["distance to the paper's latents"] = nothing if name == PAPER else found
    return figures


def judged(names: Any, own: dict[str, Any], paper: dict[str, Any]) -> dict[str, Any]:
    """Means of the scores, and what they are less the paper's, with intervals over captions."""
    found: dict[str, Any] = {}
    for score in names:
        clusters = torch.arange(len(own[score]))
        found[score] = bootstrap_mean(own[score], clusters)._asdict()
        less = paired_bootstrap(own[score], paper[score], clusters)
        found[f"{score}, less the paper's"] = less._asdict()
    found["equivalent"] = found[f"{names[0]}, less the paper's"]["low"] > -MARGIN
    one, other, true = (
        as_judged(features)
        for features in (own["features"], paper["features"], own["true features"])
    )
    less = set_distance_difference(one, other, true)
    found["appearance distance"] = set_distance(one, true)
    found["appearance distance, less the paper's"] = less and less._asdict()
    return found


def plot(figures: dict[str, Any], score: str, path: Path) -> None:
    """Cost against quality and agreement."""
    panels = []
    for key, label in (
        (score, f"{score} [95 % interval]"),
        ("distance to the paper's latents", "distance to the paper's latents, share"),
    ):
        points = {
            name: (own["cost in blocks, of plain CFG"],
                   *(own[key][part] for part in ("mean", "low", "high")))
            for name, own in figures["systems"].items()
            if key in own
        }  # fmt: skip
        panels.append(Whiskers(points, "cost in blocks, share of plain guidance's", label))
    captions = len(figures["seeds"]) * figures["captions of each"]
    whisker_panels(path, panels, f"{captions} {figures['stream']} captions")


def seconds_file(world: Any) -> Path:
    return world.folder / "seconds.json"


def seconds_in_one_run(world: Any, args: Any, systems: dict[str, System], rounds: int = 3) -> Any:
    """Processor seconds of two samples, the systems in turn, as shares of plain CFG's; kept."""
    path = seconds_file(world)
    kept = json.loads(path.read_text()) if path.exists() else {}
    if kept.keys() >= systems.keys():
        return kept
    found: dict[str, list[float]] = {name: [] for name in systems}
    caches = {name: cache(world, args, system) for name, system in systems.items()}
    for _ in range(rounds):
        for name, system in systems.items():
            with cached(world.transformer(system.role), caches[name]):
                start = time.process_time()
                world.sample(system, settings(args, name, system), range(2))
                found[name].append(time.process_time() - start)
    shares = {
        name: statistics.median(a / b for a, b in zip(own, found[PLAIN], strict=True))
        for name, own in found.items()
    }
    path.write_text(json.dumps(shares))
    return shares


if __name__ == "__main__":
    main()
