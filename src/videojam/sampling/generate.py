"""A prompt and a seed -> a video and the motion that the model predicted for it.

    jam = VideoJAM.from_pretrained("my-videojam-wan")
    clip = jam("a dog jumps over a hurdle", seed=0)       # clip.video, clip.motion, clip.flow

Runs the stock pipeline of the folder under Inner-Guidance; there is no denoising loop here.
`base_videos` samples the base model from the same noise, to see what the motion half brings.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.embedded.shipped import embedded
from videojam.guidance.branches import Number, joint_channels
from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.pipelines import inner_guidance
from videojam.joint.checkpoint import JointInfo, load_pipeline
from videojam.joint.families import family_of
from videojam.joint.latents import decode_joint, decode_video
from videojam.joint.sizes import Size, latent_size
from videojam.media.video import to_uint8
from videojam.motion.color import rgb_to_flow
from videojam.sampling.pipeline import Sampling, sample_latents, with_training_size


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

    @classmethod
    def default(cls, device: torch.device | str | None = None) -> "VideoJAM":
        """The embedded model, which makes small Motion Lab clips offline (embedded/shipped.py)."""
        return cls.from_pretrained(embedded(), device=device)

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
                final = sample_latents(
                    self.pipe, batch, sampling, _guidance_scale(sampling), True, fps=self.info.fps
                )
            for latents, (prompt, seed) in zip(final, batch, strict=True):
                yield self._clip(latents, prompt, seed)

    def _clip(self, latents: Float[Tensor, "c2 t h2 w2"], prompt: str, seed: int) -> Clip:
        video, motion = (half[0].cpu() for half in decode_joint(self.pipe.vae, latents[None]))
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
        sampling = with_training_size(sampling, self.info)
        latent_size(self.pipe, self.pipe.transformer, Size(**sampling.size))
        return sampling


def base_videos(
    pipe: Any,
    samples: Sequence[tuple[str, int]],
    sampling: Sampling,
    fps: float | None = None,
) -> Iterator[UInt8[Tensor, "f h w 3"]]:
    """The base model's videos for the same (prompt, seed)s, with plain text guidance.

    pipe: the stock pipeline of the base. The noise is the appearance half of the joint model's,
    the guidance scale 1 + text_scale. sampling: with sizes set, as VideoJAM.resolve returns it.
    fps: of the joint model's clips, for pipelines that ask for it.
    """
    scale = 1 + sampling.text_scale - family_of(pipe.transformer).scale_offset
    for batch in _batches(samples, sampling.batch_size):
        for latents in sample_latents(pipe, batch, sampling, scale, motion=False, fps=fps):
            yield to_uint8(decode_video(pipe.vae, latents[None])[0].cpu())


def _guidance_scale(settings: GuidanceSettings) -> Number:
    """The pipeline's own scale. It does not change the result, but 1 saves the null text's pass."""
    if settings.mode == "instruct_pix2pix":
        return max(1 + settings.text_scale, 2)
    return 1 if settings.mode == "without_text_guidance" else 1 + settings.text_scale


def _batches(samples: Sequence[tuple[str, int]], size: int) -> Iterator[Sequence[tuple[str, int]]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
