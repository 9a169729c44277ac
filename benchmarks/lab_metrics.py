"""What the Motion Lab's metrics see: true clips, and clips damaged on purpose.

    python benchmarks/lab_metrics.py --quick      # few clips, a minute
    python benchmarks/lab_metrics.py              # about 5 minutes; results/lab_metrics.json
    python benchmarks/lab_metrics.py --show       # the recorded tables again

Prints two tables in markdown: true clips by scene type, and damages with growing strengths. All
damaged clips, and those of strength 0 beside them, are degraded as a lossy decoder would.
"""

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from record import RESULTS, record
from videojam.lab.clips import Lab, lab_scene
from videojam.lab.judge import judge
from videojam.lab.judge.damages import DAMAGES, Damage
from videojam.lab.look import Look
from videojam.lab.render import draw
from videojam.lab.scene import Scene
from videojam.lab.scenes import SCENES
from videojam.lab.scenes.dice import Dice
from videojam.rng import generator

True_ = dict[str, dict[str, dict[str, float | None]]]
_NAMES = ("permanence", "rigidity", "contact", "law", "order", "motion", "coherence", "text")
_NOISE = 4.0  # of 255, of the degraded clips


def degraded(frames: UInt8[Tensor, "f h w 3"], index: int) -> UInt8[Tensor, "f h w 3"]:
    """Blurred by (1 2 1) / 4 and noisy, as a lossy decoder leaves a clip."""
    pixels = frames.permute(0, 3, 1, 2).float()
    kernel = torch.tensor([0.25, 0.5, 0.25])
    kernel = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
    pixels = torch.nn.functional.conv2d(_padded(pixels), kernel, groups=3)
    noise = torch.randn(pixels.shape, generator=generator(0, "lab metrics noise", index))
    pixels = (pixels + _NOISE * noise).clamp(0, 255).round()
    return pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _padded(pixels: Tensor) -> Tensor:
    return torch.nn.functional.pad(pixels, (1, 1, 1, 1), mode="replicate")


def averaged(rows: Sequence[dict[str, float]]) -> dict[str, float | None]:
    """Mean per metric over the clips it applies to; None where it applies to none."""
    means: dict[str, float | None] = {}
    for name in rows[0]:
        values = [row[name] for row in rows if not math.isnan(row[name])]
        means[name] = float(np.mean(values)) if values else None
    return means


def true_clips(
    pool: Sequence[tuple[Scene, Look]], size: int, noisy: bool
) -> list[dict[str, float]]:
    rows = []
    for index, (scene, look) in enumerate(pool):
        frames = draw([scene], [look], (size, size)).frames[0]
        rows.append(judge(degraded(frames, index) if noisy else frames, scene).as_dict())
    return rows


def damaged(
    damage: Damage, strength: float, pool: Sequence[tuple[Scene, Look]], size: int, clips: int
) -> list[dict[str, float]]:
    """Scores of degraded clips of the first `clips` scenes that can be damaged so.

    strength 0: the same clips, undamaged.
    """
    rows = []
    for index, (scene, look) in enumerate(pool):
        if len(rows) == clips:
            break
        dice = Dice(generator(0, "lab metrics damage", index))
        frames = damage.make(scene, look, (size, size), strength or damage.strengths[0], dice)
        if frames is None:
            continue
        if strength == 0:
            frames = draw([scene], [look], (size, size)).frames[0]
        rows.append(judge(degraded(frames, index), scene).as_dict())
    return rows


def speed_of_judge(pool: Sequence[tuple[Scene, Look]]) -> float:
    """Clips per second of one core."""
    clips = [(draw([scene], [look], (64, 64)).frames[0], scene) for scene, look in pool]
    start = time.process_time()
    for frames, scene in clips:
        judge(frames, scene)
    return len(clips) / (time.process_time() - start)


def measure_true(seed: int, per_type: int) -> True_:
    """Per label of drawing, per scene type and for all: the mean scores of true clips."""
    found: True_ = {}
    for size, noisy in itertools.product((64, 128), (False, True)):
        label = f"{size}, degraded" if noisy else f"{size}"
        rows: dict[str, list[dict[str, float]]] = {}
        for name in SCENES:
            lab = Lab(types=(name,), seed=seed, height=size, width=size)
            pool = [lab_scene(lab, index) for index in range(per_type)]
            rows[name] = true_clips(pool, size, noisy)
        found[label] = {name: averaged(values) for name, values in rows.items()}
        found[label]["all"] = averaged([row for values in rows.values() for row in values])
    return found


def measure_damages(
    damages: Sequence[Damage], pool: Sequence[tuple[Scene, Look]], clips: int
) -> list[dict[str, Any]]:
    """One cell per damage and strength, strength 0 first."""
    table: list[dict[str, Any]] = []
    for damage in damages:
        for strength in (0.0, *damage.strengths):
            rows = damaged(damage, strength, pool, 64, clips)
            table.append(
                {"damage": damage.name, "strength": strength, "unit": damage.unit}
                | {"for": damage.for_metrics, "clips": len(rows), "scores": averaged(rows)}
            )
        print(damage.name, flush=True, file=sys.stderr)
    return table


def show(true: True_, table: Sequence[dict[str, Any]]) -> None:
    """Both tables in markdown; bold is what a damage is for."""
    print(line(["scene type", "pixels", *_NAMES]))
    print(line(["---"] * (len(_NAMES) + 2)))
    for name in (*SCENES, "all"):
        for label, means in true.items():
            if name == "all" or label == "64, degraded":
                print(line([name, label, *(shown(means[name][m]) for m in _NAMES)]))
    print()
    print(line(["damage", "strengths", "clips", *_NAMES]))
    print(line(["---"] * (len(_NAMES) + 3)))
    for name, group in itertools.groupby(table, lambda cell: cell["damage"]):
        cells = list(group)
        strengths = " ".join(f"{cell['strength']:g}" for cell in cells)
        values = []
        for metric in _NAMES:
            scores = [cell["scores"][metric] for cell in cells]
            text = "-" if None in scores else " ".join(shown(score) for score in scores)
            values.append(f"**{text}**" if metric in cells[0]["for"] else text)
        unit = f" {cells[0]['unit']}" if cells[0]["unit"] else ""
        print(line([name, strengths + unit, str(cells[0]["clips"]), *values]))


def line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few clips, nothing recorded")
    parser.add_argument("--show", action="store_true", help="print the recorded tables again")
    parser.add_argument("--clips", type=int, default=38, help="clips per cell")
    parser.add_argument("--seed", type=int, default=1000, help="of the lab's clips")
    names = [damage.name for damage in DAMAGES]
    parser.add_argument("--damage", nargs="*", default=names, choices=names, help="only these")
    args = parser.parse_args()
    if args.show:
        figures = json.loads((RESULTS / "lab_metrics.json").read_text())["figures"]
        show(figures["true"], figures["damaged"])
        return
    torch.set_num_threads(1)
    start = time.process_time()
    clips = 6 if args.quick else args.clips
    true = measure_true(args.seed, 1 if args.quick else 8)
    lab = Lab(seed=args.seed)
    pool = [lab_scene(lab, index) for index in range(12 * len(SCENES))]
    table = measure_damages([d for d in DAMAGES if d.name in args.damage], pool, clips)
    show(true, table)
    seconds = time.process_time() - start
    speed = speed_of_judge(pool[: 2 * len(SCENES)])
    print(f"\n{seconds:.0f} s of one core; judge: {speed:.1f} clips of 64 x 64 x 17 a second")
    if not args.quick and len(args.damage) == len(DAMAGES):
        figures = {"true": true, "damaged": table, "seconds": seconds, "clips_per_second": speed}
        print(record("lab_metrics", figures | {"seed": args.seed}))


if __name__ == "__main__":
    main()
