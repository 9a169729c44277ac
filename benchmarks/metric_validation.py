"""Which metric sees what: real clips against the same clips, damaged.

    python benchmarks/metric_validation.py CLIPS

Two seconds of every clip at 12 frames a second, 320 x 180. Shuffled: frames in random order.
Frozen: the first frame. Slowed: the first second at half speed (24 frames a second of the source,
played at 12). Stuttering: every second frame is the one before it. Cut: the second half is of
another clip. Blurred: 5 x 5 boxes, twice. EXPECTED, written before the first run, says which metric
has to notice what, in which direction.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from record import record
from videojam.data.source.decode import scan
from videojam.evaluation.clips.normalise import Form, native_form, normalise
from videojam.evaluation.metrics.table import METRICS, Seen, measure
from videojam.rng import generator

FPS, FRAMES, HEIGHT, WIDTH = 12.0, 24, 180, 320
EXPECTED = {
    ("warp_error", "shuffled"): "up",
    ("flow_smoothness", "shuffled"): "down",
    ("temporal_flickering", "shuffled"): "down",
    ("speed_diagonals_per_s", "frozen"): "down",
    ("repeated_share", "frozen"): "up",
    ("speed_diagonals_per_s", "slowed"): "down",
    ("repeated_share", "stuttering"): "up",
    ("flow_smoothness", "stuttering"): "down",
    ("largest_jump", "cut"): "up",
    ("sharpness", "blurred"): "down",
}


def shuffled(clip: Tensor, number: int) -> Tensor:
    return clip[torch.randperm(len(clip), generator=generator(0, "shuffled", number))]


def blurred(clip: Tensor) -> Tensor:
    pixels = clip.movedim(-1, 1).float()
    for _ in range(2):
        pixels = functional.avg_pool2d(functional.pad(pixels, (2,) * 4, mode="replicate"), 5, 1)
    return pixels.round().to(torch.uint8).movedim(1, -1)


def stuttering(clip: Tensor) -> Tensor:
    return clip[torch.arange(len(clip)) // 2 * 2]


def variants(clips: dict[str, Tensor], slow: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Damage -> clip -> frames."""
    names = [*clips]
    other = dict(zip(names, [*names[1:], names[0]], strict=True))
    half = FRAMES // 2
    by_clip: dict[str, Callable[[str], Tensor]] = {
        "shuffled": lambda name: shuffled(clips[name], names.index(name)),
        "frozen": lambda name: clips[name][:1].expand(len(clips[name]), -1, -1, -1),
        "stuttering": lambda name: stuttering(clips[name]),
        "cut": lambda name: torch.cat([clips[name][:half], clips[other[name]][half:]]),
        "blurred": lambda name: blurred(clips[name]),
    }
    return {what: {name: make(name) for name in names} for what, make in by_clip.items()} | {
        "slowed": slow
    }


def values(frames: Tensor) -> dict[str, float]:
    return measure(Seen(frames.contiguous(), FPS))[0]


def compared(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """How many clips went up and down, and the median of after / before."""
    pairs = [(before[name], after[name]) for name in after]
    pairs = [(a, b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
    ratios = [b / a for a, b in pairs if a > 0]
    return {
        "up": sum(b > a * 1.01 + 1e-9 for a, b in pairs),
        "down": sum(b < a * 0.99 - 1e-9 for a, b in pairs),
        "clips": len(pairs),
        "median_ratio": median(ratios) if ratios else math.nan,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clips", type=Path)
    folder = parser.parse_args().clips
    torch.set_num_threads(1)
    captions = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    form = Form(fps=FPS, num_frames=FRAMES, height=HEIGHT, width=WIDTH)
    twice = Form(fps=2 * FPS, num_frames=FRAMES, height=HEIGHT, width=WIDTH)
    clips, slow = {}, {}
    for caption in captions:
        path = folder / caption["path"]
        clip = normalise(path, form).frames
        if len(clip) == FRAMES:
            clips[path.name] = clip
            if native_form(scan(path)).fps >= 2 * FPS * 0.99:
                slow[path.name] = normalise(path, twice).frames
    metrics = [name for name in METRICS if "raft" not in METRICS[name].needs]
    real = {name: values(clip) for name, clip in track(clips.items(), "real clips")}
    table: dict[str, dict[str, dict[str, float]]] = {name: {} for name in metrics}
    for what, damaged in variants(clips, slow).items():
        found = {name: values(clip) for name, clip in track(damaged.items(), what)}
        for metric in metrics:
            before = {name: real[name][metric] for name in found}
            after = {name: one[metric] for name, one in found.items()}
            table[metric][what] = compared(before, after)
    ranked = {
        f"{metric} {direction} when {what}": [
            table[metric][what][direction], table[metric][what]["clips"],
        ]
        for (metric, what), direction in EXPECTED.items()
    }  # fmt: skip
    print(json.dumps(ranked, indent=1))
    clean = json.loads(json.dumps(table).replace("NaN", "null"))
    print(record("metric_validation", {"clips": [*clips], "expected": ranked, "table": clean}))


if __name__ == "__main__":
    main()
