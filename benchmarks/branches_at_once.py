"""Guidance's three predictions of a step in one batch against one after the other.

    python benchmarks/branches_at_once.py

The embedded model on one thread, latents alone (no VAE). The two ways alternate in one run; figures
are processor seconds, which other programs on the machine disturb less than the clock, and their
ratio is the median of the rounds' ratios.
"""

import statistics
import time

import torch

from record import record
from videojam.guidance.pipelines import inner_guidance
from videojam.sampling.generate import VideoJAM
from videojam.sampling.pipeline import Sampling, sample_latents
from videojam.sampling.texts import Texts

PROMPT = "a red ball bounces on the floor and moves right slowly"
STEPS, ROUNDS = 4, 7


def main() -> None:
    torch.set_num_threads(1)
    jam = VideoJAM.default()
    jam.pipe.set_progress_bar_config(disable=True)
    sampling = jam.resolve(
        Sampling(text_scale=2.5, motion_scale=3.0, motion_stop=1.0, num_inference_steps=STEPS)
    )
    texts, seconds = Texts(), {False: [], True: []}
    latents = {}

    def sample(at_once: bool) -> float:
        guided = inner_guidance(jam.pipe, sampling, branches_at_once=at_once)
        start = time.process_time()
        with guided, texts.remembered(jam.pipe):
            latents[at_once] = sample_latents(jam.pipe, [(PROMPT, 0)], sampling, 3.5, motion=True)
        return time.process_time() - start

    for at_once in (False, True):  # warm
        sample(at_once)
    for _ in range(ROUNDS):
        for at_once, found in seconds.items():
            found.append(sample(at_once) / STEPS)
    ratios = [one / all_ for one, all_ in zip(seconds[False], seconds[True], strict=True)]
    difference = (latents[True] - latents[False]).abs().max() / latents[False].abs().max()
    figures = {
        "one after the other, s a step": round(statistics.median(seconds[False]), 4),
        "in one batch, s a step": round(statistics.median(seconds[True]), 4),
        "ratio": round(statistics.median(ratios), 3),
        "ratio, least and most": [round(min(ratios), 3), round(max(ratios), 3)],
        "largest difference of the latents, share": float(difference),
    }
    print(record("branches_at_once", figures).read_text())


if __name__ == "__main__":
    main()
