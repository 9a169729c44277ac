"""The objective: closed forms, independence of the halves, dropouts, densities."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videojam import joint_loss
from videojam.joint.latents import join, split
from videojam.joint.noising import flow_matching
from videojam.objective import Objective, plain_loss, sample_sigma
from videojam.rng import generator

SHAPE = (3, 2, 2, 4, 4)


def tensors(seed=0, count=4):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(SHAPE, generator=g) for _ in range(count)]


TEXT = {"encoder_hidden_states": torch.zeros(3, 1, 1)}
SIGMA = torch.tensor([0.2, 0.5, 0.9])
LEVEL = flow_matching(SIGMA)


def test_path_ends_at_data_and_noise_and_moves_with_the_velocity():
    x, noise, _, _ = tensors()
    assert torch.equal(flow_matching(torch.zeros(3)).seen(x, noise), x)
    assert torch.equal(flow_matching(torch.ones(3)).seen(x, noise), noise)
    step = (flow_matching(SIGMA + 0.1).seen(x, noise) - LEVEL.seen(x, noise)) / 0.1
    assert torch.allclose(step, LEVEL.target(x, noise), atol=1e-5)


def test_the_ideal_prediction_has_no_loss_and_the_null_one_the_closed_form():
    x, d, noise_x, noise_d = tensors()
    kwargs = {"level": LEVEL, "noise_x": noise_x, "noise_d": noise_d}
    ideal = join(LEVEL.target(x, noise_x), LEVEL.target(d, noise_d))
    assert joint_loss(lambda *_: ideal, x, d, TEXT, **kwargs).total == 0
    loss = joint_loss(lambda z, *_: torch.zeros_like(z), x, d, TEXT, **kwargs)
    assert torch.allclose(loss.appearance, ((noise_x - x) ** 2).mean())
    assert torch.allclose(loss.motion, ((noise_d - d) ** 2).mean())
    assert torch.allclose(loss.total, (loss.appearance + loss.motion) / 2)


def test_the_model_sees_both_halves_noised_by_one_sigma():
    x, d, noise_x, noise_d = tensors()
    seen = []

    def predict(latents, level, text):
        seen.append((latents, level, text))
        return latents

    joint_loss(predict, x, d, TEXT, level=LEVEL, noise_x=noise_x, noise_d=noise_d)
    latents, level, text = seen[0]
    assert level is LEVEL
    assert text is TEXT
    assert torch.equal(split(latents).x, LEVEL.seen(x, noise_x))
    assert torch.equal(split(latents).d, LEVEL.seen(d, noise_d))


def test_dropped_motion_zeroes_the_input_but_keeps_the_target():
    x, d, noise_x, noise_d = tensors()
    drop = torch.tensor([True, False, True])
    seen = []

    def predict(latents, sigma, text):
        seen.append(split(latents).d)
        return torch.zeros_like(latents)

    kwargs = {"level": LEVEL, "noise_x": noise_x, "noise_d": noise_d}
    dropped = joint_loss(predict, x, d, TEXT, drop_motion=drop, **kwargs)
    kept = joint_loss(predict, x, d, TEXT, **kwargs)
    assert not seen[0][drop].any()
    assert torch.equal(seen[0][1], seen[1][1])
    assert torch.equal(dropped.motion, kept.motion)


def test_joint_appearance_part_is_the_plain_objective():
    x, d, noise_x, noise_d = tensors()
    joint = joint_loss(lambda z, *_: z, x, d, TEXT, level=LEVEL, noise_x=noise_x, noise_d=noise_d)
    plain = plain_loss(lambda z, *_: z, x, TEXT, level=LEVEL, noise_x=noise_x)
    assert torch.equal(joint.appearance, plain)


@settings(deadline=None, max_examples=50)
@given(shift=st.floats(0.5, 12), seed=st.integers(0, 2**40))
def test_shift_is_the_schedulers_own(shift, seed):
    plain = sample_sigma(Objective(flow_shift=1.0), "logit_normal", 3.0, generator(seed, "s"))
    shifted = sample_sigma(Objective(flow_shift=shift), "logit_normal", 3.0, generator(seed, "s"))
    assert torch.allclose(shifted, shift * plain / (1 + (shift - 1) * plain), atol=1e-6)
    assert 0 < shifted < 1


def test_densities():
    def draws(objective, shift=1.0, density="logit_normal"):
        return torch.cat(
            [sample_sigma(objective, density, shift, generator(0, "s", i)) for i in range(2000)]
        )

    uniform = draws(Objective(sigma_density="uniform")).sort().values
    grid = (torch.arange(2000) + 0.5) / 2000
    assert (uniform - grid).abs().max() < 1.63 / math.sqrt(2000)  # Kolmogorov-Smirnov, 1 %
    normal = torch.logit(draws(Objective(logit_mean=0.5, logit_std=0.7)))
    assert abs(normal.mean() - 0.5) < 0.06
    assert abs(normal.std() - 0.7) < 0.05
    family_default = draws(Objective(), shift=3.0)
    assert family_default.mean() > draws(Objective()).mean() + 0.1
    assert torch.equal(
        draws(Objective(), density="uniform"), draws(Objective(sigma_density="uniform"))
    )


def test_an_expert_is_trained_on_its_own_noise_levels():
    def draws(low, high):
        own = Objective(sigma_range=(low, high))
        return torch.cat(
            [sample_sigma(own, "logit_normal", 3.0, generator(0, "s", i)) for i in range(500)]
        )

    high, low = draws(0.875, 1.0), draws(0.0, 0.875)
    assert high.min() >= 0.875 and low.max() <= 0.875
    assert high.min() < 0.88 and low.max() > 0.87, "and on all of them"
    with pytest.raises(ValueError, match="none was in sigma_range"):
        sample_sigma(
            Objective(sigma_range=(0.9999999, 1.0), flow_shift=1.0), "logit_normal", 1.0,
            generator(0, "s"),
        )  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [{"text_dropout": 1.1}, {"motion_dropout": -0.1}, {"logit_std": 0.0}, {"flow_shift": 0.0}],
)
def test_bad_settings_are_named(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} is .* expected"):
        Objective(**bad)
