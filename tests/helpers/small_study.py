"""Small studies of small clips whose frames carry their number, and raters who answer them."""

import random
from pathlib import Path

import torch

from videojam.media.video import write_video
from videojam.study.new import Design, new_study
from videojam.study.plan import Plan, Trial
from videojam.study.trials import intact_side

BITS, BLOCK = 6, 16  # the number of a frame, as black and white blocks along the top


def numbered_clip(frames: int, shade: int = 90, height: int = 48, width: int = 112) -> torch.Tensor:
    """uint8 (F, H, W, 3): frame k shows k in blocks, and a bar that moves."""
    clip = torch.full((frames, height, width, 3), shade, dtype=torch.uint8)
    for k in range(frames):
        for bit in range(BITS):
            clip[k, :BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (k >> bit & 1)
        at = 5 * k % (width - 12)
        clip[k, BLOCK + 8 :, at : at + 12] = 230
    return clip


def read_number(frame) -> int:
    """The number of a frame, an array (H, W, 3) of numbered_clip's size."""
    centres = [bit * BLOCK + BLOCK // 2 for bit in range(BITS)]
    return sum((frame[BLOCK // 2, x].mean() > 128) << bit for bit, x in enumerate(centres))


SYSTEMS = ("secret-base", "secret-joint")


def write_systems(folder: Path, prompts: int, frames: int = 6, systems=SYSTEMS, fps: float = 16):
    """Folders of clips: name -> folder."""
    for place, system in enumerate(systems):
        for number in range(prompts):
            clip = numbered_clip(frames, 60 + 40 * place + 3 * number)
            write_video(folder / system / f"prompt number {number}.mp4", clip, float(fps))
    return {system: folder / system for system in systems}


SMALL = Design(
    trials=16, catches=4, repeats=3, practice=1, questions=("motion=Which moves better?",)
)


def small_study(folder: Path, prompts: int = 8, design: Design = SMALL, **options) -> Plan:
    """A study of `prompts` prompts in FOLDER/study."""
    return new_study(folder / "study", write_systems(folder / "clips", prompts, **options), design)


def preferred_side(plan: Plan, trial: Trial, better: str, share: float, rng: random.Random) -> str:
    """What an attentive rater answers who prefers `better` in this share of pairs.

    The preference for a film is fixed, so a repeat gets the same clip.
    """
    if side := intact_side(plan, trial):
        return side
    film = plan.films[trial.film]
    picked = (film.first == better) == (rng.random() < share)
    return "left" if picked != trial.swapped else "right"
