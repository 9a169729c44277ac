"""A transformer called as its own pipeline calls it, for training and measuring.

Pipelines give their transformers much more than latents and a time: text embeddings and masks of
one or two encoders, rotary tables, frame rates, guidance values, conditions that are zero for text
to video. None of it is written here again. The stock pipeline runs up to the first call of its
transformer, which is recorded: what came from the prompt is kept for each sample, the rest is kept
for each size.

    text = text_inputs(pipe, "a dog jumps over a hurdle", size)
    predict = Denoiser(pipe, fps=16).of(transformer)
    predict(latents, level, text)   # (b, c, t, h, w) -> (b, c, t, h, w)
"""

import copy
import importlib
import inspect
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, cast

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from videojam.joint.family import CHANNELS, ModelFamily
from videojam.joint.find_family import family_of, unwrapped
from videojam.joint.image import (
    GIVEN,
    Given,
    check_frames,
    joint_first_frame,
    of_size,
    still_motion,
    takes_image,
)
from videojam.joint.latents import latent_channels
from videojam.joint.noising import Level
from videojam.joint.sizes import Size, latent_size, num_tokens, pixel_size
from videojam.joint.text import Text
from videojam.rng import generator

Predict = Callable[[Tensor, Level, Text], Tensor]
"(noised latents (b, c, t, h, w), noise levels, text) -> prediction of the same shape"


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
            return {k: _to(v, device) for k, v in called.arguments.items()}
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


def empty_transformer(model: str) -> Any:
    """The transformer of a folder or hub id with its config alone, no weights."""
    from accelerate import init_empty_weights
    from diffusers import DiffusionPipeline

    module, name = cast(Any, DiffusionPipeline.load_config(model))["transformer"]
    kind = getattr(importlib.import_module(module), name)
    with init_empty_weights():
        return kind.from_config(kind.load_config(model, subfolder="transformer"))


def text_inputs(
    pipe: Any,
    prompts: Sequence[str],
    size: Size,
    family: ModelFamily | None = None,
    transformer: Any = None,
) -> list[Text]:
    """The inputs of the transformer for each prompt, without the batch axis. "" is the null text.

    transformer: default the pipeline's own; one on the meta device will do.
    """
    transformer = transformer or pipe.transformer
    family = family or family_of(transformer)
    if family.one_at_a_time and len(prompts) > 1:
        return [text_inputs(pipe, [one], size, family, transformer)[0] for one in prompts]
    latents = blank_latents(pipe, family, transformer, len(prompts), size)
    # Some pipelines make the text of their pass without a prompt in another way than that of a
    # prompt (SANA-Video, Latte). It is the first half of the batch.
    as_null = family.passes == "batched" and not any(prompts)
    negative = prompts[0] if family.one_at_a_time else [*prompts]
    further: dict[str, Any] = dict(family.null_arguments) if not any(prompts) else {}
    if as_null and family.scale_argument:
        further |= {family.scale_argument: 2.0, "negative_prompt": negative}
    found = first_call(pipe, family, transformer, prompts, size, latents=latents, **further)
    return [
        {name: found[name][place].detach().cpu().clone() for name in family.text_inputs}
        for place in range(len(prompts))
    ]


def image_inputs(
    pipe: Any,
    given: Given,
    size: Size,
    family: ModelFamily | None = None,
    transformer: Any = None,
    prompt: str = "",
) -> Text:
    """The inputs of the transformer for given frames, as the stock pipeline makes them, unbatched.

    Of a model that reads the prompt together with the image the text's inputs are among them.
    Frames of another size than the clip's are stretched. What a pipeline draws from the posterior
    of its VAE is drawn from a stream of the frame's own. Raises ValueError for frames that the
    model does not take.
    """
    transformer = transformer or pipe.transformer
    family = family or family_of(transformer)
    check_frames(family, given.last is not None)
    latents = blank_latents(pipe, family, transformer, 1, size)
    found = first_call(
        pipe, family, transformer, [prompt], size, latents=latents, **given.arguments(),
        generator=generator(zlib.crc32(given.first.tobytes()), "image"),
    )  # fmt: skip
    own = channels_after(found, pipe, transformer, family, size)
    for name in (*family.image_inputs, *(family.text_inputs if family.text_with_image else ())):
        if found.get(name) is not None:  # of several images as many rows
            own[name] = found[name] if len(found[name]) > 1 else found[name][0]
    return {name: value.detach().cpu().clone() for name, value in own.items()}


def channels_after(
    found: Mapping[str, Any], pipe: Any, transformer: Any, family: ModelFamily, size: Size
) -> Text:
    """The channels after the latents in a recorded call, of its first sample; {} without any."""
    hidden = family.layout.unpack(
        found["hidden_states"], latent_size(pipe, transformer, size, family.pixel_multiple)
    )
    C = transformer.config[family.out_key]
    return {CHANNELS: hidden[0, C:]} if hidden.shape[1] > C else {}


class Denoiser:
    """Calls a pipeline's transformer for latents of any size, with everything it needs.

    fps: of the clips, for pipelines that take it. background: colour of no motion. The pipeline's
    text encoders are used once for every new shape of a batch, for the null text.
    """

    def __init__(
        self,
        pipe: Any,
        family: ModelFamily | None = None,
        fps: float | None = None,
        background: str = "black",
    ):
        self.pipe, self.fps, self.background = pipe, fps, background
        self.family = family or family_of(pipe.transformer)
        self._given: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._still: dict[tuple[int, int], Tensor] = {}

    def still(self, latents: Sequence[int]) -> Float[Tensor, "1 c 1 h w"]:
        """The motion half of a first frame that is given, for latents of (t, h, w)."""
        _, height, width = pixel_size(self.pipe, latents)
        if (height, width) not in self._still:
            found = still_motion(self.pipe.vae, height, width, self.background)
            self._still[height, width] = found.cpu()
        return self._still[height, width]

    def without_control(self, transformer: Any, latents: Sequence[int], device: Any) -> Text:
        """What the stock pipeline gives of no control clip, unbatched; latents: of a batch."""
        found = self._inputs(transformer, latents, device)
        return {name: found[name][0] for name in self.family.control_inputs}

    def level(self, u: Float[Tensor, "b"]) -> Level:
        """Noise levels in the model's own terms."""
        return self.family.noising(u, self.pipe.scheduler)

    def shift(self, latents: Sequence[int]) -> float:
        """Time shift of the model's own sampling schedule, for latents of (t, h, w).

        Schedules that shift by the number of tokens have exp(mu), mu linear in it.
        """
        config = self.pipe.scheduler.config
        if not config.get("use_dynamic_shifting"):
            return config.get("flow_shift") or config.get("shift") or 1.0
        tokens = num_tokens(self.pipe.transformer, latents)
        few, many = config["base_image_seq_len"], config["max_image_seq_len"]
        low, high = config["base_shift"], config["max_shift"]
        return math.exp(low + (high - low) * (tokens - few) / (many - few))

    def of(self, transformer: Any) -> Predict:
        """Predictions of this transformer: the base, or a joint one with twice the channels."""

        def predict(
            latents: Float[Tensor, "b c t h w"], level: Level, text: Text
        ) -> Float[Tensor, "b c t h w"]:
            found = self._inputs(transformer, latents.shape, latents.device)
            arguments = {**found, **self.family.fixed_inputs, **text}
            layout, size = self.family.layout, latents.shape[2:]
            hidden = layout.pack(latents)
            # Channels after the latents (masks, conditions) are the sample's own, or stay as the
            # pipeline made them.
            recorded, dim = arguments["hidden_states"], layout.channel_dim
            if CHANNELS in arguments:
                condition = layout.pack(arguments.pop(CHANNELS))
            else:
                condition = recorded.narrow(
                    dim, hidden.shape[dim], recorded.shape[dim] - hidden.shape[dim]
                )
            arguments["hidden_states"] = torch.cat([hidden, condition.to(hidden)], dim)
            for name in self.family.image_inputs:  # of several images as many rows
                if name in text and text[name].ndim > 3:
                    arguments[name] = text[name].flatten(0, 1)
            given = arguments.pop(GIVEN, None)
            for name in self.family.time_inputs:
                if name in arguments:
                    time = _spread(level.time, arguments[name])
                    if given is not None and self.family.token_times:
                        time = _clean(time, given, size[0], num_tokens(transformer, size))
                    arguments[name] = time
            if given is not None:
                arguments |= dict.fromkeys(self.family.sample_times, level.time)
            if "text_rope_pos" in arguments:  # Kandinsky: places in the batch's longest text
                length = arguments["encoder_hidden_states"].shape[1]
                arguments["text_rope_pos"] = torch.arange(length, device=latents.device)
            output = transformer(**arguments | {"return_dict": False})
            # Kandinsky gives it bare.
            prediction = output if isinstance(output, Tensor) else output[0]
            # Some models predict more than the latents, a learned variance, after them.
            return layout.unpack(prediction, size)[:, : latents.shape[1]]

        return predict

    def _inputs(self, transformer: Any, shape: Sequence[int], device: Any) -> dict[str, Any]:
        key = (tuple(shape), device)
        if key not in self._given:
            size = pixel_size(self.pipe, shape[2:])
            transformer = unwrapped(transformer)
            count = 1 if self.family.one_at_a_time else shape[0]
            start = blank_latents(self.pipe, self.family, transformer, count, size)
            found = first_call(
                self.pipe, self.family, transformer, [""] * count, size, self.fps, start
            )
            if count < shape[0]:
                found = _repeated(found, shape[0], self.family)
            self._given[key] = {k: _to(v, device) for k, v in found.items()}
        return dict(self._given[key])


def blank_latents(
    pipe: Any, family: ModelFamily, transformer: Any, batch: int, size: Size
) -> Tensor | None:
    """Latents for a pipeline that would take their number of channels from its VAE."""
    if not family.pass_latents:
        return None
    channels = transformer.config[family.out_key]
    shape = (batch, channels, *latent_size(pipe, transformer, size))
    return family.pipeline_layout.pack(torch.zeros(shape))


def _spread(time: Tensor, like: Tensor) -> Tensor:
    """Times (B,) in the shape in which the pipeline passes them: of a sample, or of its tokens."""
    return time.view(-1, *[1] * (like.ndim - 1)).expand(like.shape)


def _clean(time: Tensor, given: Tensor, frames: int, tokens: int) -> Tensor:
    """Times (B, tokens), zero for the tokens of first frames that are given."""
    time = time.view(len(time), -1).expand(-1, tokens)
    first = torch.arange(tokens, device=time.device) < tokens // frames
    return time.masked_fill(given.to(time.device)[:, None] & first, 0)


def _repeated(arguments: Mapping[str, Any], count: int, family: ModelFamily) -> dict[str, Any]:
    """Arguments of a call for one sample, for several; vectors but times are not of a batch."""

    def of_batch(name: str, value: Any) -> bool:
        return isinstance(value, Tensor) and (value.ndim > 1 or name in family.time_inputs)

    return {
        name: value.expand(count, *value.shape[1:]) if of_batch(name, value) else value
        for name, value in arguments.items()
    }


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, list | tuple):
        return type(value)(_to(item, device) for item in value)
    if isinstance(value, Mapping):
        return {key: _to(item, device) for key, item in value.items()}
    return value
