"""Inner-Guidance in unmodified pipelines.

    with inner_guidance(pipe, text_scale=5, motion_scale=3):
        latents = pipe(prompt, output_type="latent").frames

Pipelines that take a guider get InnerGuidance. Others have classifier-free guidance built in: at
each step such a pipeline asks its transformer for a prediction with the text (c) and one
without (u), and takes u + s (c - u), s its guidance_scale. A hook on the transformer (hook.py)
gives it the whole weighted sum of branches for both. Of two equal predictions every such formula
makes that prediction again: whatever the scale is, changing or not, rescaled or in terms of clean
latents. The scales are those of `inner_guidance` alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import fields, replace
from typing import Any

from diffusers import ClassifierFreeGuidance
from diffusers.hooks import HookRegistry

from videojam.guidance.branches import joint_channels
from videojam.guidance.caches import check_caches
from videojam.guidance.calls import watched_calls
from videojam.guidance.guider import InnerGuidance
from videojam.guidance.hook import BranchHook
from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.reuse import Differences
from videojam.joint.families import families
from videojam.joint.image import joint_first_frame
from videojam.joint.latents import left_normalised
from videojam.joint.lora import check_active

_NAME = "videojam_inner_guidance"


@contextmanager
def inner_guidance(
    pipe: Any,
    settings: GuidanceSettings | None = None,
    *,
    branches_at_once: bool = False,
    background: str = "black",
    **changes: Any,
) -> Iterator[Any]:
    """Guide every call of a pipeline in the block; gives the pipeline.

    changes: fields of GuidanceSettings, e.g. text_scale=5, motion_scale=3, motion_stop=0.5.
    Text guidance needs the pipeline's pass without text: leave its guidance_scale (HunyuanVideo:
    true_cfg_scale) above 1, any value. branches_at_once: all predictions of a step in one batch,
    faster for small models, for more memory (pipelines with a guider make them one by one).
    background: colour of no motion, which the first frame has where an image is blended into it.
    Raises ValueError for a pipeline that is not supported, a transformer that is not joint or whose
    own LoRA is off, bad settings, nested use, and, when the pipeline runs, for an output that is
    not latent, a missing pass without text, a batch that changes its size, a cache that would mix
    branches, or another pipeline that shares the transformer.
    """
    settings = replace(settings or GuidanceSettings(), **changes)
    if hasattr(pipe, "guider") and hasattr(pipe, "register_modules"):
        joint_channels(pipe.transformer)
        check_active(pipe.transformer)
        guider = _with_guider(pipe, InnerGuidance(**_only(settings)))
        with guider, watched_calls(pipe, nullcontext):
            yield pipe
        return
    _check_pipeline(pipe)
    both = [getattr(pipe, name, None) for name in ("transformer", "transformer_2")]
    experts = [one for one in both if one is not None]  # Wan 2.2 A14B has two
    hooks: list[BranchHook] = []
    differences = Differences(settings)  # of both experts, which predict one and the same thing
    with ExitStack() as stack:
        for transformer in experts:
            family, C = joint_channels(transformer)
            differences.channels = (family.channel_dim, C)
            check_active(transformer)
            check_caches(transformer, branches_at_once, len(experts) == 1)
            hooks.append(BranchHook(pipe, differences, branches_at_once, len(experts) == 1))
            stack.enter_context(_hooked(transformer, hooks[-1]))
        if not hooks:
            raise ValueError("the pipeline has no transformer; load it with one")

        @contextmanager
        def call() -> Iterator[None]:
            family, _ = joint_channels(experts[0])
            for transformer in experts:
                _empty_caches(transformer)
            blended = joint_first_frame(pipe, family, background)
            with ExitStack() as running, left_normalised(pipe, family), blended:
                for hook in hooks:
                    running.enter_context(hook.running())
                yield

        stack.enter_context(watched_calls(pipe, call))
        yield pipe


def _empty_caches(transformer: Any) -> None:
    """Of what a call left that did not come to its end; diffusers empties them at the end."""
    if hasattr(transformer, "_reset_stateful_cache"):
        transformer._reset_stateful_cache()


def _only(settings: GuidanceSettings) -> dict[str, Any]:
    """The fields of GuidanceSettings, of which Sampling has more."""
    return {field.name: getattr(settings, field.name) for field in fields(GuidanceSettings)}


@contextmanager
def text_guidance(pipe: Any, scale: float) -> Iterator[Any]:
    """Plain classifier-free guidance by pipelines that take a guider and no scale."""
    with _with_guider(pipe, ClassifierFreeGuidance(guidance_scale=scale, enabled=scale != 1)):
        yield pipe


@contextmanager
def _with_guider(pipe: Any, guider: Any) -> Iterator[None]:
    stock = pipe.guider
    pipe.register_modules(guider=guider)
    try:
        yield
    finally:
        pipe.register_modules(guider=stock)


def _check_pipeline(pipe: Any) -> None:
    names = [kind.__name__ for kind in type(pipe).__mro__]
    known = [
        name
        for family in families()
        if family.passes != "guider"
        for name in (*family.pipelines, *family.guided_pipelines, family.image_pipeline)
        if name
    ]
    if not any(name in known for name in names):
        hint = (
            "it takes a guider: update_components(guider=InnerGuidance(...)) instead"
            if "ModularPipeline" in names
            else "it is not known how it runs its passes with and without text"
        )
        raise ValueError(f"inner_guidance() knows {', '.join(known)}, not {names[0]}: {hint}")


@contextmanager
def _hooked(transformer: Any, hook: BranchHook) -> Iterator[None]:
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
        hook.finish()
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
