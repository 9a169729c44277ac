"""Inner-Guidance for pipelines that take a guider (Modular Diffusers, HunyuanVideo-1.5):

pipe.update_components(guider=InnerGuidance(text_scale=5, motion_scale=3))
"""

from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.guiders.guider_utils import BaseGuidance, GuiderOutput
from diffusers.hooks import HookRegistry
from torch import Tensor

from videojam.guidance.branches import (
    Branch,
    Number,
    Weights,
    WithoutMotion,
    joint_channels,
)
from videojam.guidance.caches import check_caches
from videojam.guidance.inner import GuidanceSettings, Mode, Reuse, TextTerm
from videojam.guidance.reuse import Differences

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
        text_every: int = 1,
        motion_every: int = 1,
        reuse: Reuse = "keep",
        settled_cosine: Number | None = None,
        text_term: TextTerm = "plain",
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
            text_every=text_every,
            motion_every=motion_every,
            reuse=reuse,
            settled_cosine=settled_cosine,
            text_term=text_term,
            image_scale=image_scale,
        )
        self._differences = Differences(self.settings)

    def weights(self) -> Weights:
        """Branches that the current step runs, with their weights: without guidance (`disable()`)
        the joint one."""
        if not self._enabled:
            return {Branch.JOINT: 1.0}
        return self._differences.due(self._step, self._num_inference_steps)

    @property
    def num_conditions(self) -> int:
        """Branches at this step. Outside of a step, 2 if the run needs a negative prompt, else 1.

        Pipelines ask before the first step, to know whether to encode the negative prompt.
        """
        if self._step is not None:
            return len(self.weights())
        needs_null_text = self.settings.text_scale > 0 or self.settings.mode == "instruct_pix2pix"
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
        family, C = joint_channels(denoiser)
        self._differences.channels = (family.channel_dim, C)
        check_caches(denoiser, every_step=False)
        if not self._branch().has_motion:
            registry = HookRegistry.check_if_exists_or_initialize(denoiser)
            registry.remove_hook(_WITHOUT_MOTION, recurse=False)  # left by a run that failed
            registry.register_hook(WithoutMotion(), _WITHOUT_MOTION)

    def cleanup_models(self, denoiser: torch.nn.Module) -> None:
        registry = HookRegistry.check_if_exists_or_initialize(denoiser)
        registry.remove_hook(_WITHOUT_MOTION, recurse=False)

    def forward(self, **predictions: Tensor) -> GuiderOutput:
        by_branch = {Branch(name): prediction for name, prediction in predictions.items()}
        step, num_steps = self._step, self._num_inference_steps
        # Between steps there is no step: the next run must not see this one's last (num_conditions)
        self._step: Any = None
        kind = next(iter(predictions.values())).dtype  # pipelines with guiders keep to one type
        if self._enabled:
            guided = self._differences.guided(by_branch, step, num_steps)
        else:
            guided = by_branch[Branch.JOINT]
        return GuiderOutput(
            pred=guided.to(kind),
            pred_cond=by_branch.get(Branch.JOINT),
            pred_uncond=by_branch.get(Branch.NO_TEXT),
        )
