"""Inner-Guidance in unmodified classic pipelines, whose only guidance is classifier-free.

    with inner_guidance(pipe, text_scale=5, motion_scale=3):
        latents = pipe(prompt, output_type="latent").frames

Such a pipeline calls its transformer with the text (c), then with the null text (u), and takes
u + s (c - u), s its guidance_scale. A hook on the transformer returns instead

    c' = (sum of the branches with text) / s,    u' = (sum of the branches without) / (1 - s),

so that u' + s (c' - u') is the whole weighted sum, whatever s is, but for s = 0 and 1. The scales
are those of `inner_guidance` alone. Pipelines that batch both calls into one are not supported.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from diffusers.hooks import HookRegistry, ModelHook
from diffusers.hooks.hooks import BaseState, CacheContext, StateManager
from torch import Tensor

from videojam.guidance.branches import (
    Branch,
    Weights,
    combine,
    joint_channels,
    without_motion,
)
from videojam.guidance.caches import check_caches
from videojam.guidance.inner import GuidanceSettings

# Pipelines with one pass per text under cache_context("cond") and ("uncond"), and s as above.
SEQUENTIAL_PIPELINES = ("WanPipeline", "SkyReelsV2Pipeline")
_NAME = "videojam_inner_guidance"


@contextmanager
def inner_guidance(
    pipe: Any, settings: GuidanceSettings | None = None, **changes: Any
) -> Iterator[Any]:
    """Guide every call of a classic pipeline in the block; gives the pipeline.

    changes: fields of GuidanceSettings, e.g. text_scale=5, motion_scale=3, motion_stop=0.5.
    Text guidance needs the pipeline's second pass: leave its guidance_scale above 1 (any value).
    Raises ValueError for a pipeline that is not supported, a transformer that is not joint, bad
    settings, nested use, and (when the pipeline runs) a cache that would mix branches.
    """
    settings = replace(settings or GuidanceSettings(), **changes)
    _check_pipeline(pipe)
    with ExitStack() as stack:
        for name, scale in _SCALES.items():
            transformer = getattr(pipe, name, None)
            if transformer is not None:
                joint_channels(transformer)
                check_caches(transformer)
                stack.enter_context(_hooked(transformer, _BranchHook(pipe, settings, scale)))
        yield pipe


# Transformer -> its guidance_scale s. Wan 2.2 A14B has a second one for low noise.
_SCALES: dict[str, Callable[[Any], float]] = {
    "transformer": lambda pipe: pipe.guidance_scale,
    "transformer_2": lambda pipe: pipe._guidance_scale_2,
}


class _BranchHook(ModelHook):
    """Replaces the prediction of each call by its share of the weighted sum of branches."""

    _is_stateful = True  # so that cache_context() tells the StateManager which call this is

    def __init__(
        self, pipe: Any, settings: GuidanceSettings, scale: Callable[[Any], float]
    ) -> None:
        super().__init__()
        self._pipe, self._settings, self._scale = pipe, settings, scale
        self._call = StateManager(cast(Any, BaseState))

    def reset_state(self, module: torch.nn.Module) -> torch.nn.Module:
        self._call.reset()
        return module

    @torch.compiler.disable(recursive=False)  # not its calls of the transformer
    def new_forward(self, module: Any, *args: Any, **kwargs: Any) -> tuple[Tensor]:
        check_caches(module)
        context = self._call._context
        share = self._share(context)
        hidden_states = kwargs["hidden_states"]
        if not share:  # branches that all weigh nothing: no need to run the model
            return (torch.zeros_like(hidden_states, dtype=torch.float32),)
        forward: Any = self.fn_ref.original_forward
        predictions: dict[Branch, Tensor] = {}
        for branch in share:
            kwargs["hidden_states"] = (
                hidden_states if branch.has_motion else without_motion(hidden_states, module)
            )
            with module.cache_context(**(vars(context) | {"name": str(branch)})):
                predictions[branch] = forward(*args, **kwargs)[0]
        return (combine(predictions, share),)

    @torch.compiler.disable()
    def _share(self, context: CacheContext | None) -> Weights:
        """What this call has to return, so that the pipeline's own formula gives the sum."""
        if context is None or context.name not in ("cond", "uncond"):
            raise ValueError(
                f"the transformer was called under cache context {context and context.name!r}, "
                "expected the pipeline's 'cond' or 'uncond'; inside inner_guidance() call the "
                "pipeline, not its transformer"
            )
        pipe, s = self._pipe, float(self._scale(self._pipe))
        step, num_steps = context.step_index, context.num_inference_steps
        if step is None:  # SkyReels-V2 gives none
            step = pipe.scheduler.step_index or 0
        weights = self._settings.weights(step, num_steps or pipe.num_timesteps)
        two_passes = pipe.do_classifier_free_guidance
        if two_passes and s not in (0, 1):
            if context.name == "cond":
                return {branch: w / s for branch, w in weights.items() if branch.has_text}
            return {branch: w / (1 - s) for branch, w in weights.items() if not branch.has_text}
        # The pipeline uses the pass with text alone: all of the sum must come from there.
        if (two_passes and s == 0) or not all(branch.has_text for branch in weights):
            raise ValueError(
                f"guidance_scale is {s:g}, so the pipeline ignores a pass that these settings "
                f"need: {[*map(str, weights)]} at step {step}. Pass guidance_scale > 1 (and "
                "guidance_scale_2 > 1); any value gives the same result, the scales are those of "
                "inner_guidance"
            )
        return weights if context.name == "cond" else {}


def _check_pipeline(pipe: Any) -> None:
    names = [kind.__name__ for kind in type(pipe).__mro__]
    if not any(name in SEQUENTIAL_PIPELINES for name in names):
        hint = (
            "it takes a guider: pass guider=InnerGuidance(...) instead"
            if hasattr(pipe, "guider") or "ModularPipeline" in names
            else "it may run both passes in one batch, which is not supported yet"
        )
        raise ValueError(
            f"inner_guidance() knows {', '.join(SEQUENTIAL_PIPELINES)}, not {names[0]}: {hint}"
        )


@contextmanager
def _hooked(transformer: Any, hook: ModelHook) -> Iterator[None]:
    registry = HookRegistry.check_if_exists_or_initialize(transformer)
    if registry.get_hook(_NAME) is not None:
        raise ValueError(
            "inner_guidance() is already active on this pipeline's transformer; leave the outer "
            "block first, guidance does not nest"
        )
    with _beneath_accelerate(transformer):
        registry.register_hook(hook, _NAME)
    try:
        yield
    finally:
        with _beneath_accelerate(transformer):
            registry.remove_hook(_NAME, recurse=False)


@contextmanager
def _beneath_accelerate(module: Any) -> Iterator[None]:
    """Edit the forward that accelerate's offloading wraps, if it does.

    After every call of a pipeline with enable_model_cpu_offload, accelerate puts back the forward
    that it had wrapped: a hook around accelerate's would be lost, and guidance with it.
    """
    if not hasattr(module, "_old_forward"):
        yield
        return
    outer, module.forward = module.forward, module._old_forward
    yield
    module._old_forward, module.forward = module.forward, outer
