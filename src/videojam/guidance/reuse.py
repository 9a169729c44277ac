"""Guidance in difference form: what a branch adds to the joint prediction, kept for some steps.

The weights of every guidance add up to 1, so it is the joint prediction and weighted differences:

    u~ = u([x,d],y) + sum over branches b of w_b (u_b - u([x,d],y))

Differences change more slowly from step to step than predictions do. A step that takes one from
before needs no pass of the transformer for that branch. Which branches a step computes is known
before the run (GuidanceSettings.computed); the rule of `settled_cosine` may leave out more. It is
that of Adaptive Guidance (Castillo et al. 2023, arXiv 2312.12487) for differences; keeping them is
known from FasterCache (arXiv 2410.19355), with other rules.

One part of them does not change slowly. A branch without motion input knows nothing of d, so its
prediction of the motion half stays nearly as it is, while the joint one follows d: their difference
falls to a half in four of forty steps. There the branch's prediction is kept, and the joint one of
the present step is taken from it:

    keep    b_x - u_x    and    b_d       of b = u([x,0],y)
    add     w (b_x - u_x)_kept    and    w (b_d kept - u_d now)
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from videojam.guidance.branches import Branch, Weights, at_least_float32, combine
from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.text_terms import TEXT_TERMS


class _Computed(NamedTuple):
    step: int
    kept: Float[Tensor, "*latent"]
    "The difference; of a branch without motion input, in the motion half, the prediction itself."
    difference: Float[Tensor, "*latent"]
    "For settled_cosine, in both halves."


class Differences:
    """The differences of one run. Begins anew at a step that does not follow the one before.

    The rule of `settled_cosine` decides for each sample by itself, so a sample does not depend on
    what else is in its batch; a branch is left out once it has settled for all of them.
    """

    def __init__(self, settings: GuidanceSettings, channels: tuple[int, int] | None = None) -> None:
        """channels: axis of the channels in predictions, and C, of which d has C to 2C."""
        self.settings, self.channels = settings, channels
        self.clear()

    def clear(self) -> None:
        """As before the first step."""
        self._at: tuple[int, int] | None = None  # last step, number of steps
        self._computed: dict[Branch, list[_Computed]] = {}  # the last two
        self._settled: dict[Branch, Bool[Tensor, "b"]] = {}

    @torch.compiler.disable()
    def due(self, step: int, num_steps: int) -> Weights:
        """Branches to run at a step, with their weights: those of the schedule and those that no
        step before has computed, without those that have settled."""
        settings = self.settings
        weights = settings.weights(step, num_steps)
        if not settings.reuses:
            return weights
        if self._at is not None and self._at != (step - 1, num_steps):
            self.clear()
        scheduled = settings.computed(step, num_steps)
        return {
            branch: weight
            for branch, weight in weights.items()
            if (branch in scheduled and not self._has_settled(branch))
            or (branch is not Branch.JOINT and branch not in self._computed)
        }

    @torch.compiler.disable()
    def guided(
        self, predictions: Mapping[Branch, Float[Tensor, "*latent"]], step: int, num_steps: int
    ) -> Float[Tensor, "*latent"]:
        """The guided prediction of a step from those of the branches that were due, in float32."""
        settings = self.settings
        weights = settings.weights(step, num_steps)
        plain = settings.text_term == "plain"
        if plain and not settings.reuses:
            return combine(predictions, weights)
        joint = predictions[Branch.JOINT]
        joint = joint.to(at_least_float32(joint.dtype))
        for branch in predictions.keys() - {Branch.JOINT}:
            self._keep(branch, step, predictions[branch].to(joint.dtype), joint)
        self._at = (step, num_steps)
        fresh = predictions.keys() == weights.keys() and not self._any_has_settled()
        if plain and fresh:
            return combine(predictions, weights)  # the same to the last bit as without reuse
        total = joint
        for branch, weight in weights.items():
            if branch is Branch.NO_TEXT:
                term = TEXT_TERMS[settings.text_term]
                total = total + term(joint, -self._difference(branch, step, joint), -weight)
            elif branch is not Branch.JOINT:
                total = total + weight * self._difference(branch, step, joint)
        return total

    def has_no_text(self, step: int, num_steps: int) -> bool:
        """Whether text guidance is off at a step."""
        return all(branch.has_text for branch in self.settings.weights(step, num_steps))

    def _keep(self, branch: Branch, step: int, prediction: Tensor, joint: Tensor) -> None:
        new = prediction - self._follows(branch, joint)
        before = self._computed.get(branch, [])[-1:]
        limit = self.settings.settled_cosine
        difference = new if limit is None else prediction - joint
        if before and limit is not None:
            settled = cosine(before[0].difference, difference) > limit
            if branch in self._settled:
                new = torch.where(_for_samples(self._settled[branch], new), before[0].kept, new)
                settled = settled | self._settled[branch]
            self._settled[branch] = settled
        self._computed[branch] = [*before, _Computed(step, new, difference)]

    def _follows(self, branch: Branch, joint: Tensor) -> Tensor:
        """What a branch goes along with in the joint prediction: no motion that it is not shown."""
        if branch.has_motion or self.channels is None:
            return joint
        dim, C = self.channels
        known = joint.clone()
        known.narrow(dim, C, C).zero_()
        return known

    def _any_has_settled(self) -> bool:
        return any(bool(samples.any()) for samples in self._settled.values())

    def _has_settled(self, branch: Branch) -> bool:
        return branch in self._settled and bool(self._settled[branch].all())

    def _difference(self, branch: Branch, step: int, joint: Tensor) -> Tensor:
        """As computed at this step, or from the steps before."""
        return self._kept(branch, step) - (joint - self._follows(branch, joint))

    def _kept(self, branch: Branch, step: int) -> Tensor:
        *older, (last, newest, _) = self._computed[branch]
        if step == last or not older or self.settings.reuse == "keep":
            return newest
        ahead = (step - last) / (last - older[0].step)
        found = extrapolated(older[0].kept, newest, ahead)
        if branch not in self._settled:
            return found
        return torch.where(_for_samples(self._settled[branch], newest), newest, found)


def extrapolated(
    older: Float[Tensor, "*latent"], newer: Float[Tensor, "*latent"], ahead: float
) -> Float[Tensor, "*latent"]:
    """On the line through both, `ahead` of the newer one in units of their distance in steps."""
    return newer + ahead * (newer - older)


def cosine(a: Float[Tensor, "b *latent"], b: Float[Tensor, "b *latent"]) -> Float[Tensor, "b"]:
    """Of the angle between two differences, for each sample."""
    return torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1), dim=1)


def _for_samples(which: Bool[Tensor, "b"], like: Tensor) -> Tensor:
    return which.view(-1, *[1] * (like.ndim - 1))
