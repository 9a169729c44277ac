"""Inner-Guidance (paper, inference): the formula, its settings, and the diffusers guider.

    u~ = (1 + w1 + w2) u([x,d],y) - w1 u([x,d],0) - w2 u([x,0],y)

`InnerGuidance` is for pipelines that take a guider (Modular Diffusers, HunyuanVideo-1.5):

    pipe.update_components(guider=InnerGuidance(text_scale=5, motion_scale=3))

For classic pipelines see pipelines.py. No denoising loop is written here.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.guiders.guider_utils import BaseGuidance, GuiderOutput
from diffusers.hooks import HookRegistry
from torch import Tensor

from videojam.guidance.ablations import ABLATIONS
from videojam.guidance.branches import (
    Branch,
    Number,
    Weights,
    WithoutMotion,
    combine,
    joint_channels,
    nonzero,
)
from videojam.guidance.caches import check_caches

Mode = Literal[
    "inner_guidance",
    "without_text_guidance",
    "without_inner_guidance",
    "without_flow",
    "instruct_pix2pix",
]


def inner_guidance_weights(text_scale: Number, motion_scale: Number) -> Weights:
    """Paper, Inner-Guidance: (1 + w1 + w2) u([x,d],y) - w1 u([x,d],0) - w2 u([x,0],y)."""
    w1, w2 = text_scale, motion_scale
    return nonzero({Branch.JOINT: 1 + w1 + w2, Branch.NO_TEXT: -w1, Branch.NO_MOTION: -w2})


def against_the_image(weights: Weights, image_scale: Number) -> Weights:
    """With w3 (u([x,d],y) - u([x,0],0)), in both of which the model has the image.

    Ours: away from what the image alone predicts, without text and motion (docs/deviations.md).
    """
    added = {Branch.JOINT: image_scale, Branch.NEITHER: -image_scale}
    return nonzero({b: weights.get(b, 0) + added.get(b, 0) for b in {**weights, **added}})


@dataclass(frozen=True, kw_only=True, slots=True)
class GuidanceSettings:
    """How strongly, when and in which mode to guide. The defaults are the paper's."""

    text_scale: Number = 5.0
    "w1, weight of the text; a classic guidance_scale of s is w1 = s - 1."
    motion_scale: Number = 3.0
    "w2, weight of the predicted motion."
    text_start: Number = 0.0
    "Share of the sampling steps after which text guidance starts."
    text_stop: Number = 1.0
    "Share of the sampling steps after which text guidance stops."
    motion_start: Number = 0.0
    "Share of the sampling steps after which motion guidance starts."
    motion_stop: Number = 0.5
    "Share of the sampling steps after which motion guidance stops: the first half decides motion."
    mode: Mode = "inner_guidance"
    "Inner-Guidance, or one of the ablations of the paper's Table 3."
    image_scale: Number = 0.0
    """w3, away from what the image alone predicts, of models that start from one; for clips that
    stay still. In the window of the motion, with one prediction more there."""

    def __post_init__(self) -> None:
        for name in ("text_scale", "motion_scale", "image_scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(
                    f"{name} is {value}, expected a finite number >= 0 (0 switches the term off)"
                )
        for name in ("text", "motion"):
            start, stop = getattr(self, f"{name}_start"), getattr(self, f"{name}_stop")
            if not 0 <= start <= stop <= 1:
                raise ValueError(
                    f"{name}_start, {name}_stop are {start}, {stop}; expected shares of the "
                    "sampling steps with 0 <= start <= stop <= 1"
                )
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode is {self.mode!r}, expected one of {get_args(Mode)}")
        if self.image_scale and self.mode != "inner_guidance":
            raise ValueError(f"image_scale is for inner_guidance, not for mode {self.mode}")

    def weights(self, step: int, num_steps: int) -> Weights:
        """Weights of the branches at a step counted from 0; they add up to 1.

        A window is the steps from floor(start * n) up to, not including, floor(stop * n), as in
        diffusers' guiders. Raises ValueError for a step outside of the run.
        """
        if not 0 <= step < num_steps:
            raise ValueError(f"step is {step}, expected 0 <= step < num_steps = {num_steps}")
        on_text = _inside(step, num_steps, self.text_start, self.text_stop)
        on_motion = _inside(step, num_steps, self.motion_start, self.motion_stop)
        formula = ABLATIONS.get(self.mode, inner_guidance_weights)
        found = formula(self.text_scale * on_text, self.motion_scale * on_motion)
        return against_the_image(found, self.image_scale * on_motion)

    def branches(self, num_steps: int) -> set[Branch]:
        """All branches that a run of this many steps needs."""
        return {branch for step in range(num_steps) for branch in self.weights(step, num_steps)}


def _inside(step: int, num_steps: int, start: Number, stop: Number) -> bool:
    # 0.29 * 100 is 28.999999999999996, which must not lose step 28.
    first, end = (math.floor(share * num_steps + 1e-9) for share in (start, stop))
    return first <= step < end


_WITHOUT_MOTION = "videojam_without_motion"


class InnerGuidance(BaseGuidance):
    """Inner-Guidance as a diffusers guider; the arguments are those of GuidanceSettings.

    Configuration round trips through save_pretrained and from_pretrained. Raises ValueError for
    bad settings, for a transformer that is not joint, and for a cache that would mix branches.
    """

    _input_predictions: ClassVar = [str(branch) for branch in Branch]

    @register_to_config
    def __init__(
        self,
        text_scale: Number = 5.0,
        motion_scale: Number = 3.0,
        text_start: Number = 0.0,
        text_stop: Number = 1.0,
        motion_start: Number = 0.0,
        motion_stop: Number = 0.5,
        mode: Mode = "inner_guidance",
        image_scale: Number = 0.0,
        enabled: bool = True,
    ) -> None:
        super().__init__(enabled=enabled)
        self.settings = GuidanceSettings(
            text_scale=text_scale,
            motion_scale=motion_scale,
            text_start=text_start,
            text_stop=text_stop,
            motion_start=motion_start,
            motion_stop=motion_stop,
            mode=mode,
            image_scale=image_scale,
        )

    def weights(self) -> Weights:
        """Weights at the current step: without guidance (`disable()`) those of the joint branch."""
        if not self._enabled:
            return {Branch.JOINT: 1.0}
        return self.settings.weights(self._step, self._num_inference_steps)

    @property
    def num_conditions(self) -> int:
        """Branches at this step. Outside of a step, 2 if the run needs a negative prompt, else 1.

        Pipelines ask before the first step, to know whether to encode the negative prompt.
        """
        if self._step is not None:
            return len(self.weights())
        settings = self.settings
        needs_null_text = settings.text_scale > 0 or settings.image_scale > 0
        needs_null_text |= settings.mode == "instruct_pix2pix"
        return 2 if self._enabled and needs_null_text else 1

    @property
    def is_conditional(self) -> bool:
        """True while the branch that is being prepared has text."""
        return self._count_prepared == 0 or self._branch().has_text

    def _branch(self) -> Branch:
        return [*self.weights()][self._count_prepared - 1]

    def prepare_inputs(self, data: dict[str, Any]) -> list[Any]:
        return [self._prepare_batch(data, int(not b.has_text), str(b)) for b in self.weights()]

    def prepare_inputs_from_block_state(self, data: Any, input_fields: dict[str, Any]) -> list[Any]:
        return [
            self._prepare_batch_from_block_state(input_fields, data, int(not b.has_text), str(b))
            for b in self.weights()
        ]

    def prepare_models(self, denoiser: torch.nn.Module) -> None:
        super().prepare_models(denoiser)
        joint_channels(denoiser)
        check_caches(denoiser)
        if not self._branch().has_motion:
            registry = HookRegistry.check_if_exists_or_initialize(denoiser)
            registry.remove_hook(_WITHOUT_MOTION, recurse=False)  # left by a run that failed
            registry.register_hook(WithoutMotion(), _WITHOUT_MOTION)

    def cleanup_models(self, denoiser: torch.nn.Module) -> None:
        registry = HookRegistry.check_if_exists_or_initialize(denoiser)
        registry.remove_hook(_WITHOUT_MOTION, recurse=False)

    def forward(self, **predictions: Tensor) -> GuiderOutput:
        weights = self.weights()
        by_branch = {Branch(name): prediction for name, prediction in predictions.items()}
        # Between steps there is no step: the next run must not see this one's last (num_conditions)
        self._step: Any = None
        kind = next(iter(predictions.values())).dtype  # pipelines with guiders keep to one type
        return GuiderOutput(
            pred=combine(by_branch, weights).to(kind),
            pred_cond=by_branch.get(Branch.JOINT),
            pred_uncond=by_branch.get(Branch.NO_TEXT),
        )
