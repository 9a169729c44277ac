"""The first call of a pipeline's transformer, recorded.

Pipelines give their transformers much more than latents and a time: text embeddings and masks of
one or two encoders, rotary tables, frame rates, guidance values, conditions that are zero for text
to video. None of it is written here again. The stock pipeline runs up to the first call of its
transformer, which says it all and is not made.
"""

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from videojam.joint.family import ModelFamily
from videojam.joint.image import Given, joint_first_frame, of_size, takes_image
from videojam.joint.latents import latent_channels
from videojam.joint.sizes import Size, latent_size


class _Called(Exception):
    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__("the transformer was called")
        self.arguments = arguments


class _Recorder:
    """Stands in for a transformer: looks like it, and stops the pipeline when it is called."""

    def __init__(self, transformer: Any, dtype: torch.dtype) -> None:
        self._transformer, self.dtype = transformer, dtype

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transformer, name)

    def cache_context(self, *_: Any, **__: Any) -> Any:
        return nullcontext()

    def __call__(self, *args: Any, **arguments: Any) -> None:
        names = [*inspect.signature(self._transformer.forward).parameters]
        raise _Called(dict(zip(names, args, strict=False)) | arguments)


def call_arguments(
    pipe: Any, family: ModelFamily, prompts: Sequence[str], size: Size, fps: float | None
) -> dict[str, Any]:
    """The arguments that a family's pipeline is called with, under its own names; no guidance."""
    accepted = inspect.signature(pipe.__call__).parameters
    named = {name: family.arguments.get(name, name) for name in Size._fields}
    arguments: dict[str, Any] = {
        named[k]: v for k, v in size._asdict().items() if named[k] in accepted
    }
    arguments |= {**family.constants, "prompt": [*prompts], "output_type": "latent"}
    if fps is not None and "fps" in family.arguments:
        arguments[family.arguments["fps"]] = fps
    longest = getattr(getattr(pipe, "tokenizer", None), "model_max_length", None)
    if longest and "max_sequence_length" in accepted:
        default = accepted["max_sequence_length"].default
        arguments["max_sequence_length"] = min(default, longest)
    if family.one_at_a_time:
        (arguments["prompt"],) = prompts
    return arguments


def first_call(
    pipe: Any,
    family: ModelFamily,
    transformer: Any,
    prompts: Sequence[str],
    size: Size,
    fps: float | None = None,
    latents: Tensor | None = None,
    **further: Any,
) -> dict[str, Any]:
    """The arguments of the pipeline's first call of its transformer, which is not run.

    transformer: whose config the pipeline goes by; it may be on the meta device. latents: to start
    from, packed. Guidance is off, so the batch is that of the prompts; further arguments may
    change that. A pipeline that has to have an image, or a clip, gets a blank one, which is not
    encoded. Raises whatever the pipeline raises for these arguments.
    """
    arguments = call_arguments(pipe, family, prompts, size, fps)
    if family.scale_argument:
        arguments[family.scale_argument] = 1.0
    if latents is not None:
        arguments["latents"] = latents
    nothing, clip = Image.new("RGB", (size.width, size.height)), family.control_arguments[0]
    blank = family.image and takes_image(pipe) and "image" not in further
    if blank:
        last = nothing if family.last_image == "must" else None
        arguments |= Given(nothing, last).arguments()
    if family.control_always and clip not in further:
        arguments[clip] = [nothing] * size.num_frames
        blank = True
    device = pipe._execution_device
    dtype = next(p.dtype for p in pipe.text_encoder.parameters())
    shape = latent_size(pipe, transformer, size, family.pixel_multiple) if blank else None
    with (
        _stand_ins(pipe, _Recorder(transformer, dtype)),
        _encoding(pipe.vae, shape),
        joint_first_frame(pipe, family),
        of_size(pipe, family, size.height, size.width),
    ):
        try:
            with torch.no_grad():
                pipe(**{"num_inference_steps": 2} | arguments | further)
        except _Called as called:
            return {k: to_device(v, device) for k, v in called.arguments.items()}
    raise RuntimeError(f"{type(pipe).__name__} did not call its transformer")


@contextmanager
def _stand_ins(pipe: Any, recorder: _Recorder) -> Iterator[None]:
    """A recorder for the transformer, a guider that does nothing, a scheduler of its own."""
    from diffusers import ClassifierFreeGuidance

    parts: dict[str, Any] = {
        "transformer": recorder,
        "scheduler": copy.deepcopy(pipe.scheduler),
        "_progress_bar_config": {"disable": True},
    }
    if hasattr(pipe, "guider"):
        parts["guider"] = ClassifierFreeGuidance(enabled=False)
    before = {name: pipe.__dict__.get(name, {}) for name in parts}
    pipe.__dict__.update(parts)  # past register_modules, which would take note of them
    try:
        yield
    finally:
        pipe.__dict__.update(before)


@contextmanager
def _encoding(vae: Any, blank: Sequence[int] | None) -> Iterator[None]:
    """With the size of a clip's latents, the VAE encodes clips as zeros of it, images as one."""
    if blank is None:
        yield
        return

    def encode(pixels: Tensor) -> Any:
        frames = 1 if pixels.shape[2] == 1 else blank[0]
        shape = (1, latent_channels(vae), frames, *blank[1:])
        zeros = torch.zeros(shape, device=pixels.device)
        return SimpleNamespace(latents=zeros, sample=zeros)

    vae.__dict__["encode"] = encode
    try:
        yield
    finally:
        del vae.__dict__["encode"]


def blank_latents(
    pipe: Any, family: ModelFamily, transformer: Any, batch: int, size: Size
) -> Tensor | None:
    """Latents for a pipeline that would take their number of channels from its VAE."""
    if not family.pass_latents:
        return None
    channels = transformer.config[family.out_key]
    shape = (batch, channels, *latent_size(pipe, transformer, size))
    return family.pipeline_layout.pack(torch.zeros(shape))


def to_device(value: Any, device: torch.device) -> Any:
    """A call's arguments with their tensors there, those inside of lists and tables, too."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, list | tuple):
        return type(value)(to_device(item, device) for item in value)
    if isinstance(value, Mapping):
        return {key: to_device(item, device) for key, item in value.items()}
    return value
