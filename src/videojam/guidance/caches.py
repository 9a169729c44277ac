"""Which caches of diffusers keep the branches of guidance apart.

A cache reuses a block's output from an earlier call. With guidance, calls of several branches
alternate, so a cache must key what it keeps by the cache context, which names the branch. Only
caches that tests/guidance shows to do so are let through.
"""

from typing import Any

import torch

from videojam.guidance.branches import Branch
from videojam.guidance.inner import GuidanceSettings

_ALLOWED = ("first_block_cache", "mag_cache", "taylorseer_cache")
_REASONS = {
    "pyramid_attention_broadcast": (
        "PyramidAttentionBroadcast keeps one attention output for all branches and would hand one "
        "branch's to another"
    ),
    "faster_cache": (
        "FasterCache takes every batch for [unconditional, conditional] halves and would mix "
        "samples"
    ),
}


@torch.compiler.disable()
def check_caches(
    transformer: Any,
    branches_at_once: bool = False,
    every_step: bool = True,
) -> None:
    """ValueError for a cache that could mix branches, miscounts their steps, or does nothing.

    No cache can tell branches apart that come in one batch. every_step: whether the transformer is
    asked at each step of the run, under a context of each branch.
    Looks at the hooks themselves, so it also finds caches that were not enabled by enable_cache.
    """
    kinds = _kinds(transformer)
    config = getattr(transformer, "_cache_config", None)
    if config is not None and not kinds:
        raise ValueError(
            f"{type(config).__name__} is enabled and hooks no module of this "
            f"{type(transformer).__name__}, so it does nothing; call disable_cache(), or name the "
            r"modules, such as cache_identifiers=[r'blocks\.\d+\.(attn1|attn2|ffn)']"
        )
    for kind in kinds:
        if branches_at_once:
            raise ValueError(
                f"{kind} keeps what one call gave for the next of its branch, and "
                "branches_at_once makes them in one batch; use one of the two"
            )
        if kind not in _ALLOWED:
            reason = _REASONS.get(kind, f"{kind} was not shown to keep branches apart")
            raise ValueError(
                f"{reason}; call disable_cache() on the transformer, or use FirstBlockCacheConfig, "
                "MagCacheConfig or TaylorSeerCacheConfig, which work with Inner-Guidance"
            )
        if kind == "mag_cache" and not every_step:
            raise ValueError(
                "MagCache counts the calls of the transformer for the steps of the run, and with "
                "two experts, or by a guider, they are not; use FirstBlockCacheConfig"
            )


@torch.compiler.disable()
def forget(transformer: Any, branch: Branch) -> None:
    """Let MagCache and TaylorSeer take nothing over to the next call of this branch, which computes
    everything.

    They take a branch's calls for the steps of the run. Those of a branch that some steps leave out
    would be taken for other steps.
    """
    for module in transformer.modules():
        registry = getattr(module, "_diffusers_hook", None)
        for hook in registry.hooks.values() if registry else ():
            if type(hook).__module__.endswith((".mag_cache", ".taylorseer_cache")):
                hook.state_manager._state_cache.pop(str(branch), None)


def runs_at_every_step(settings: GuidanceSettings, branch: Branch) -> bool:
    """Whether a branch runs at each step from the first until it is over."""
    start = settings.text_start if branch is Branch.NO_TEXT else settings.motion_start
    return branch is Branch.JOINT or (start == 0 and not settings.reuses)


def _kinds(transformer: Any) -> dict[str, None]:
    """Caches that are on it, by the name of their module in diffusers."""
    hooks = [
        hook
        for module in transformer.modules()
        if (registry := getattr(module, "_diffusers_hook", None))
        for hook in registry.hooks.values()
    ]
    kinds = [type(hook).__module__.rpartition(".")[2] for hook in hooks]
    return dict.fromkeys(kind for kind in kinds if kind.endswith("_cache") or kind in _REASONS)
