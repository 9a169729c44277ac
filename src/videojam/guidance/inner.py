"""Inner-Guidance (paper, inference): the formula, and its settings.

    u~ = (1 + w1 + w2) u([x,d],y) - w1 u([x,d],0) - w2 u([x,0],y)

For pipelines that take a guider see guider.py, for classic ones pipelines.py; differences that are
kept for several steps are in reuse.py. No denoising loop is written here.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from videojam.guidance.ablations import ABLATIONS
from videojam.guidance.branches import Branch, Number, Weights, nonzero

Mode = Literal[
    "inner_guidance",
    "without_text_guidance",
    "without_inner_guidance",
    "without_flow",
    "instruct_pix2pix",
]
Reuse = Literal["keep", "extrapolate"]
TextTerm = Literal["plain", "rescale", "apg", "cfg_zero_star"]
# Modes that are the joint prediction, a term of the text and a term of motion.
_OF_TERMS = ("inner_guidance", "without_text_guidance", "without_inner_guidance")


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
    text_every: int = 1
    "The text term is computed at every such step of its window, and taken from before in between."
    motion_every: int = 1
    "The same of the motion term."
    reuse: Reuse = "keep"
    "How a term is taken from before: the last one computed, or on the line through the last two."
    settled_cosine: Number | None = None
    "A term is computed no more once its last two have a cosine above this, such as 0.99."
    text_term: TextTerm = "plain"
    "What the text term is made of: plain, or as others correct it (text_terms.py)."
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
        self._check_terms()

    def _check_terms(self) -> None:
        for name in ("text_every", "motion_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value}, expected a number of steps, at least 1")
        for name, kinds in (("reuse", Reuse), ("text_term", TextTerm)):
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, expected one of {get_args(kinds)}"
                )
        limit = self.settled_cosine
        if limit is not None and not -1 <= limit < 1:
            raise ValueError(
                f"settled_cosine is {limit}, expected a cosine from -1 to below 1, such as 0.99"
            )
        if self.mode not in _OF_TERMS and (self.reuses or self.text_term != "plain"):
            raise ValueError(
                f"mode {self.mode} is no sum of a text and a motion term, so it has no text_every, "
                f"motion_every, settled_cosine or text_term; leave them out, or use one of "
                f"{', '.join(_OF_TERMS)}"
            )

    @property
    def reuses(self) -> bool:
        """Whether a step may take a term from steps before."""
        return self.text_every > 1 or self.motion_every > 1 or self.settled_cosine is not None

    def weights(self, step: int, num_steps: int) -> Weights:
        """Weights of the branches at a step counted from 0; they add up to 1.

        A window is the steps from floor(start * n) up to, not including, floor(stop * n), as in
        diffusers' guiders. Raises ValueError for a step outside of the run.
        """
        if not 0 <= step < num_steps:
            raise ValueError(f"step is {step}, expected 0 <= step < num_steps = {num_steps}")
        on_text, on_motion = (step in self._window(name, num_steps) for name in ("text", "motion"))
        formula = ABLATIONS.get(self.mode, inner_guidance_weights)
        found = formula(self.text_scale * on_text, self.motion_scale * on_motion)
        return against_the_image(found, self.image_scale * on_motion)

    def computed(self, step: int, num_steps: int) -> list[Branch]:
        """Branches that a step runs, by the schedule alone."""
        every = {Branch.NO_TEXT: self.text_every, Branch.NO_MOTION: self.motion_every}
        first = {
            Branch.NO_TEXT: self._window("text", num_steps).start,
            Branch.NO_MOTION: self._window("motion", num_steps).start,
        }
        return [
            branch
            for branch in self.weights(step, num_steps)
            if (step - first.get(branch, 0)) % every.get(branch, 1) == 0
        ]

    def passes(self, num_steps: int, joint: bool = True) -> int:
        """Passes of the transformer that a clip takes; with settled_cosine the most it can take.

        joint: False for a plain model, with classifier-free guidance if there is a text_scale.
        """
        if not joint:
            return num_steps * (2 if self.text_scale > 0 else 1)
        return sum(len(self.computed(step, num_steps)) for step in range(num_steps))

    def branches(self, num_steps: int) -> set[Branch]:
        """All branches that a run of this many steps needs."""
        return {branch for step in range(num_steps) for branch in self.weights(step, num_steps)}

    def _window(self, term: str, num_steps: int) -> range:
        # 0.29 * 100 is 28.999999999999996, which must not lose step 28.
        shares = (getattr(self, f"{term}_start"), getattr(self, f"{term}_stop"))
        return range(*(math.floor(share * num_steps + 1e-9) for share in shares))
