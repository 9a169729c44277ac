"""Sampling from the scanline models: the stock WanPipeline, Inner-Guidance by the project's hook.

The noise of a sample depends on (seed, its number) alone and is the same for all systems, so what
two of them make of a caption is compared in pairs.
"""

import math
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from videojam.evaluation.experiments.scanline.fit import Speed
from videojam.evaluation.experiments.scanline.model import (
    CHANNELS,
    NULL_TEXT,
    pipeline,
    text,
    to_frames,
)
from videojam.evaluation.experiments.scanline.settings import Role, Triple
from videojam.guidance.pipelines import inner_guidance
from videojam.joint.latents import join
from videojam.sampling.partial_sampling import remaining, starting_at
from videojam.sampling.pipeline import Sampling
from videojam.training.cost import attention_kernel
from videojam.training.step import sample_noise

_BATCH = 64


@dataclass(frozen=True, slots=True)
class Sampler:
    """One trained model of a triple, ready to sample."""

    triple: Triple
    role: Role
    pipe: Any
    device: torch.device
    padded: bool
    "Whether batches are filled up: compiled blocks are for one shape."

    @classmethod
    def of(cls, model: Any, triple: Triple, role: Role, speed: Speed) -> "Sampler":
        if speed.compile:
            model.compile_repeated_blocks(dynamic=False)
        device = torch.device(speed.device)
        return cls(triple, role, pipeline(model.to(device)), device, speed.compile)

    @property
    def joint(self) -> bool:
        return self.role == "joint"

    def noise(self, numbers: range, seed: int) -> Float[Tensor, "n c f 1 w"]:
        """What samples start from: appearance, then motion for the joint model."""
        world = self.triple.world
        like = torch.empty(len(numbers), CHANNELS, world.frames, 1, world.width)
        x, d = (sample_noise(like, seed, f"scanline noise {h}", [*numbers]) for h in "xd")
        return join(x, d) if self.joint else x

    def latents(
        self,
        captions: Int[Tensor, "n 2 3"],
        start: Float[Tensor, "n c f 1 w"],
        sampling: Sampling,
        step: int = 0,
    ) -> Float[Tensor, "n c f 1 w"]:
        """Final latents. start: noise, or clips noised to `step` of sampling's steps."""
        found = [
            self._batch(captions[at : at + _BATCH], start[at : at + _BATCH], sampling, step)
            for at in range(0, len(captions), _BATCH)
        ]
        return torch.cat(found)

    def frames(
        self, captions: Int[Tensor, "n 2 3"], start: Float[Tensor, "n c f 1 w"], sampling: Sampling
    ) -> Float[Tensor, "n f 1 w 3"]:
        """Clips from noise."""
        return to_frames(self.triple.world, self.latents(captions, start, sampling)[:, :CHANNELS])

    def _batch(self, captions: Tensor, start: Tensor, sampling: Sampling, step: int) -> Tensor:
        count = len(captions)
        fill = torch.arange(_BATCH if self.padded else count) % count
        captions, start = captions[fill], start[fill].to(self.device)
        sizes, world = self.triple.sizes, self.triple.world
        words, nothing = (
            text(sizes, one)["encoder_hidden_states"].to(self.device)
            for one in (captions, torch.full_like(captions, NULL_TEXT))
        )
        with ExitStack() as stack:
            stack.enter_context(torch.autocast(self.device.type, torch.bfloat16))
            stack.enter_context(attention_kernel(self.device, world.frames * world.width // 4))
            stack.enter_context(starting_at(self.pipe, step) if step else nullcontext())
            if self.joint:
                left = remaining(sampling, step) if step else sampling
                stack.enter_context(inner_guidance(self.pipe, left))
            final = self.pipe(
                prompt_embeds=words,
                negative_prompt_embeds=nothing,
                guidance_scale=self._scale(sampling),
                num_inference_steps=sampling.num_inference_steps,
                latents=start,
                num_frames=1,  # the latents say how large they are
                height=16,
                width=32,
                output_type="latent",
                return_dict=False,
            )[0]
        return final[:count].float().cpu()

    def _scale(self, sampling: Sampling) -> float:
        """The pipeline's own: the plain model's text guidance; for the hook, whether it is on."""
        if not self.joint:
            return 1 + float(sampling.text_scale)
        branches = sampling.branches(sampling.num_inference_steps)
        return 1.0 if all(branch.has_text for branch in branches) else 2.0


def steps_for(sampling: Sampling, joint: bool, budget: int) -> int:
    """The most steps of these settings that take at most about `budget` passes."""
    steps = sampling.num_inference_steps
    return math.floor(steps * budget / sampling.passes(steps, joint) + 1e-9)
