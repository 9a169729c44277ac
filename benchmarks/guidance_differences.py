"""How guidance's differences change from step to step, which tells what may be kept.

    python benchmarks/guidance_differences.py --models MODELS --folder KEPT --seeds 0 1

The scanline joint models under the paper's guidance, 64 development captions of each training seed.
Of each term in each half: its norm, and its cosine and distance to itself some steps before; of
the motion half of u([x,0],y) the same, which is what is kept there (guidance/reuse.py). All
branches of all steps are kept in the folder.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from guidance_rollout import rollout
from record import RESULTS, record
from videojam.evaluation.experiments.scanline.bench import Bench
from videojam.evaluation.experiments.scanline.fit import Speed
from videojam.evaluation.experiments.scanline.settings import Triple
from videojam.evaluation.report.plots import Panel, line_panels
from videojam.guidance.branches import Branch
from videojam.guidance.inner import GuidanceSettings
from videojam.joint.latents import split
from videojam.records.atomic import replacing

PLOTS = Path(__file__).parent.parent / "docs" / "plots"
GUIDANCE = GuidanceSettings(text_scale=5.0, motion_scale=5.0)
COUNT, LAGS = 64, (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = [differences(args, seed) for seed in args.seeds]
    kept = {key: torch.cat([one[key].float() for one in found], 1) for key in found[0]}
    text, motion, joint = (split(kept[key], 2) for key in ("text", "motion", "joint"))
    series = {
        "text, x": text.x,
        "text, d": text.d,
        "motion, x": motion.x,
        "motion, d": motion.d,
        "u([x,0],y), d": joint.d[: len(motion.d)] - motion.d,
    }
    figures = {
        name: {
            "norm": rounded(norm(values)),
            **{f"cosine, lag {lag}": rounded(cosine(values, lag)) for lag in LAGS},
            **{f"distance, lag {lag}": rounded(distance(values, lag)) for lag in LAGS},
        }
        for name, values in series.items()
    }
    common = {"seeds": args.seeds, "captions of each": COUNT, "steps": args.steps, "w1": 5, "w2": 5}
    print(record("guidance_differences", common | {"series": figures}, RESULTS))
    plot(figures, args.steps, PLOTS / "guidance_differences.png")


def differences(args: Any, seed: int) -> dict[str, Tensor]:
    """Joint predictions and both differences to them, (steps, n, c, f, 1, w) each."""
    path = args.folder / f"differences-{seed}.safetensors"
    if not path.exists():
        bench = Bench(Triple(seed=seed), args.models, args.folder, Speed(compile=False))
        sampler = bench.sampler("joint")
        captions = bench.clips("development", COUNT).captions
        noise = sampler.noise(range(COUNT), bench._noise_seed("development"))
        steps = [
            {
                "joint": step.predictions[Branch.JOINT].half(),
                **{
                    key: (step.predictions[Branch.JOINT] - step.predictions[branch]).half()
                    for key, branch in (("text", Branch.NO_TEXT), ("motion", Branch.NO_MOTION))
                    if branch in step.predictions
                },
            }
            for step in rollout(
                sampler.pipe.transformer, bench.triple.sizes, captions, noise, GUIDANCE, args.steps
            )
        ]
        kept = {
            key: torch.stack([step[key] for step in steps if key in step]).contiguous()
            for key in steps[0]
        }
        args.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            save_file(kept, part)
    return {key: load_file(path)[key] for key in ("joint", "text", "motion")}


def norm(values: Tensor) -> Tensor:
    return values.flatten(2).norm(dim=2).mean(1)


def cosine(values: Tensor, lag: int) -> Tensor:
    """Of each step's to that of `lag` steps before."""
    a, b = values[lag:].flatten(2), values[:-lag].flatten(2)
    return torch.nn.functional.cosine_similarity(a, b, dim=2).mean(1)


def distance(values: Tensor, lag: int) -> Tensor:
    """Of each step's to that of `lag` steps before: what keeping it would be off by."""
    return norm(values[lag:] - values[:-lag])


def rounded(values: Tensor) -> list[float]:
    return [round(float(value), 3) for value in values]


def plot(figures: dict[str, Any], steps: int, path: Path) -> None:
    panels = []
    for key, title in (
        ("norm", "norm"),
        ("cosine, lag 4", "cosine to four steps before"),
        ("distance, lag 4", "what keeping it for four steps is off by"),
    ):
        curves = {
            name: (in_place(own[key], 4 if "lag" in key else 0, steps), None, None)
            for name, own in figures.items()
        }
        panels.append(Panel(title, [*range(steps)], curves, "step", title, key != "cosine, lag 4"))
    line_panels(path, panels)


def in_place(values: list[float], first: int, steps: int) -> list[float]:
    """With a gap before the first step and after the last."""
    gap = float("nan")
    return [gap] * first + values + [gap] * (steps - first - len(values))


if __name__ == "__main__":
    main()
