"""What a stock pipeline makes of a prompt, and of given frames, for its transformer.

    (text,) = text_inputs(pipe, ["a dog jumps over a hurdle"], size)

Arguments of the pipeline's first call of its transformer (first_call.py), kept for each sample.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from videojam.joint.family import CHANNELS, ModelFamily
from videojam.joint.find_family import family_of
from videojam.joint.first_call import blank_latents, first_call
from videojam.joint.image import Given, check_frames
from videojam.joint.sizes import Size, latent_size
from videojam.joint.text import Text
from videojam.rng import generator


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
