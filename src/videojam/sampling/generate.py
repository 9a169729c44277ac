"""A prompt and a seed -> a video and the motion that the model predicted for it.

    jam = VideoJAM.from_pretrained("my-videojam-wan")
    clip = jam("a dog jumps over a hurdle", seed=0)       # clip.video, clip.motion, clip.flow

Runs the stock pipeline of the folder under Inner-Guidance; there is no denoising loop here.
`base_videos` samples the base model from the same noise, to see what the motion half brings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, overload

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.embedded.shipped import embedded
from videojam.guidance.branches import Number, joint_channels
from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.pipelines import inner_guidance
from videojam.guidance.presets import with_preset
from videojam.joint.checkpoint import Dtype, JointInfo, load_pipeline
from videojam.joint.families import family_of
from videojam.joint.latents import decode_joint, decode_video
from videojam.joint.sizes import Size, latent_size
from videojam.media.video import to_uint8
from videojam.motion.pixels import flow_from_motion
from videojam.sampling.pipeline import (
    Sampling,
    check_arguments,
    sample_latents,
    with_training_size,
)
from videojam.sampling.progress import reporting_steps
from videojam.sampling.texts import Texts


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
        model: Path | str,
        dtype: Dtype = None,
        device: torch.device | str | None = None,
        **options: Any,
    ) -> "VideoJAM":
        """Load a folder or an adapter that `videojam train` exported, or one from the hub.

        dtype: of all weights but the VAE's, or by component; default as stored. options: base,
        fuse, scale, vae_dtype, revision, variant, subfolder, token, device_map,
        quantization_config, ... as load_pipeline takes them. Raises ValueError if it is no VideoJAM
        model.
        """
        pipe, info = load_pipeline(model, dtype, **options)
        return cls(pipe if device is None else pipe.to(device), info)

    @classmethod
    def default(cls, device: torch.device | str | None = None) -> "VideoJAM":
        """The embedded model, which makes small Motion Lab clips offline (embedded/shipped.py)."""
        return cls.from_pretrained(embedded(), device=device)

    @overload
    def __call__(self, prompt: str | None = None, seed: int = 0, **options: Any) -> Clip: ...
    @overload
    def __call__(
        self, prompt: Sequence[str], seed: int | Sequence[int] = 0, **options: Any
    ) -> list[Clip]: ...
    def __call__(self, prompt: Any = None, seed: Any = 0, **options: Any) -> Any:
        """One clip of a prompt; of a list of prompts a list of clips, one of each.

        seed: of all, or a list with one for each prompt. options: fields of Sampling, e.g.
        text_scale=5, num_inference_steps=100, a preset="balanced" or "fast" for less passes than
        the paper's (guidance/presets.py), and arguments of the pipeline's own, e.g.
        max_sequence_length, HunyuanVideo's distilled guidance_scale, callback_on_step_end, or
        prompt_embeds in place of the prompt. Raises ValueError for what neither takes.
        """
        sampling = self._sampling(options)
        if prompt is None and not any("prompt_embeds" in name for name in sampling.pipeline):
            raise ValueError("there is no prompt; give a str, a list of them, or prompt_embeds")
        one = prompt is None or isinstance(prompt, str)
        prompts: list[Any] = [prompt or ""] if one else list(prompt or ())
        seeds: list[Any] = [seed] * len(prompts) if isinstance(seed, int) else [*seed]
        if not all(isinstance(each, str) for each in prompts):
            raise ValueError(f"prompt is {prompt!r}, expected a str or a list of str")
        if len(seeds) != len(prompts):
            raise ValueError(f"{len(seeds)} seeds for {len(prompts)} prompts, expected one each")
        clips = [*self.clips([*zip(prompts, seeds, strict=True)], sampling)]
        return clips[0] if one else clips

    def _sampling(self, options: dict[str, Any]) -> Sampling:
        """Options under their names, those that are the pipeline's own among them."""
        names = {field.name for field in fields(Sampling)}
        options = dict(options)
        preset = options.pop("preset", "paper")
        own = {name: value for name, value in options.items() if name not in names}
        settings: dict[str, Any] = {k: v for k, v in options.items() if k in names}
        settings["pipeline"] = {**settings.get("pipeline", {}), **own}
        sampling = with_preset(Sampling(**settings), preset)
        check_arguments(self.pipe, family_of(self.pipe.transformer), sampling.pipeline)
        return sampling

    def clips(
        self,
        samples: Sequence[tuple[str, int]],
        sampling: Sampling | None = None,
        on_step: Callable[[], None] | None = None,
        texts: Texts | None = None,
    ) -> Iterator[Clip]:
        """One clip per (prompt, seed), in order, made `batch_size` of them at a time.

        on_step: called after each denoising step. texts: what the text encoders said already;
        share one with base_videos. Raises ValueError for a size that the model cannot make.
        """
        sampling, texts = self.resolve(sampling or Sampling()), texts or Texts()
        for batch in _batches(samples, sampling.batch_size):
            guided = inner_guidance(self.pipe, sampling, branches_at_once=sampling.branches_at_once)
            with guided, texts.remembered(self.pipe), reporting_steps(self.pipe, on_step):
                final = sample_latents(
                    self.pipe, batch, sampling, _guidance_scale(sampling), True, fps=self.info.fps
                )
            for latents, (prompt, seed) in zip(final, batch, strict=True):
                yield self._clip(latents, prompt, seed)

    def _clip(self, latents: Float[Tensor, "c2 t h2 w2"], prompt: str, seed: int) -> Clip:
        video, motion = (half[0].cpu() for half in decode_joint(self.pipe.vae, latents[None]))
        return Clip(
            video=to_uint8(video),
            motion=to_uint8(motion),
            flow=flow_from_motion(motion, self.info.sigma),
            latents=latents.float().cpu(),
            seed=seed,
            prompt=prompt,
        )

    def resolve(self, sampling: Sampling) -> Sampling:
        """The training size for what is not set; ValueError for a size that cannot be made."""
        sampling = with_training_size(sampling, self.info)
        family = family_of(self.pipe.transformer)
        size = Size(**sampling.size)
        latent_size(self.pipe, self.pipe.transformer, size, family.pixel_multiple)
        return sampling


def base_videos(
    pipe: Any,
    samples: Sequence[tuple[str, int]],
    sampling: Sampling,
    fps: float | None = None,
    on_step: Callable[[], None] | None = None,
    texts: Texts | None = None,
) -> Iterator[UInt8[Tensor, "f h w 3"]]:
    """The base model's videos for the same (prompt, seed)s, with plain text guidance.

    pipe: the stock pipeline of the base. The noise is the appearance half of the joint model's,
    the guidance scale 1 + text_scale. sampling: with sizes set, as VideoJAM.resolve returns it.
    fps: of the joint model's clips, for pipelines that ask for it. on_step, texts: as in clips().
    """
    texts = texts or Texts()
    scale = 1 + sampling.text_scale - family_of(pipe.transformer).scale_offset
    for batch in _batches(samples, sampling.batch_size):
        with texts.remembered(pipe), reporting_steps(pipe, on_step):
            final = sample_latents(pipe, batch, sampling, scale, motion=False, fps=fps)
        for latents in final:
            yield to_uint8(decode_video(pipe.vae, latents[None])[0].cpu())


def _guidance_scale(settings: GuidanceSettings) -> Number:
    """The pipeline's own scale. It does not change the result, but 1 saves the null text's pass."""
    if settings.mode == "instruct_pix2pix":
        return max(1 + settings.text_scale, 2)
    return 1 if settings.mode == "without_text_guidance" else 1 + settings.text_scale


def _batches(samples: Sequence[tuple[str, int]], size: int) -> Iterator[Sequence[tuple[str, int]]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
