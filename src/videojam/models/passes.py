"""What one pass of a model's transformer takes in arithmetic, from its configs alone."""

import importlib
import inspect
from typing import Any

from videojam.joint.find_family import family_of
from videojam.joint.sizes import Size, latent_size, num_tokens
from videojam.joint.source import empty_transformer, pipeline_class
from videojam.models.needs import count, forward_flops


def pass_flops(model: str, size: Size) -> float:
    """Floating-point operations of the transformer of a folder or hub id for one clip.

    The text is taken to be as long as the pipeline lets it be. An estimate for blocks like Wan's,
    as all of needs.py. Raises ValueError for sizes that the model does not make.
    """
    pipe = _empty_pipeline(model)
    transformer = pipe.transformer
    latents = latent_size(pipe, transformer, size, family_of(transformer).pixel_multiple)
    return forward_flops(count(transformer), num_tokens(transformer, latents), _text_tokens(pipe))


def _empty_pipeline(model: str) -> Any:
    """The pipeline with its transformer and VAE, neither with values, and nothing else."""
    from accelerate import init_empty_weights
    from diffusers import DiffusionPipeline

    index: Any = DiffusionPipeline.load_config(model)
    module, name = index["vae"]
    vae = getattr(importlib.import_module(module), name)
    parts = {key: None for key, value in index.items() if isinstance(value, list | tuple)}
    settings = {k: v for k, v in index.items() if k not in parts and not k.startswith("_")}
    with init_empty_weights():
        parts["vae"] = vae.from_config(vae.load_config(model, subfolder="vae"))
    return pipeline_class(index)(**parts | settings | {"transformer": empty_transformer(model)})


def _text_tokens(pipe: Any) -> int:
    longest = inspect.signature(pipe.__call__).parameters.get("max_sequence_length")
    return 512 if longest is None else int(longest.default)
