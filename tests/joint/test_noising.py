"""What a model sees and predicts at a noise level, and the schedule's shift, against diffusers'."""

import functools
import math

import pytest
import torch
from small_models import MODELS

from videojam.joint.denoiser import Denoiser
from videojam.joint.find_family import family_of
from videojam.joint.first_call import first_call
from videojam.joint.noising import edm, noise_prediction, v_prediction
from videojam.joint.sizes import pixel_size


@pytest.mark.parametrize(
    ("model", "noising"),
    [("CogVideoX", v_prediction), ("Latte", noise_prediction), ("Allegro", noise_prediction)],
)
def test_coefficients_are_those_of_the_scheduler_at_the_very_time_step(model, noising):
    """One step off is 0.1 % of noise, which an oracle with a tolerance does not see."""
    scheduler = MODELS[model]().scheduler
    steps = scheduler.config.num_train_timesteps
    z, noise = torch.randn(2, 1, 4, generator=torch.Generator().manual_seed(0))
    for step in (0, 1, 250, 731, steps - 1):
        level = noising(torch.tensor([(step + 0.5) / steps]), scheduler)
        assert level.time.tolist() == [step]
        amount = scheduler.alphas_cumprod[step].float()
        seen = amount.sqrt() * z + (1 - amount).sqrt() * noise
        assert torch.equal(level.seen(z, noise), seen)
        velocity = amount.sqrt() * noise - (1 - amount).sqrt() * z
        target = velocity if noising is v_prediction else noise
        assert torch.equal(level.target(z, noise), target)
        if hasattr(scheduler, "get_velocity") and noising is v_prediction:
            at = torch.tensor([step])
            assert torch.allclose(scheduler.get_velocity(z, noise, at), target, atol=1e-5)


@pytest.mark.parametrize("u", [0.0, 1e-6, 0.5, 1.0])
def test_edm_is_defined_at_its_ends_too(u):
    """Cosmos: the time is a quarter of the logarithm of the noise, which is none at u = 0."""
    level = edm(torch.tensor([u]), MODELS["Cosmos-1"]().scheduler)
    z, noise = torch.randn(2, 1, 4, generator=torch.Generator().manual_seed(0))
    assert all(value.isfinite().all() for value in level)
    seen, target = level.seen(z, noise), level.target(z, noise)
    amount = min(max(u, 1e-4), 1 - 1e-4)  # s / sigma_data is u / (1 - u)
    scale = math.hypot(0.5, 0.5 * amount / (1 - amount))
    torch.testing.assert_close(
        seen, (z + 0.5 * amount / (1 - amount) * noise) / scale, rtol=1e-2, atol=1e-3
    )
    if 0 < amount < 0.9:  # at pure noise the two say the same of z
        torch.testing.assert_close(level.clean(seen, target), z, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("model", ["Wan2.1", "SkyReels-V2", "HunyuanVideo", "LTX-Video"])
def test_the_shift_is_that_of_the_pipelines_own_schedule(model):
    """The schedule that the stock pipeline sets, against sigma' = s u / (1 + (s - 1) u)."""
    pipe = MODELS[model]()
    pipe.set_progress_bar_config(disable=True)
    family, latents = family_of(pipe.transformer), (2, 8, 8)
    seen: list[torch.Tensor] = []
    stock = type(pipe.scheduler).set_timesteps

    @functools.wraps(stock)  # pipelines look at its arguments
    def keep(self, *args, **options):
        stock(self, *args, **options)
        seen.append(self.sigmas.clone())

    type(pipe.scheduler).set_timesteps = keep
    try:
        size = pixel_size(pipe, latents)
        first_call(pipe, family, pipe.transformer, ["a red ball"], size)
    finally:
        type(pipe.scheduler).set_timesteps = stock
    shift = Denoiser(pipe).shift(latents)
    assert shift > 1.5
    sigmas = seen[-1]
    plain = 0.5  # the second of two levels, 1 and 1/2, before it is shifted
    expected = shift * plain / (1 + (shift - 1) * plain)
    terminal = pipe.scheduler.config.get("shift_terminal")
    if terminal:  # the last level is stretched to a given one, and is no measure of the shift
        mu = math.log(shift)
        fresh = type(pipe.scheduler).from_config(pipe.scheduler.config)
        fresh.set_timesteps(sigmas=[1.0, 0.5], mu=mu)
        assert torch.allclose(fresh.sigmas, sigmas, atol=1e-6)
        off = type(pipe.scheduler).from_config(pipe.scheduler.config, shift_terminal=None)
        off.set_timesteps(sigmas=[1.0, 0.5], mu=mu)
        sigmas = off.sigmas
    assert float(sigmas[1]) == pytest.approx(expected, abs=2e-3)
