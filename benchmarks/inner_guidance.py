"""What Inner-Guidance costs: forward passes and seconds against classifier-free guidance.

    python benchmarks/inner_guidance.py

Every variant samples the same noise with the same stock WanPipeline, one after the other, in
rounds; the fastest of its rounds counts, the median is recorded beside it, and so is the load of
the machine: more than its cores makes the seconds those of a shared machine. Expected from the
formula, at n steps: 2n passes for classifier-free guidance, 2.5n for the paper's window (the first
half), 3n for all steps. `without_inner_guidance` runs the same passes as classifier-free guidance:
the difference of its ratio from 1 is the cost of the hook and the noise of this measurement.
`agreement` is the largest difference of the hook's latents from an explicit loop's, relative to
the largest latent.
"""

import os
import time
from contextlib import nullcontext
from statistics import median
from typing import Any

import torch

from record import record
from videojam.guidance.pipelines import inner_guidance
from videojam.joint.widen import widen
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.sampling.pipeline import initial_noise

STEPS, ROUNDS = 20, 12
SIZE = {"height": 128, "width": 128, "num_frames": 17}
TEXT = {"prompt": "a red ball rolls", "negative_prompt": ""}
VARIANTS: dict[str, dict[str, Any] | None] = {
    "classifier_free_guidance": None,  # the stock pipeline, no hook
    "inner_guidance": {},  # the paper's window, motion in the first half
    "inner_guidance_all_steps": {"motion_stop": 1.0},
    "inner_guidance_text_in_first_half": {"text_stop": 0.5},
    "without_inner_guidance": {"mode": "without_inner_guidance"},
    "without_text_guidance": {"mode": "without_text_guidance"},
    "without_flow": {"mode": "without_flow"},
    "instruct_pix2pix": {"mode": "instruct_pix2pix"},
}


def joint_pipeline() -> Any:
    """A small Wan with random motion rows, so that the motion half takes part in the numbers."""
    pipe = small_wan_pipeline(SmallWan())
    pipe.set_progress_bar_config(disable=True)
    transformer = widen(pipe.transformer)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        rows = transformer.patch_embedding.weight
        rows[:, 16:] = torch.randn(rows[:, 16:].shape, generator=random) * rows[:, :16].std()
        rows = transformer.proj_out.weight.view(4, 32, -1)  # (patch, channel, width)
        rows[:, 16:] = torch.randn(rows[:, 16:].shape, generator=random) * rows[:, :16].std()
    pipe.register_modules(transformer=transformer)
    return pipe.to("cuda" if torch.cuda.is_available() else "cpu")


def sample(pipe: Any, noise: torch.Tensor) -> torch.Tensor:
    return pipe(
        **TEXT, **SIZE, num_inference_steps=STEPS, guidance_scale=6.0, latents=noise,
        output_type="latent",
    ).frames  # fmt: skip


@torch.no_grad()
def explicit_loop(pipe: Any, noise: torch.Tensor) -> torch.Tensor:
    """The paper's formula and window, written out."""
    text, null = pipe.encode_prompt(*TEXT.values(), True, max_sequence_length=512)
    pipe.scheduler.set_timesteps(STEPS)
    latents = noise.to(pipe.device)
    for i, t in enumerate(pipe.scheduler.timesteps):
        without = torch.cat([latents[:, :16], torch.zeros_like(latents[:, 16:])], dim=1)
        joint, no_text, no_motion = (
            pipe.transformer(inputs, t.expand(1), embeds, return_dict=False)[0]
            for inputs, embeds in ((latents, text), (latents, null), (without, text))
        )
        w2 = 3 if i < STEPS // 2 else 0
        guided = (1 + 5 + w2) * joint - 5 * no_text - w2 * no_motion
        latents = pipe.scheduler.step(guided, t, latents, return_dict=False)[0]
    return latents


def main() -> None:
    pipe = joint_pipeline()
    noise = initial_noise(0, (16, 5, 16, 16))[None]
    passes = {name: 0 for name in VARIANTS}
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    latents = {}
    for measured in range(-1, ROUNDS):  # round -1 warms up and counts
        for name, changes in VARIANTS.items():
            calls: list[None] = []
            count = pipe.transformer.patch_embedding.register_forward_hook(
                lambda *_, calls=calls: calls.append(None)
            )
            start = time.perf_counter()
            with nullcontext() if changes is None else inner_guidance(pipe, **changes):
                latents[name] = sample(pipe, noise).cpu()
            taken = time.perf_counter() - start
            count.remove()
            passes[name] = len(calls)
            if measured >= 0:
                seconds[name].append(taken)
    reference = explicit_loop(pipe, noise).cpu()
    base = min(seconds["classifier_free_guidance"])
    figures = {
        "settings": {"steps": STEPS, "rounds": ROUNDS, **SIZE, "small_wan_layers": 4},
        "load_average": os.getloadavg()[0],
        "variants": {
            name: {
                "passes": passes[name],
                "seconds": round(min(seconds[name]), 4),
                "median_seconds": round(median(seconds[name]), 4),
                "times_classifier_free_guidance": round(min(seconds[name]) / base, 3),
            }
            for name in VARIANTS
        },
        "agreement": float(
            (latents["inner_guidance"] - reference).abs().max() / reference.abs().max()
        ),
    }
    for name, row in figures["variants"].items():
        print(f"{name:<36} {row['passes']:>4} passes {row['seconds']:>8.3f} s "
              f"{row['times_classifier_free_guidance']:>6.2f} x")  # fmt: skip
    print(f"agreement with the explicit loop: {figures['agreement']:.1e}")
    print(record("inner_guidance", figures))


if __name__ == "__main__":
    main()
