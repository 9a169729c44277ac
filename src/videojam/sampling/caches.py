"""Caches of diffusers by name, and the calibration that MagCache needs for each model.

    enable_cache(pipe, "mag=ratios.json", num_steps=50)

Which of them work with Inner-Guidance, and when, is in guidance/caches.py.
"""

import io
import json
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from diffusers import FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig

from videojam.joint.checkpoint import transformers
from videojam.records.text_files import read_text
from videojam.sampling.generate import VideoJAM
from videojam.sampling.pipeline import Sampling

_THRESHOLD = 0.05  # diffusers' own default
_INTERVAL = 3  # steps


def enable_cache(pipe: Any, text: str, num_steps: int) -> None:
    """Put a cache on all transformers of a pipeline.

    Raises ValueError as cache_config does, and for a model that diffusers has no caches for.
    """
    for transformer in transformers(pipe).values():
        _check(transformer)
        transformer.enable_cache(cache_config(text, num_steps, transformer))


def cache_config(text: str, num_steps: int, transformer: Any = None) -> Any:
    """first_block, first_block=THRESHOLD, mag=FILE with the ratios of `videojam calibrate`, taylor,
    or taylor=STEPS from one computed step to the next (TaylorSeer on attention and feed-forward).

    Raises ValueError for anything else, for a file that is no such file, and for a model in which
    nothing is found that TaylorSeer could be put on.
    """
    kind, _, value = text.partition("=")
    if kind == "first_block":
        return FirstBlockCacheConfig(threshold=_positive(text, value) if value else _THRESHOLD)
    if kind == "mag" and value:
        return MagCacheConfig(mag_ratios=_ratios(Path(value)), num_inference_steps=num_steps)
    if kind == "taylor":
        interval = _positive(text, value, whole=True) if value else _INTERVAL
        return TaylorSeerCacheConfig(
            cache_interval=int(interval), cache_identifiers=predictable(transformer),
            taylor_factors_dtype=torch.float32,
        )  # fmt: skip
    raise ValueError(
        f"cache is {text!r}, expected first_block, first_block=THRESHOLD such as 0.05, mag=FILE as "
        "`videojam calibrate` writes it, or taylor=STEPS such as 3"
    )


def predictable(transformer: torch.nn.Module) -> list[str]:
    """Patterns of the attentions and feed-forwards of a transformer's blocks, for TaylorSeer.

    Its own patterns fit the names of few models, and where they fit none it does nothing. Raises
    ValueError where there are none.
    """
    found = {
        rf"{re.escape(lists)}\.\d+\.{re.escape(name.partition('.')[2])}"
        for lists, blocks in transformer.named_children()
        if isinstance(blocks, torch.nn.ModuleList)
        for name, module in blocks.named_modules()
        if name.count(".") == 1 and type(module).__name__.endswith(("Attention", "FeedForward"))
    }
    if not found:
        raise ValueError(
            f"{type(transformer).__name__} has no blocks with attention and feed-forward under "
            "names that are known; use first_block or mag"
        )
    return sorted(found)


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


def _positive(text: str, value: str, whole: bool = False) -> float:
    try:
        if float(value) > 0 and not (whole and float(value) % 1):
            return float(value)
    except ValueError:
        pass
    expected = (
        "a whole number of steps, such as 3" if whole else "a threshold above 0, such as 0.05"
    )
    raise ValueError(f"cache is {text!r}, expected {expected}")
