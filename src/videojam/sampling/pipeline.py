"""One call of a stock pipeline: settings, noise from seeds, final latents.

The noise of a sample comes from its seed alone: a seed gives the same sample in any batch, and
the base model, given the same seed, starts from the joint model's appearance noise.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.guidance.branches import Number
from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.pipelines import text_guidance
from videojam.joint.checkpoint import JointInfo
from videojam.joint.control import Control
from videojam.joint.family import ModelFamily
from videojam.joint.find_family import family_of
from videojam.joint.first_call import call_arguments
from videojam.joint.image import Given, joint_first_frame, of_size
from videojam.joint.latents import join, latent_channels, left_normalised
from videojam.joint.sizes import Size, latent_size
from videojam.motion.strength import with_strength
from videojam.rng import generator

_SIZE = ("num_frames", "height", "width")
_OURS = ("prompt", "negative_prompt", "num_inference_steps", "latents", "output_type",
         "return_dict", "generator", "num_videos_per_prompt")  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling(GuidanceSettings):
    """How to sample: the guidance, and what a pipeline is asked for."""

    num_frames: int | None = None
    "Frames of the clip, mostly 4n + 1. Default: as in training."
    height: int | None = None
    "Height in pixels, a multiple of 16. Default: as in training."
    width: int | None = None
    "Width in pixels, a multiple of 16. Default: as in training."
    num_inference_steps: int = 50
    "Sampling steps (the paper's: 100)."
    negative_prompt: str = ""
    "The null text of guidance; the paper's is empty."
    motion_strength: int | None = None
    "How much the clip moves, 1 to 5: for models trained on captions that say so."
    batch_size: int = 1
    "Samples at once: a matter of memory and speed, not of the result."
    branches_at_once: bool = False
    "Guidance's predictions of a step in one batch: faster for small models, more memory."
    pipeline: Mapping[str, Any] = field(default_factory=dict)
    "Further arguments of the pipeline's own, e.g. max_sequence_length, or prompt embeddings."

    def __post_init__(self) -> None:
        GuidanceSettings.__post_init__(self)  # super() is lost in a dataclass with slots
        for name in ("num_inference_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")

        if self.motion_strength is not None:
            with_strength("", self.motion_strength)
        ours = {*_OURS, *_SIZE} & {*self.pipeline}
        if ours:
            raise ValueError(
                f"{', '.join(sorted(ours))} in `pipeline` are set by videojam: give the size, "
                "num_inference_steps and negative_prompt to Sampling, prompts and seeds to the call"
            )

    @property
    def size(self) -> dict[str, Any]:
        """The arguments of a pipeline that say how large the clip is."""
        return {name: getattr(self, name) for name in _SIZE}


def with_training_size(sampling: Sampling, info: JointInfo) -> Sampling:
    """The training size of a model for what is not set."""
    size = {
        name: getattr(info, name) if value is None else value
        for name, value in sampling.size.items()
    }
    return replace(sampling, **size)


def sample_latents(
    pipe: Any,
    batch: Sequence[tuple[str, int]],
    sampling: Sampling,
    guidance_scale: Number,
    motion: bool,
    latents: Float[Tensor, "b c t h w"] | None = None,
    fps: float | None = None,
    given: Given | None = None,
    background: str = "black",
    control: Control | None = None,
) -> Float[Tensor, "b c t h w"]:
    """Final latents of the stock pipeline for a batch of (prompt, seed).

    motion: whether the pipeline is joint, with 2C channels of noise. sampling: with sizes set.
    latents: what to start from, in place of the noise of the seeds. fps: of the clips, for
    pipelines that ask for it. given: frames of the clip, which is then one alone. background:
    colour of no motion. control: a clip that all follow, of their size.
    """
    family, transformer = family_of(pipe.transformer), pipe.transformer
    check_arguments(pipe, family, sampling.pipeline)
    size = latent_size(pipe, transformer, Size(**sampling.size), family.pixel_multiple)
    if latents is None:
        shape = (latent_channels(pipe.vae), *size)
        latents = torch.stack([initial_noise(seed, shape, motion) for _, seed in batch])
    if family.one_at_a_time and len(batch) > 1:
        same = (fps, given, background, control)
        alone = [
            sample_latents(pipe, [one], sampling, guidance_scale, motion, start[None], *same)
            for one, start in zip(batch, latents, strict=True)
        ]
        return torch.cat(alone)
    prompts = [prompt for prompt, _ in batch]
    if sampling.motion_strength is not None:
        prompts = [with_strength(prompt, sampling.motion_strength) for prompt in prompts]
    arguments = call_arguments(pipe, family, prompts, Size(**sampling.size), fps)
    negative = sampling.negative_prompt
    arguments["negative_prompt"] = negative if family.one_at_a_time else [negative] * len(batch)
    arguments |= sampling.pipeline
    if given is not None:
        arguments |= given.arguments()
    if control is not None:
        arguments |= control.arguments(family)
    for text in ("prompt", "negative_prompt"):  # either words or their embeddings
        if any(name.startswith(f"{text}_embeds") for name in sampling.pipeline):
            del arguments[text]
    # Of what else a pipeline draws: a scheduler's noise, a sound.
    arguments["generator"] = [generator(seed, "pipeline") for _, seed in batch]
    if family.one_at_a_time:
        arguments["generator"] = arguments["generator"][0]
    if family.scale_argument:
        arguments[family.scale_argument] = float(guidance_scale)
    guider = nullcontext() if motion else text_guidance(pipe, float(guidance_scale))
    with (
        left_normalised(pipe, family),
        joint_first_frame(pipe, family, background),
        of_size(pipe, family, sampling.height or 0, sampling.width or 0),
        guider if family.passes == "guider" else nullcontext(),
        nullcontext() if motion else _in_own_type(transformer),
    ):
        final = pipe(
            num_inference_steps=sampling.num_inference_steps,
            latents=_packed(family, transformer, latents, given is not None),
            return_dict=False,
            **arguments,
        )[0]
    if not family.undoes_normalisation:
        final = family.pipeline_layout.unpack(final, size)
    return final[:, : latents.shape[1]]


def check_arguments(pipe: Any, family: ModelFamily, given: Mapping[str, Any]) -> None:
    """ValueError for arguments that the pipeline does not take, or that guidance decides."""
    accepted = [*inspect.signature(pipe.__call__).parameters]
    unknown = [name for name in given if name not in accepted]
    if unknown:
        raise ValueError(
            f"{type(pipe).__name__} takes no {', '.join(unknown)}; it takes {', '.join(accepted)}"
        )
    for name, reason in family.refused.items():
        if name in given:
            raise ValueError(f"{name} of {type(pipe).__name__} cannot be given: {reason}")
    if family.scale_argument in given:
        raise ValueError(
            f"{family.scale_argument} is not for the caller: the scales are text_scale, which is "
            "the classic guidance scale less 1, and motion_scale"
        )


@contextmanager
def _in_own_type(transformer: torch.nn.Module) -> Iterator[None]:
    """Noise is float32, and not all pipelines cast it to the type of their transformer."""

    def cast(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if args:  # hidden_states is the first of every transformer
            return (args[0].to(module.dtype), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": kwargs["hidden_states"].to(module.dtype)}

    handle = transformer.register_forward_pre_hook(cast, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _packed(family: ModelFamily, transformer: Any, latents: Tensor, with_image: bool) -> Tensor:
    """The latents in the pipeline's layout; Kandinsky takes their condition along with them."""
    own = family.image_layout if with_image else None
    packed = (own or family.pipeline_layout).pack(latents)
    if not getattr(transformer, "visual_cond", False):
        return packed
    condition = packed.new_zeros(*packed.shape[:-1], packed.shape[-1] + 1)
    return torch.cat([packed, condition], -1)


def initial_noise(seed: int, shape: tuple[int, ...], motion: bool = True) -> Tensor:
    """Noise of one sample, float32 on the CPU: appearance (C, ...), then motion if asked.

    The two halves have a stream each, so that appearance is the same with and without motion.
    """
    x = torch.randn(shape, generator=generator(seed, "noise-x"))
    if not motion:
        return x
    return join(x, torch.randn(shape, generator=generator(seed, "noise-d")), channel_dim=0)
