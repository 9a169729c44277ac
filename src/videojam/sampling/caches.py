"""Caches of diffusers by name, and the calibration that MagCache needs for each model.

    enable_cache(pipe, "mag=ratios.json", num_steps=50)

Which of them work with Inner-Guidance, and when, is in guidance/caches.py.
"""

import io
import json
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from diffusers import FirstBlockCacheConfig, MagCacheConfig

from videojam.joint.checkpoint import transformers
from videojam.records.text_files import read_text
from videojam.sampling.generate import VideoJAM
from videojam.sampling.pipeline import Sampling

_THRESHOLD = 0.05  # diffusers' own default


def enable_cache(pipe: Any, text: str, num_steps: int) -> None:
    """Put a cache on all transformers of a pipeline.

    Raises ValueError as cache_config does, and for a model that diffusers has no caches for.
    """
    config = cache_config(text, num_steps)
    for transformer in transformers(pipe).values():
        _check(transformer)
        transformer.enable_cache(config)


def cache_config(text: str, num_steps: int) -> Any:
    """first_block, first_block=THRESHOLD, or mag=FILE with the ratios of `videojam calibrate`.

    Raises ValueError for anything else, and for a file that is no such file.
    """
    kind, _, value = text.partition("=")
    if kind == "first_block":
        return FirstBlockCacheConfig(threshold=_positive(text, value) if value else _THRESHOLD)
    if kind == "mag" and value:
        return MagCacheConfig(mag_ratios=_ratios(Path(value)), num_inference_steps=num_steps)
    raise ValueError(
        f"cache is {text!r}, expected first_block, first_block=THRESHOLD such as 0.05, or mag=FILE "
        "as `videojam calibrate` writes it"
    )


def mag_ratios(
    jam: VideoJAM, samples: Sequence[tuple[str, int]], sampling: Sampling
) -> list[float]:
    """MagCache's ratios of a model: for each step, how much longer what the blocks add has become.

    The mean over samples and over the branches of guidance that run at every step; Inner-Guidance
    changes the way that is taken, so calibrate with the settings that will be sampled with. Raises
    ValueError where MagCache does not work with them.
    """

    def sample() -> None:
        for _ in jam.clips(samples, sampling):
            pass

    return ratios_of(jam.pipe.transformer, sampling.num_inference_steps, sample)


def ratios_of(transformer: Any, num_steps: int, sample: Callable[[], None]) -> list[float]:
    """The mean of the ratios of all runs of this many steps that `sample` makes."""
    _check(transformer)
    transformer.enable_cache(MagCacheConfig(calibrate=True, num_inference_steps=num_steps))
    printed = io.StringIO()  # the only place where diffusers gives them
    try:
        with redirect_stdout(printed):
            sample()
    finally:
        transformer.disable_cache()
    lists = [line for line in printed.getvalue().splitlines() if line.startswith("[1.0")]
    ratios = [json.loads(line) for line in lists]
    if not ratios:
        raise ValueError(
            f"diffusers gave no ratios for {type(transformer).__name__}; MagCache may not know its "
            "blocks"
        )
    return [sum(one) / len(ratios) for one in zip(*ratios, strict=True)]


def _check(transformer: Any) -> None:
    if not hasattr(transformer, "enable_cache"):
        raise ValueError(f"diffusers has no caches for {type(transformer).__name__}")


def _ratios(path: Path) -> list[float]:
    try:
        found = json.loads(read_text(path))["mag_ratios"]
        if found and all(isinstance(one, int | float) and one > 0 for one in found):
            return found
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{path} holds no mag_ratios; make it with `videojam calibrate --out {path}`")


def _positive(text: str, value: str) -> float:
    try:
        if float(value) > 0:
            return float(value)
    except ValueError:
        pass
    raise ValueError(f"cache is {text!r}, expected a threshold above 0, such as 0.05")
