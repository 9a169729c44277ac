"""A prompt and a seed -> a video and the motion that the model predicted for it.

    jam = VideoJAM.from_pretrained("my-videojam-wan")
    clip = jam("a dog jumps over a hurdle", seed=0)       # clip.video, clip.motion, clip.flow

Runs the stock pipeline of the folder under Inner-Guidance; there is no denoising loop here. The
noise of a sample comes from its seed alone, so a seed gives the same clip in any batch, and the
base model, given the same seed, starts from the same appearance noise (`base_videos`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.guidance.branches import Number, joint_channels
from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.pipelines import inner_guidance
from videojam.joint.checkpoint import JointInfo, load_pipeline
from videojam.joint.latents import decode, decode_video, join
from videojam.motion.color import rgb_to_flow
from videojam.rng import generator
from videojam.video import to_uint8


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling(GuidanceSettings):
    """How to sample: the guidance, and what a pipeline is asked for."""

    num_frames: int | None = None
    "Frames of the clip, 4n + 1. Default: as in training."
    height: int | None = None
    "Height in pixels, a multiple of 16. Default: as in training."
    width: int | None = None
    "Width in pixels, a multiple of 16. Default: as in training."
    num_inference_steps: int = 50
    "Sampling steps (the paper's: 100)."
    negative_prompt: str = ""
    "The null text of guidance; the paper's is empty."
    batch_size: int = 1
    "Samples at once: a matter of memory and speed, not of the result."

    def __post_init__(self) -> None:
        GuidanceSettings.__post_init__(self)  # super() is lost in a dataclass with slots
        for name in ("num_inference_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


class Clip(NamedTuple):
    """One sample."""

    video: UInt8[Tensor, "f h w 3"]
    motion: UInt8[Tensor, "f h w 3"]
    "The predicted motion as colour (motion/color.py)."
    flow: Float[Tensor, "f-1 2 h w"]
    "The predicted motion as optical flow in pixels, x right, y down, frame k to k + 1."
    latents: Float[Tensor, "c2 t h2 w2"]
    seed: int
    prompt: str


class VideoJAM:
    """A joint model ready to sample. `pipe` is the stock pipeline, `info` what it was trained on.

    Call enable_model_cpu_offload() and the like on `pipe`.
    """

    def __init__(self, pipe: Any, info: JointInfo) -> None:
        joint_channels(pipe.transformer)
        self.pipe, self.info = pipe, info

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> "VideoJAM":
        """Load a folder or an adapter that `videojam train` exported.

        dtype: of all weights, default as stored. Raises ValueError if it is no VideoJAM model.
        """
        pipe, info = load_pipeline(folder, dtype)
        return cls(pipe if device is None else pipe.to(device), info)

    def __call__(self, prompt: str, seed: int = 0, **sampling: Any) -> Clip:
        """One clip; sampling: fields of Sampling, e.g. text_scale=5, num_inference_steps=100."""
        return next(self.clips([(prompt, seed)], Sampling(**sampling)))

    def clips(
        self, samples: Sequence[tuple[str, int]], sampling: Sampling | None = None
    ) -> Iterator[Clip]:
        """One clip per (prompt, seed), in order, made `batch_size` of them at a time.

        Raises ValueError for a size that the model cannot make.
        """
        sampling = self.resolve(sampling or Sampling())
        for batch in _batches(samples, sampling.batch_size):
            with inner_guidance(self.pipe, sampling):
                final = _sample(self.pipe, batch, sampling, _guidance_scale(sampling), motion=True)
            for latents, (prompt, seed) in zip(final, batch, strict=True):
                yield self._clip(latents, prompt, seed)

    def _clip(self, latents: Float[Tensor, "c2 t h2 w2"], prompt: str, seed: int) -> Clip:
        video, motion = (half[0].cpu() for half in decode(self.pipe, latents[None]))
        motion_rgb = (motion.movedim(1, 0) + 1) / 2
        return Clip(
            video=to_uint8(video),
            motion=to_uint8(motion),
            # The representation repeats the last flow: F frames have F - 1 flows.
            flow=rgb_to_flow(motion_rgb[:-1], self.info.sigma),
            latents=latents.float().cpu(),
            seed=seed,
            prompt=prompt,
        )

    def resolve(self, sampling: Sampling) -> Sampling:
        """The training size for what is not set; ValueError for a size that cannot be made."""
        size = {
            name: getattr(sampling, name) or getattr(self.info, name)
            for name in ("num_frames", "height", "width")
        }
        _latent_size(self.pipe, **size)
        return replace(sampling, **size)


def base_videos(
    pipe: Any, samples: Sequence[tuple[str, int]], sampling: Sampling
) -> Iterator[UInt8[Tensor, "f h w 3"]]:
    """The base model's videos for the same (prompt, seed)s, with plain text guidance.

    pipe: the stock pipeline of the base. The noise is the appearance half of the joint model's,
    the guidance scale 1 + text_scale. sampling: with sizes set, as VideoJAM.resolve returns it.
    """
    for batch in _batches(samples, sampling.batch_size):
        for latents in _sample(pipe, batch, sampling, 1 + sampling.text_scale, motion=False):
            yield to_uint8(decode_video(pipe.vae, latents[None])[0].cpu())


def initial_noise(seed: int, shape: tuple[int, ...], motion: bool = True) -> Tensor:
    """Noise of one sample, float32 on the CPU: appearance (C, ...), then motion if asked.

    The two halves have a stream each, so that appearance is the same with and without motion.
    """
    x = torch.randn(shape, generator=generator(seed, "noise-x"))
    if not motion:
        return x
    return join(x, torch.randn(shape, generator=generator(seed, "noise-d")), channel_dim=0)


def _batches(samples: Sequence[tuple[str, int]], size: int) -> Iterator[Sequence[tuple[str, int]]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def _sample(
    pipe: Any,
    batch: Sequence[tuple[str, int]],
    sampling: Sampling,
    guidance_scale: Number,
    motion: bool,
) -> Tensor:
    """Final latents of the stock pipeline, from the noise of each seed."""
    size = {name: getattr(sampling, name) for name in ("num_frames", "height", "width")}
    shape = (pipe.vae.config.z_dim, *_latent_size(pipe, **size))
    return pipe(
        prompt=[prompt for prompt, _ in batch],
        negative_prompt=[sampling.negative_prompt] * len(batch),
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=float(guidance_scale),
        latents=torch.stack([initial_noise(seed, shape, motion) for _, seed in batch]),
        output_type="latent",
        **size,
    ).frames


def _guidance_scale(settings: GuidanceSettings) -> Number:
    """The pipeline's own scale. It does not change the result, but 1 saves the null text's pass."""
    if settings.mode == "instruct_pix2pix":
        return max(1 + settings.text_scale, 2)
    return 1 if settings.mode == "without_text_guidance" else 1 + settings.text_scale


def _latent_size(pipe: Any, num_frames: int, height: int, width: int) -> tuple[int, int, int]:
    """(frames, height, width) in latents; ValueError where the pipeline would round."""
    temporal, spatial = pipe.vae_scale_factor_temporal, pipe.vae_scale_factor_spatial
    if num_frames < 1 or (num_frames - 1) % temporal:
        below = max(num_frames - 1, 0) // temporal * temporal + 1
        raise ValueError(
            f"num_frames is {num_frames}, expected {temporal}n + 1; the nearest are {below} and "
            f"{below + temporal}"
        )
    for name, size in (("height", height), ("width", width)):
        multiple = spatial * pipe.transformer.config.patch_size[1]
        if size < multiple or size % multiple:
            below = max(size // multiple, 1) * multiple
            raise ValueError(
                f"{name} is {size}, expected a multiple of {multiple}; the nearest are {below} "
                f"and {below + multiple}"
            )
    return (num_frames - 1) // temporal + 1, height // spatial, width // spatial
