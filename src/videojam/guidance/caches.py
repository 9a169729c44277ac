"""Which caches of diffusers keep the branches of guidance apart.

A cache reuses a block's output from an earlier call. With guidance, calls of several branches
alternate, so a cache must key what it keeps by the cache context, which names the branch. Only
caches that tests/guidance shows to do so are let through.
"""

import torch

_ALLOWED = "first_block_cache"
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
def check_caches(transformer: torch.nn.Module, branches_at_once: bool = False) -> None:
    """ValueError if a cache on the transformer could mix branches.

    No cache can tell branches apart that come in one batch.
    Looks at the hooks themselves, so it also finds caches that were not enabled by enable_cache.
    """
    for module in transformer.modules():
        registry = getattr(module, "_diffusers_hook", None)
        for hook in registry.hooks.values() if registry else ():
            kind = type(hook).__module__.rpartition(".")[2]
            if branches_at_once and kind.endswith("_cache"):
                raise ValueError(
                    f"{kind} keeps what one call gave for the next of its branch, and "
                    "branches_at_once makes them in one batch; use one of the two"
                )
            if kind in _REASONS or (kind.endswith("_cache") and kind != _ALLOWED):
                reason = _REASONS.get(kind, f"{kind} was not shown to keep branches apart")
                raise ValueError(
                    f"{reason}; call disable_cache() on the transformer, or use "
                    "FirstBlockCacheConfig, which works with Inner-Guidance"
                )
