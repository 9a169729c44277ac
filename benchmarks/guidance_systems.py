"""What benchmarks/guidance_cost.py compares: ways to sample, their caches, and what they cost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from diffusers import FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig

from videojam.guidance.presets import PRESETS
from videojam.sampling.caches import predictable, ratios_of

PAPER, PLAIN, ALONE = "paper", "plain CFG of the control", "without Inner-Guidance"
_TAYLOR = {"cache_interval": 3, "taylor_factors_dtype": torch.float32}


class System(NamedTuple):
    """A model and how it is sampled."""

    role: str
    "joint, control or distilled."
    changes: dict[str, Any]
    "Fields of Sampling."
    cache: str = ""
    "mag, taylor, or first_block=THRESHOLD."


def every(count: int, **changes: Any) -> dict[str, Any]:
    return {"text_every": count, "motion_every": count, **changes}


def until(share: float, **changes: Any) -> dict[str, Any]:
    return {"text_stop": share, "motion_stop": share, **changes}


DEVELOPMENT = {
    PAPER: System("joint", {}),
    ALONE: System("joint", {"motion_scale": 0.0}),
    "every 4th": System("joint", every(4)),
    "every 4th, on a line": System("joint", every(4, reuse="extrapolate")),
    "every 3rd, text in half": System("joint", every(3, text_stop=0.5)),
    "to 0.4, every 2nd": System("joint", until(0.4, **every(2))),
    "to 0.4, every 2nd, on a line": System("joint", until(0.4, **every(2, reuse="extrapolate"))),
    "to 0.4, every 4th": System("joint", until(0.4, **every(4))),
    "to 0.2": System("joint", until(0.2)),
}
SYSTEMS = {
    PAPER: System("joint", {}),
    "balanced": System("joint", PRESETS["balanced"]),
    "fast": System("joint", PRESETS["fast"]),
    "paper, MagCache": System("joint", {}, "mag"),
    "paper, first block cache 0.1": System("joint", {}, "first_block=0.1"),
    "paper, TaylorSeer 3": System("joint", {}, "taylor"),
    "balanced, MagCache": System("joint", PRESETS["balanced"], "mag"),
    "balanced, TaylorSeer 3": System("joint", PRESETS["balanced"], "taylor"),
    ALONE: System("joint", {"motion_scale": 0.0}),
    PLAIN: System("control", {}),
    "distilled": System("distilled", {"text_scale": 0.0, "motion_scale": 0.0}),
}


def cache_of(system: System, transformer: Any, steps: int, calibrated: Callable[[], object]) -> Any:
    """Its configuration of diffusers, or None. calibrated: samples under the paper's guidance."""
    kind, _, value = system.cache.partition("=")
    if kind == "mag":
        ratios = ratios_of(transformer, steps, calibrated)
        return MagCacheConfig(mag_ratios=ratios, num_inference_steps=steps)
    if kind == "taylor":
        return TaylorSeerCacheConfig(cache_identifiers=predictable(transformer), **_TAYLOR)
    return FirstBlockCacheConfig(threshold=float(value)) if kind else None


@contextmanager
def cached(transformer: Any, cache: Any) -> Iterator[None]:
    if cache is None:
        yield
        return
    transformer.enable_cache(cache)
    try:
        yield
    finally:
        transformer.disable_cache()


@contextmanager
def counted(transformer: Any) -> Iterator[dict[str, float]]:
    """Passes of a Wan transformer, and of its blocks as a mean over the blocks."""
    counts = {"passes": 0.0, "blocks": 0.0}

    def count(name: str, weight: float) -> Any:
        def hook(*_: Any) -> None:
            counts[name] += weight

        return hook

    handles = [transformer.patch_embedding.register_forward_pre_hook(count("passes", 1.0))]
    handles += [
        block.attn1.to_q.register_forward_pre_hook(count("blocks", 1 / len(transformer.blocks)))
        for block in transformer.blocks
    ]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()
