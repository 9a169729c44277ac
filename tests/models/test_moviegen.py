"""The paper's DiT: its sizes, positions, schedule; everything else is in tests/conformance."""

import pytest
import torch
from accelerate import init_empty_weights

from videojam.models.moviegen import (
    PRESETS,
    LinearQuadraticScheduler,
    MovieGenTransformer3DModel,
    Positions,
)

SMALL = {
    "num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16, "ffn_dim": 64,
    "text_dim": 8, "freq_dim": 32, "max_size": (3, 4, 4),
}  # fmt: skip


def small(**changes):
    torch.manual_seed(0)
    return MovieGenTransformer3DModel(**SMALL | changes)


def inputs(t=3, h=4, w=6):
    g = torch.Generator().manual_seed(1)
    return {
        "hidden_states": torch.randn(2, 16, t, h, w, generator=g),
        "timestep": torch.tensor([20.0, 700.0]),
        "encoder_hidden_states": torch.randn(2, 5, 8, generator=g),
    }


@pytest.mark.parametrize(("name", "billions"), [("dit-30b", 29.33), ("dit-4b", 4.02)])
def test_presets_have_the_papers_sizes(name, billions):
    with init_empty_weights():
        model = MovieGenTransformer3DModel(**PRESETS[name])
    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, abs=0.005)


def test_positions_are_the_sum_of_three_tables_in_the_order_of_the_tokens():
    positions = Positions((3, 4, 5), 8)
    found = positions(2, 3, 4).view(2, 3, 4, 8)
    assert torch.equal(found[1, 2, 3], positions.t[1] + positions.h[2] + positions.w[3])


def test_positions_stretch_to_longer_clips():
    positions = Positions((3, 4, 4), 8)
    long = positions(5, 4, 4).view(5, 4, 4, 8)
    own = positions(3, 4, 4).view(3, 4, 4, 8)
    assert torch.allclose(long[::2], own, atol=1e-6), "ends and middle keep their places"
    assert torch.allclose(long[1], (own[0] + own[1]) / 2, atol=1e-6)


def test_attention_is_not_causal_and_every_input_matters():
    model, given = small().eval(), inputs()
    with torch.no_grad():
        expected = model(**given).sample
        for name, change in (
            ("hidden_states", lambda z: z + torch.nn.functional.one_hot(torch.tensor(5), 6)),
            ("timestep", lambda t: t + 100),
            ("encoder_hidden_states", lambda e: e.flip(1) + 1),
        ):
            changed = model(**given | {name: change(given[name])}).sample
            assert (changed[:, :, 0, :, :2] - expected[:, :, 0, :, :2]).abs().max() > 1e-4, name


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        model = small().train()
        if checkpointing:
            model.enable_gradient_checkpointing()
        model(**inputs()).sample.square().mean().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_latents_that_patches_do_not_fill_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 4, 5\) are not filled by patches"):
        small()(**inputs(w=5))


def test_the_schedule_is_linear_and_then_quadratic():
    scheduler = LinearQuadraticScheduler()
    scheduler.set_timesteps(100)
    steps = -scheduler.sigmas.double().diff()
    assert len(scheduler.timesteps) == 100
    assert scheduler.sigmas[0] == 1 and scheduler.sigmas[-1] == 0
    assert torch.allclose(steps[:50], torch.full((50,), 0.025 / 50).double(), atol=1e-6)
    second = steps[50:].diff()
    assert torch.allclose(second, second.mean().expand(49), atol=1e-6), "grows evenly"
    assert torch.allclose(scheduler.timesteps, 1000 * scheduler.sigmas[:-1])
