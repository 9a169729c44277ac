"""What a transformer answers inside of inner_guidance(): the weighted sum of its branches.

Pipelines with classifier-free guidance of their own run a pass with the text (c) and one without
(u) in three ways: both in one batch, one after the other under cache contexts that name them, or
one after the other without. Those with both in one batch get the sum twice. Others ask for c first,
when u's text is not known yet: what they got for c is filled in when they ask for u.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, cast

import torch
from diffusers.hooks import ModelHook
from diffusers.hooks.hooks import BaseState, CacheContext, StateManager
from torch import Tensor

from videojam.guidance.batches import in_one_batch, parts_of
from videojam.guidance.branches import (
    Branch,
    Weights,
    joint_channels,
    without_motion,
)
from videojam.guidance.caches import check_caches, forget, runs_at_every_step
from videojam.guidance.reuse import Differences
from videojam.joint.family import ModelFamily

_CONTEXTS = {"named": ("cond", "uncond")}  # that a pass is run under; of the others in one or none


class _Open(NamedTuple):
    """A step whose pass with text was made: its answer so far, and the branches still to come."""

    step: int
    num_steps: int
    answer: Tensor
    predictions: dict[Branch, Tensor]
    still_needed: Weights
    inputs: dict[str, Any]
    "Of the pass with text."


class BranchHook(ModelHook):
    """Replaces each prediction of a transformer by the weighted sum of branches.

    One sampling step of Wan with w1 = 5, w2 = 3, two passes one after the other:

        pipeline -> transformer(z, text)    the hook runs JOINT u(x,d,y) and NO_MOTION u(x,0,y);
                                            NO_TEXT is still needed, and its text is not known yet:
                                            it answers c, a tensor of NaN, and keeps hold of it
        pipeline -> transformer(z, null)    the hook runs NO_TEXT u(x,d,0); now the sum
                                            9 JOINT - 5 NO_TEXT - 3 NO_MOTION is known: it is
                                            written into c, and answered as u too
        pipeline: u + s (c - u) = c         whatever its own scale s is
        scheduler.step(c)                   moves x and d

    CogVideoX asks for both in one batch [null, text] and gets [sum, sum]: no step stays open.
    In the second half of the steps (motion_stop) NO_MOTION has no weight and is not run. Which
    branches are due at a step, and what their sum is with those that are not, reuse.py says.
    """

    _is_stateful = True  # so that cache_context() tells the StateManager which call this is

    def __init__(
        self, pipe: Any, differences: Differences, at_once: bool = False, alone: bool = True
    ) -> None:
        super().__init__()
        self._pipe, self._differences, self._at_once = pipe, differences, at_once
        self._alone = alone  # the pipeline's one transformer
        self._running = False
        self._sizes: dict[str, int] | None = None  # samples in the run's inputs, by name
        self._call = StateManager(cast(Any, BaseState))
        self._open: _Open | None = None
        self._two = False  # whether batches hold both passes
        # What other outputs, such as sound, of the pass without text differ by from those with.
        self._others: tuple[Any, ...] = ()

    @contextmanager
    def running(self) -> Iterator[None]:
        """A call of the pipeline; one that was interrupted leaves nothing behind."""
        self._open, self._two, self._sizes, self._running = None, False, None, True
        self._others = ()
        self._differences.clear()
        try:
            yield
            self.finish()
        finally:
            self._open, self._running, self._others = None, False, ()
            self._differences.clear()

    def reset_state(self, module: torch.nn.Module) -> torch.nn.Module:
        self._call.reset()
        return module

    @torch.compiler.disable(recursive=False)  # not its calls of the transformer
    def new_forward(self, module: Any, *args: Any, **kwargs: Any) -> Any:
        check_caches(module, self._at_once, self._alone)
        self._check_caller()
        kwargs = _named(self.fn_ref.original_forward, args) | kwargs
        family, _ = joint_channels(module)
        self._check_context(*_CONTEXTS.get(family.passes, (None, "cond_uncond")))
        step, num_steps = self._step(kwargs["timestep"])
        self._check_size(kwargs, step)
        if family.passes != "batched" and self._is_second(step, family):
            return self._pass_without_text(module, kwargs)
        due = self._differences.due(step, num_steps)
        if family.passes == "batched":
            return self._both_passes(module, kwargs, due, step, num_steps)
        return self._pass_with_text(module, kwargs, due, step, num_steps)

    # --- one batch --------------------------------------------------------------------------

    @torch.compiler.disable(recursive=False)
    def _both_passes(
        self, module: Any, kwargs: dict[str, Any], due: Weights, step: int, num_steps: int
    ) -> Any:
        """The batch is [without text, with text], or with text alone where guidance is off."""
        count = len(kwargs["hidden_states"])
        if step == 0:  # a scale that changes (CogVideoX) may be 1 in between, the batch stays
            self._two = self._pipe.guidance_scale > 1
        two = self._two
        if not two and not all(branch.has_text for branch in due):
            raise ValueError(self._no_null_text(due))
        # Such as sound, of the pass with and of the one without text.
        other_outputs: dict[bool, tuple[Any, ...]] = {}
        predictions: dict[Branch, Tensor] = {}
        inputs = {
            branch: _half(kwargs, count, int(branch.has_text)) if two else kwargs for branch in due
        }
        for branch, (prediction, others) in self._run_all(module, inputs).items():
            predictions[branch] = prediction
            if branch.has_motion or branch.has_text not in other_outputs:
                other_outputs[branch.has_text] = others
        total = self._differences.guided(predictions, step, num_steps)
        if two:
            with_text = other_outputs.get(True, next(iter(other_outputs.values())))
            without = other_outputs.get(False) or self._others_without_text(
                with_text, step, num_steps
            )
            self._others = tuple(a - b for a, b in zip(without, with_text, strict=True))
            others = tuple(torch.cat([a, b]) for a, b in zip(without, with_text, strict=True))
            return _output(kwargs, torch.cat([total, total]), others)
        return _output(kwargs, total, other_outputs[True])

    def _others_without_text(
        self, with_text: tuple[Any, ...], step: int, num_steps: int
    ) -> tuple[Any, ...]:
        """As far from those with text as when the pass without was last made, in the window of text
        guidance."""
        if not self._others or self._differences.has_no_text(step, num_steps):
            return with_text
        return tuple(a + b for a, b in zip(with_text, self._others, strict=True))

    # --- one pass after the other -------------------------------------------------------------

    @torch.compiler.disable(recursive=False)
    def _pass_with_text(
        self, module: Any, kwargs: dict[str, Any], due: Weights, step: int, num_steps: int
    ) -> Any:
        if self._open is not None and self._open.still_needed:
            still_needed, self._open = self._open.still_needed, None
            raise ValueError(self._no_null_text(still_needed))
        still_needed = {b: w for b, w in due.items() if not b.has_text}
        predictions: dict[Branch, Tensor] = {}
        if still_needed and self._at_once:
            still_needed = due  # all together, in the pass without text
        else:
            runs = self._run_all(module, {b: kwargs for b in due if b.has_text})
            predictions = {branch: prediction for branch, (prediction, _) in runs.items()}
        if still_needed:  # NaN: nobody must use it before it is filled in
            answer = _like_a_prediction(module, kwargs).fill_(torch.nan)
        else:
            answer = self._differences.guided(predictions, step, num_steps)
        self._open = _Open(step, num_steps, answer, predictions, still_needed, kwargs)
        return _output(kwargs, answer)

    @torch.compiler.disable(recursive=False)
    def _pass_without_text(self, module: Any, kwargs: dict[str, Any]) -> Any:
        assert self._open is not None
        step, num_steps, answer, predictions, still_needed, with_text = self._open
        if still_needed:
            inputs = {b: with_text if b.has_text else kwargs for b in still_needed}
            runs = self._run_all(module, inputs)
            predictions |= {branch: prediction for branch, (prediction, _) in runs.items()}
            answer.copy_(self._differences.guided(predictions, step, num_steps))
        self._open = None
        return _output(kwargs, answer)

    @torch.compiler.disable()
    def _is_second(self, step: int, family: ModelFamily) -> bool:
        """True in the pass without text, which is known by its cache context, or by its turn."""
        if family.passes == "named":
            return cast(Any, self._call._context).name == "uncond"
        opened = self._open is not None and self._open.step == step
        distilled = family.scale_argument != "guidance_scale"  # then that one says nothing of it
        return opened and (distilled or self._pipe.guidance_scale > 1)

    @torch.compiler.disable()
    def _check_caller(self) -> None:
        if not self._running:
            raise ValueError(
                "the transformer was called by something else than the pipeline that "
                "inner_guidance() was given, whose steps and guidance are its own; call the "
                "pipeline, not its transformer, and open a block of its own for another pipeline "
                "that shares it"
            )

    @torch.compiler.disable()
    def _check_size(self, kwargs: dict[str, Any], step: int) -> None:
        sizes = {k: len(v) for k, v in kwargs.items() if isinstance(v, Tensor) and v.ndim > 1}
        if self._sizes is None:
            count = sizes["hidden_states"]
            self._sizes = {name: size for name, size in sizes.items() if size == count}
        for name, before in self._sizes.items():
            if sizes.get(name, before) != before:
                self._open = None
                raise ValueError(
                    f"{name} of the pipeline's batch has {sizes[name]} at step {step}, and had "
                    f"{before} before: something cut it in the middle of the run, such as a "
                    "callback that switches guidance off; use text_stop and motion_stop for that"
                )

    @torch.compiler.disable()
    def _check_context(self, *expected: str | None) -> None:
        context = self._call._context
        name = context and context.name
        if name not in expected:
            raise ValueError(
                f"the transformer was called under cache context {name!r}, expected "
                f"{' or '.join(map(repr, expected))}; inside inner_guidance() call the pipeline, "
                "not its transformer, and turn further kinds of guidance off (LTX-2: stg_scale=0, "
                "modality_scale=1)"
            )

    # --- both -----------------------------------------------------------------------------------

    @torch.compiler.disable(recursive=False)
    def _run_all(
        self, module: Any, inputs: dict[Branch, dict[str, Any]]
    ) -> dict[Branch, tuple[Tensor, tuple[Any, ...]]]:
        """(prediction, other outputs) of each branch, from the inputs of its pass."""
        if self._at_once and len(inputs) > 1:
            family, _ = joint_channels(module)
            passes = [_of_branch(b, one, module) for b, one in inputs.items()]
            batch = in_one_batch(passes, family.image_inputs, family.for_all_samples)
            if batch is not None:
                prediction, others = self._run(module, Branch.JOINT, batch)
                return dict(zip(inputs, parts_of(prediction, others, len(inputs)), strict=True))
        return {branch: self._run(module, branch, one) for branch, one in inputs.items()}

    @torch.compiler.disable(recursive=False)
    def _run(
        self, module: Any, branch: Branch, kwargs: dict[str, Any]
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """(prediction, other outputs) of a branch."""
        forward: Any = self.fn_ref.original_forward
        hidden_states = _of_branch(branch, kwargs, module)["hidden_states"]
        context = self._call._context
        named = (vars(context) if context else {}) | {"name": str(branch)}
        # Models without caches (SANA-Video, Cosmos) know no contexts.
        keep = module.cache_context(**named) if hasattr(module, "cache_context") else nullcontext()
        step, self._open = self._open, None  # a run that fails here leaves nothing open
        with keep:
            # Sums are float32; some pipelines hand on what comes of them without a cast.
            hidden_states = hidden_states.to(module.dtype)
            arguments = kwargs | {"hidden_states": hidden_states, "return_dict": False}
            output = forward(**arguments)
        self._open = step
        if not runs_at_every_step(self._differences.settings, branch):
            forget(module, branch)
        if isinstance(output, Tensor):  # Kandinsky
            return output, ()
        return output[0], tuple(output[1:])

    @torch.compiler.disable()
    def _step(self, timestep: Tensor) -> tuple[int, int]:
        """The step of this call, and the number of steps."""
        scheduler = self._pipe.scheduler
        context: CacheContext | None = self._call._context
        num_steps = len(scheduler.timesteps)
        if context is not None and context.step_index is not None:
            return context.step_index, context.num_inference_steps or num_steps
        if hasattr(scheduler, "step_index"):
            return scheduler.step_index or 0, num_steps
        found = (scheduler.timesteps == timestep.flatten()[0].to(scheduler.timesteps)).nonzero()
        return int(found[0]), num_steps

    def finish(self) -> None:
        """Raises ValueError if a pass without text was needed and never came."""
        if self._open is not None and self._open.still_needed:
            raise ValueError(self._no_null_text(self._open.still_needed))

    def _no_null_text(self, weights: Weights) -> str:
        return (
            "the pipeline made no pass without text, which these settings need: "
            f"{[*map(str, weights)]}. Pass guidance_scale > 1 (HunyuanVideo: true_cfg_scale > 1 "
            "and a negative_prompt); any value gives the same result, the scales are those of "
            "inner_guidance"
        )


@torch.compiler.disable()
def _named(forward: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    """Positional arguments by name."""
    return dict(zip(inspect.signature(forward).parameters, args, strict=False)) if args else {}


@torch.compiler.disable()
def _half(kwargs: dict[str, Any], count: int, which: int) -> dict[str, Any]:
    """Half of a batch of `count`. Tensors inside of tuples are tables, not of the batch."""
    return {
        name: value.chunk(2)[which]
        if isinstance(value, Tensor) and value.ndim and len(value) == count
        else value
        for name, value in kwargs.items()
    }


@torch.compiler.disable()
def _of_branch(branch: Branch, kwargs: dict[str, Any], module: Any) -> dict[str, Any]:
    if branch.has_motion:
        return kwargs
    return kwargs | {"hidden_states": without_motion(kwargs["hidden_states"], module)}


@torch.compiler.disable()
def _like_a_prediction(module: Any, kwargs: dict[str, Any]) -> Tensor:
    """An empty tensor of the shape of what the model predicts, in the type of a weighted sum."""
    hidden, (family, C) = kwargs["hidden_states"], joint_channels(module)
    shape = [*hidden.shape]
    shape[family.channel_dim] = 2 * C
    return hidden.new_empty(shape, dtype=torch.promote_types(module.dtype, torch.float32))


@torch.compiler.disable()
def _output(kwargs: dict[str, Any], prediction: Tensor, others: tuple[Any, ...] = ()) -> Any:
    from diffusers.models.modeling_outputs import Transformer2DModelOutput

    if kwargs.get("return_dict", True):
        return Transformer2DModelOutput(sample=cast(Any, prediction))
    return (prediction, *others)
