"""A clip made again with another prompt: its motion kept, its appearance changed.

The appearance is noised to a step of the schedule and sampled from there, under the new prompt; the
motion half is the clip's own at every step (given_motion.py). More steps change more.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.joint.latents import encode_video
from videojam.joint.noising import flow_matching
from videojam.media.video import to_pixels
from videojam.sampling.partial_sampling import schedule
from videojam.sampling.pipeline import Sampling, initial_noise


class Edit(NamedTuple):
    """A clip to change, of the size that is sampled, and how much: the share of steps made anew."""

    video: UInt8[Tensor, "f h w 3"]
    strength: float = 0.6


def first_step(strength: float, num_inference_steps: int) -> int:
    """Steps that are left out: all but that share of them, of which one is made at least.

    Raises ValueError for a strength that is not in (0, 1].
    """
    if not 0 < strength <= 1:
        raise ValueError(f"the strength of an edit is {strength}, expected one in (0, 1]")
    return num_inference_steps - max(1, round(strength * num_inference_steps))


def noised(
    pipe: Any,
    edit: Edit,
    motion: Float[Tensor, "b c t h2 w2"],
    batch: Sequence[tuple[str, int]],
    sampling: Sampling,
) -> Float[Tensor, "b c2 t h2 w2"]:
    """Latents of the clip and of its motion, noised to the edit's first step by the seeds' noise.

    sampling: with sizes set. Raises ValueError for a clip of another size, and for a schedule that
    does not take one step for each noise level.
    """
    expected = (*sampling.size.values(), 3)
    if tuple(edit.video.shape) != expected:
        raise ValueError(
            f"the clip to edit is {tuple(edit.video.shape)}, expected {expected}, the size that is "
            "sampled"
        )
    step = first_step(edit.strength, sampling.num_inference_steps)
    level = flow_matching(schedule(pipe, sampling)[step : step + 1].cpu())
    x = encode_video(pipe.vae, to_pixels(edit.video)[None], pipe.transformer).cpu()
    clean = torch.cat([x.expand(len(batch), *x.shape[1:]), motion.float().cpu()], 1)
    noise = torch.stack([initial_noise(seed, tuple(x.shape[1:])) for _, seed in batch])
    return level.seen(clean, noise)
