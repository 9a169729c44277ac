"""A transformer called as its own pipeline calls it, for training and measuring.

What the pipeline's first call says (first_call.py) is kept for each size of a batch; text, images
and conditions of a sample come with it (inputs.py).

    (text,) = text_inputs(pipe, ["a dog jumps over a hurdle"], size)
    predict = Denoiser(pipe, fps=16).of(transformer)
    predict(latents, level, text)   # (b, c, t, h, w) -> (b, c, t, h, w)
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.joint.family import CHANNELS, ModelFamily
from videojam.joint.find_family import family_of, unwrapped
from videojam.joint.first_call import blank_latents, first_call, to_device
from videojam.joint.image import GIVEN, still_motion
from videojam.joint.noising import Level
from videojam.joint.sizes import num_tokens, pixel_size
from videojam.joint.text import Text

Predict = Callable[[Tensor, Level, Text], Tensor]
"(noised latents (b, c, t, h, w), noise levels, text) -> prediction of the same shape"


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
            self._given[key] = {k: to_device(v, device) for k, v in found.items()}
        return dict(self._given[key])


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
