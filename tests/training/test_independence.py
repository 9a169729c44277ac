"""What training draws and averages, where training does it."""

import pytest
import torch
from tiny_run import base_pipeline, tiny_config, tiny_data, tiny_train

from videojam.joint.denoiser import Denoiser
from videojam.training.loop import experts
from videojam.training.step import losses_at


def test_the_two_halves_get_noises_of_their_own():
    """Paper, training: appearance and motion are noised independently, at one level."""
    batch = next(tiny_data(tiny_config("nowhere", global_batch_size=4)).batches(0))
    batch = batch._replace(x=torch.zeros_like(batch.x), d=torch.zeros_like(batch.d))
    denoiser, seen = Denoiser(base_pipeline()), []

    def of(_):
        return lambda latents, level, text: seen.append(latents) or torch.zeros_like(latents)

    denoiser.of = of
    sigma = torch.full((4,), 0.5)
    losses_at(None, batch, sigma, denoiser, seed=0, stream="noise")
    x, d = seen[0].chunk(2, 1)
    correlation = (x * d).mean() / (x.std() * d.std())
    assert x.std() > 0.4 < d.std()
    assert abs(float(correlation)) < 0.1


def test_each_expert_is_trained_on_the_levels_that_it_samples():
    """Wan 2.2 A14B: the first transformer denoises from pure noise down to the boundary."""
    from small_models import MODELS

    assert experts(MODELS["Wan2.2-A14B"]()) == {
        "transformer": (0.875, 1.0),
        "transformer_2": (0.0, 0.875),
    }


@pytest.mark.parametrize("use", ["validation", "paired videos"])
def test_averaged_weights_are_those_that_are_looked_at(tmp_path, use, monkeypatch):
    """With a decay of nearly 1 the average hardly leaves the start; raw weights do."""
    from diffusers.training_utils import EMAModel

    from videojam.training import loop

    monkeypatch.setattr(EMAModel, "get_decay", lambda self, step: 1.0)
    seen = []

    def look(model, *_, **__):
        seen.append(model.proj_out.weight.detach().clone())
        return {"appearance": 0.0}

    if use == "validation":
        monkeypatch.setattr(loop, "validation_losses", look)
        options = {"validate_every": 1}
    else:
        options = {"sample": look, "sample_every": 1, "validate_every": 0}
    tiny_train(tmp_path, steps=2, ema_decay=0.99, learning_rate=1e-2, **options)
    assert len(seen) >= 2
    assert torch.equal(seen[-1], seen[0])
    seen.clear()
    tiny_train(tmp_path / "raw", steps=2, learning_rate=1e-2, **options)
    assert not torch.equal(seen[-1], seen[0])
