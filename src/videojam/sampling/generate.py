"""A prompt and a seed -> a video and the motion that the model predicted for it.

    jam = VideoJAM.from_pretrained("my-videojam-wan")
    clip = jam("a dog jumps over a hurdle", seed=0)       # clip.video, clip.motion, clip.flow

Runs the stock pipeline of the folder under Inner-Guidance; there is no denoising loop here.
`base_videos` samples the base model from the same noise, to see what the motion half brings.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple, overload

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from videojam.embedded.shipped import embedded
from videojam.guidance.branches import Number, joint_channels
from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.pipelines import inner_guidance
from videojam.guidance.presets import preset_settings
from videojam.joint.checkpoint import Dtype, JointInfo, load_pipeline
from videojam.joint.find_family import family_of
from videojam.joint.image import Given, check_frames, image_pipeline
from videojam.joint.latents import decode_joint, decode_video, encode_video
from videojam.joint.sizes import Size, latent_size
from videojam.media.video import to_uint8
from videojam.motion.color import Background
from videojam.motion.flow import estimate_flow
from videojam.motion.pixels import flow_from_motion, motion_pixels
from videojam.sampling.controls import check_controls, fitted_control
from videojam.sampling.editing import Edit, first_step, noised
from videojam.sampling.given_motion import estimator_of, given_motion
from videojam.sampling.images import fitted, read_image, size_of_image
from videojam.sampling.partial_sampling import remaining, starting_at
from videojam.sampling.pipeline import (
    Sampling,
    check_arguments,
    initial_noise,
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
    def __call__(
        self,
        prompt: str | None = None,
        seed: int = 0,
        *,
        image: Any = None,
        last_image: Any = None,
        motion: Tensor | None = None,
        edit: Edit | None = None,
        control: Any = None,
        **options: Any,
    ) -> Clip: ...
    @overload
    def __call__(
        self,
        prompt: Sequence[str],
        seed: int | Sequence[int] = 0,
        *,
        image: Any = None,
        last_image: Any = None,
        motion: Tensor | None = None,
        edit: Edit | None = None,
        control: Any = None,
        **options: Any,
    ) -> list[Clip]: ...
    def __call__(
        self, prompt: Any = None, seed: Any = 0, *, image: Any = None, last_image: Any = None,
        motion: Any = None, edit: Edit | None = None, control: Any = None, **options: Any,
    ) -> Any:  # fmt: skip
        """One clip of a prompt; of a list of prompts a list of clips, one of each.

        seed: of all, or a list with one for each prompt. image: that the clip begins with, for
        models that take one: a path, PIL image or uint8 (H, W, 3), or a list with one for each
        prompt; cut to the clip's size, which has the image's shape unless it is given. last_image:
        that the clip ends with, likewise, for models that take one. motion: flow in pixels
        (F-1, 2, H, W) that the clips are to have, in place of what the model would sample. edit: a
        clip whose appearance is changed while its motion, estimated unless it is given, is kept.
        control: a Control (joint/control.py) that the clips follow, or a list with one for each
        prompt, for models that take one; cut to the clip's size.
        options: fields of Sampling, e.g.
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
        first, last = (
            list(one) if isinstance(one, list | tuple) else [one] * len(prompts)
            for one in (image, last_image)
        )
        clips = self.clips(
            [*zip(prompts, seeds, strict=True)], sampling, motion=motion, edit=edit,
            images=None if image is None else first, last=None if last_image is None else last,
            controls=control if control is None or isinstance(control, list)
            else [control] * len(prompts),
        )  # fmt: skip
        clips = [*clips]
        return clips[0] if one else clips

    def _sampling(self, options: dict[str, Any]) -> Sampling:
        """Options under their names, those that are the pipeline's own among them."""
        names = {field.name for field in fields(Sampling)}
        options = dict(options)
        preset = preset_settings(options.pop("preset", "paper"))
        own = {name: value for name, value in options.items() if name not in names}
        settings = preset | {k: v for k, v in options.items() if k in names}
        settings["pipeline"] = {**settings.get("pipeline", {}), **own}
        sampling = Sampling(**settings)
        check_arguments(self.pipe, family_of(self.pipe.transformer), sampling.pipeline)
        return sampling

    def clips(
        self,
        samples: Sequence[tuple[str, int]],
        sampling: Sampling | None = None,
        on_step: Callable[[], None] | None = None,
        texts: Texts | None = None,
        images: Sequence[Any] | None = None,
        motion: Float[Tensor, "n 2 h w"] | None = None,
        last: Sequence[Any] | None = None,
        edit: Edit | None = None,
        controls: Sequence[Any] | None = None,
    ) -> Iterator[Clip]:
        """One clip per (prompt, seed), in order, made `batch_size` of them at a time.

        on_step: called after each denoising step. texts: what the text encoders said already;
        share one with base_videos. images, last: that they begin and end with, one each; they are
        made one at a time, then. motion: flow that they are to have. edit: a clip that they are to
        be, changed. controls: that they follow, likewise one each. Raises ValueError for a size
        that the model cannot make, a missing image, and an image or a control that the model does
        not take.
        """
        asked, texts = sampling or Sampling(), texts or Texts()
        pipe, frames = pipeline_for(self.pipe, images, last, len(samples), asked)
        if edit is not None and motion is None:
            motion = estimate_flow(edit.video, estimator_of(self.info))
        check_controls(pipe, controls, len(samples), asked)
        size = asked.batch_size if frames is None and controls is None else 1
        for number, batch in enumerate(_batches(samples, size)):
            shown = None if frames is None else frames[number]
            sampling = self.resolve(asked, shown and shown.first)
            followed = None if controls is None else fitted_control(controls[number], sampling)
            d = None if motion is None else self._motion_latents(motion, sampling, len(batch))
            start, step = None, 0
            if edit is not None and d is not None:
                step = first_step(edit.strength, sampling.num_inference_steps)
                start = noised(pipe, edit, d, batch, sampling)
            with ExitStack() as around:
                if step:
                    around.enter_context(starting_at(pipe, step))
                guided = inner_guidance(
                    pipe,
                    remaining(sampling, step) if step else sampling,
                    branches_at_once=sampling.branches_at_once,
                    background=self.info.background,
                )
                around.enter_context(guided)
                around.enter_context(texts.remembered(pipe))
                around.enter_context(reporting_steps(pipe, on_step))
                if d is not None:
                    around.enter_context(given_motion(pipe, d, _noise_d(d, batch)))
                final = sample_latents(
                    pipe, batch, sampling, guidance_scale(sampling), True, start,
                    self.info.fps, fitted_frames(shown, sampling), self.info.background, followed,
                )  # fmt: skip
            if d is not None:
                final = torch.cat([final[:, : d.shape[1]], d.to(final)], 1)
            for latents, (prompt, seed) in zip(final, batch, strict=True):
                yield self._clip(latents, prompt, seed)

    def _motion_latents(
        self, flow: Float[Tensor, "k 2 h w"], sampling: Sampling, count: int
    ) -> Float[Tensor, "b c t h2 w2"]:
        """Motion latents of a flow. ValueError for another size than that of the clips."""
        size = tuple(sampling.size.values())
        if flow.ndim != 4 or (len(flow) + 1, flow.shape[1], *flow.shape[2:]) != (
            size[0], 2, *size[1:],
        ):  # fmt: skip
            raise ValueError(
                f"the motion is {tuple(flow.shape)}, expected ({size[0]} - 1, 2, {size[1]}, "
                f"{size[2]}), the flow of a clip of the size that is sampled"
            )
        background: Background = "white" if self.info.background == "white" else "black"
        pixels = motion_pixels(flow.float(), self.info.sigma, background)
        d = encode_video(self.pipe.vae, pixels[None], self.pipe.transformer)
        return d.expand(count, *d.shape[1:])

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

    def resolve(self, sampling: Sampling, image: Image.Image | None = None) -> Sampling:
        """The training size for what is not set; ValueError for a size that cannot be made.

        With an image, and neither height nor width set: about as many pixels, of its shape.
        """
        if image is not None and sampling.height is None and sampling.width is None:
            height, width = size_of_image(self.pipe, image, self.info.height * self.info.width)
            sampling = replace(sampling, height=height, width=width)
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
    images: Sequence[Any] | None = None,
    last: Sequence[Any] | None = None,
    controls: Sequence[Any] | None = None,
) -> Iterator[UInt8[Tensor, "f h w 3"]]:
    """The base model's videos for the same (prompt, seed)s, with plain text guidance.

    pipe: the stock pipeline of the base. The noise is the appearance half of the joint model's,
    the guidance scale 1 + text_scale. sampling: with sizes set, as VideoJAM.resolve returns it.
    fps: of the joint model's clips, for pipelines that ask for it. on_step, texts, images,
    last, controls: as in clips().
    """
    texts = texts or Texts()
    scale = 1 + sampling.text_scale - family_of(pipe.transformer).scale_offset
    pipe, frames = pipeline_for(pipe, images, last, len(samples), sampling)
    check_controls(pipe, controls, len(samples), sampling)
    size = sampling.batch_size if frames is None and controls is None else 1
    for number, batch in enumerate(_batches(samples, size)):
        shown = fitted_frames(None if frames is None else frames[number], sampling)
        followed = None if controls is None else fitted_control(controls[number], sampling)
        with texts.remembered(pipe), reporting_steps(pipe, on_step):
            final = sample_latents(
                pipe, batch, sampling, scale, motion=False, fps=fps, given=shown, control=followed
            )
        for latents in final:
            yield to_uint8(decode_video(pipe.vae, latents[None])[0].cpu())


def guidance_scale(settings: GuidanceSettings) -> Number:
    """The pipeline's own scale. It does not change the result, but 1 saves the null text's pass."""
    if settings.mode == "instruct_pix2pix" or settings.image_scale:
        return max(1 + settings.text_scale, 2)
    return 1 if settings.mode == "without_text_guidance" else 1 + settings.text_scale


def pipeline_for(
    pipe: Any,
    images: Sequence[Any] | None,
    last: Sequence[Any] | None,
    count: int,
    sampling: Sampling,
) -> tuple[Any, list[Given] | None]:
    """The pipeline to call, and the frames that each clip is given; (pipe, None) without any.

    Raises ValueError for a missing image, one that the model does not take, or another number.
    """
    family = family_of(pipe.transformer)
    if images is None:
        if last is not None:
            raise ValueError("a last image is given and no first one; give image=, --image, too")
        if family.has_image and "image" not in sampling.pipeline:
            raise ValueError("this model's clips begin with an image; give one (image=, --image)")
        if sampling.image_scale:
            raise ValueError("image_scale is away from an image, and none is given; leave it out")
        return pipe, None
    for name, frames in (("images", images), ("last images", last)):
        if frames is not None and len(frames) != count:
            raise ValueError(f"{len(frames)} {name} for {count} clips, expected one each")
    pipe = image_pipeline(pipe)
    check_frames(family, last is not None)
    ends = [None] * count if last is None else [read_image(frame) for frame in last]
    return pipe, [Given(read_image(a), b) for a, b in zip(images, ends, strict=True)]


def fitted_frames(given: Given | None, sampling: Sampling) -> Given | None:
    """Frames of the clip's size."""
    if given is None:
        return None
    size = sampling.height or 0, sampling.width or 0
    return Given(fitted(given.first, *size), given.last and fitted(given.last, *size))


def _noise_d(
    like: Float[Tensor, "b c t h w"], batch: Sequence[tuple[str, int]]
) -> Float[Tensor, "b c t h w"]:
    """The motion half of the noise of the seeds."""
    C = like.shape[1]
    return torch.stack([initial_noise(seed, tuple(like.shape[1:]))[C:] for _, seed in batch]).to(
        like.device
    )


def _batches(samples: Sequence[tuple[str, int]], size: int) -> Iterator[Sequence[tuple[str, int]]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
