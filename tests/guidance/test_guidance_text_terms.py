"""Corrections of the text term: closed forms, and diffusers' own guiders."""

import math

import pytest
import torch
from diffusers import (
    AdaptiveProjectedGuidance,
    ClassifierFreeGuidance,
    ClassifierFreeZeroStarGuidance,
)
from guidance_sampling import by_hand, error, sample

from videojam.guidance.branches import Branch
from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.pipelines import inner_guidance
from videojam.guidance.reuse import Differences
from videojam.guidance.text_terms import TEXT_TERMS, apg, cfg_zero_star, plain, rescale

W1 = 4.0
GUIDERS = {
    "plain": ClassifierFreeGuidance(guidance_scale=1 + W1),
    "rescale": ClassifierFreeGuidance(guidance_scale=1 + W1, guidance_rescale=0.7),
    "apg": AdaptiveProjectedGuidance(
        guidance_scale=W1, use_original_formulation=True, eta=0.0,
        adaptive_projected_guidance_rescale=0.0,
    ),
    "cfg_zero_star": ClassifierFreeZeroStarGuidance(guidance_scale=1 + W1, zero_init_steps=0),
}  # fmt: skip


def draw(seed):
    return torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("term", TEXT_TERMS)
def test_without_motion_guidance_it_is_diffusers_own_guider(term):
    cond, uncond = draw(0), draw(0) + 0.3 * draw(1)
    guider = GUIDERS[term]
    guider.set_state(step=1, num_inference_steps=4, timestep=torch.tensor(500))
    expected = guider.forward(pred_cond=cond, pred_uncond=uncond).pred
    settings = GuidanceSettings(text_scale=W1, motion_scale=0, text_term=term)
    found = Differences(settings).guided({Branch.JOINT: cond, Branch.NO_TEXT: uncond}, 0, 4)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_motion_term_is_added_as_it_is():
    u = {branch: draw(place) for place, branch in enumerate(Branch)}
    joint, text = u[Branch.JOINT], u[Branch.JOINT] - u[Branch.NO_TEXT]
    for name, term in TEXT_TERMS.items():
        settings = GuidanceSettings(text_scale=W1, motion_scale=2.0, text_term=name)
        weights = settings.weights(0, 4)
        found = Differences(settings).guided({b: u[b] for b in weights}, 0, 4)
        expected = joint + term(joint, text, W1) + 2 * (joint - u[Branch.NO_MOTION])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_closed_forms():
    u, across, along = torch.zeros(3, 1, 4, 2)
    u[:, 0], along[:, 0], across[:, 1] = 3.0, 3.0, 2.0
    torch.testing.assert_close(plain(u, across, 2.0), 2 * across)
    # What is along u is taken out, what is across stays.
    torch.testing.assert_close(apg(u, across + along, 2.0), 2 * across)
    # u . v = |u|^2 and |v|^2 = |u|^2 + |across|^2 for v = u - across.
    scale = 9 / (9 + 4)
    torch.testing.assert_close(cfg_zero_star(u, across, 2.0), 2 * (u - scale * (u - across)))
    # Guided along u alone, 4 u: its deviation is brought back in 0.7 of it.
    torch.testing.assert_close(rescale(u, u, 3.0), 0.7 * u + 0.3 * 4 * u - u)


def test_a_sample_does_not_depend_on_others_of_its_batch():
    u, difference = draw(0), draw(1)
    for term in TEXT_TERMS.values():
        together = term(u, difference, 3.0)
        torch.testing.assert_close(together[:1], term(u[:1], difference[:1], 3.0))


@pytest.mark.parametrize("term", ["rescale", "apg", "cfg_zero_star"])
def test_in_a_pipeline_with_differences_that_are_kept(wan21, noise, term):
    kept = {}

    def formula(u, step):
        joint = u(1, 1)
        if step % 2 == 0:
            kept["text"] = joint - u(0, 1)
        motion = 3 * (joint - u(1, 0)) if step < 2 else 0
        return joint + TEXT_TERMS[term](joint, kept["text"], 5) + motion

    expected = by_hand(wan21, noise, formula)
    with inner_guidance(wan21, text_term=term, text_every=2):
        assert error(sample(wan21, noise), expected) < 1e-4
    with inner_guidance(wan21, text_every=2):
        assert error(sample(wan21, noise), expected) > 1e-4
    assert math.isfinite(float(expected.sum()))
