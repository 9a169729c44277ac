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


def test_the_forward_pass_is_the_papers_written_out():
    """Every operation by itself, from the weights alone: where positions, gates and norms go."""
    model = small().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # zeros would hide what is left out
            parameter.copy_(
                0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
            )
        given = inputs(t=3, h=4, w=4)
        found = model(**given).sample
        expected = _by_hand(dict(model.named_parameters()), **given)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def _by_hand(W, hidden_states, timestep, encoder_hidden_states):
    F = torch.nn.functional

    def linear(name, z):
        return F.linear(z, W[f"{name}.weight"], W.get(f"{name}.bias"))

    def rms(name, z):
        return z / (z.square().mean(-1, keepdim=True) + 1e-6).sqrt() * W[f"{name}.weight"]

    def attention(name, z, other):
        heads = []
        q, k = rms(f"{name}.norm_q", linear(f"{name}.to_q", z)), linear(f"{name}.to_k", other)
        k, v = rms(f"{name}.norm_k", k), linear(f"{name}.to_v", other)
        for a, b, c in zip(q.chunk(2, -1), k.chunk(2, -1), v.chunk(2, -1), strict=True):
            heads.append((a @ b.mT / 16**0.5).softmax(-1) @ c)
        return linear(f"{name}.to_out.0", torch.cat(heads, -1))

    b, _, t, h, w = hidden_states.shape
    patches = hidden_states.unfold(3, 2, 2).unfold(4, 2, 2)  # b c t h/2 w/2 2 2
    patches = patches.permute(0, 2, 3, 4, 1, 5, 6).reshape(b, t * h * w // 4, -1)
    kernel = W["patch_embedding.weight"].flatten(1)
    z = F.linear(patches, kernel, W["patch_embedding.bias"])
    frequencies = torch.exp(-torch.log(torch.tensor(10000.0)) * torch.arange(16) / 16)
    angles = timestep[:, None] * frequencies
    time = torch.cat([angles.cos(), angles.sin()], -1)
    time = linear("time_embedder.linear_2", F.silu(linear("time_embedder.linear_1", time)))
    six = linear("time_proj", F.silu(time)).unflatten(1, (6, -1))
    text = linear("text_embedder.linear_1", encoder_hidden_states)
    text = linear("text_embedder.linear_2", F.gelu(text, approximate="tanh"))
    places = (
        W["positions.t"][:t, None, None]
        + W["positions.h"][: h // 2, None]
        + W["positions.w"][: w // 2]
    ).flatten(0, 2)
    for block in ("blocks.0", "blocks.1"):
        z = z + places  # before every block
        m = (W[f"{block}.scale_shift_table"] + six).unsqueeze(2).unbind(1)
        normed = rms(f"{block}.norm1", z) * (1 + m[1]) + m[0]
        z = z + m[2] * attention(f"{block}.attn1", normed, normed)
        z = z + attention(f"{block}.attn2", rms(f"{block}.norm2", z), text)
        value, gate = linear(
            f"{block}.ffn.net.0.proj", rms(f"{block}.norm3", z) * (1 + m[4]) + m[3]
        ).chunk(2, -1)
        z = z + m[5] * linear(f"{block}.ffn.net.2", value * F.silu(gate))
    shift, scale = (W["scale_shift_table"] + time.unsqueeze(1)).unsqueeze(2).unbind(1)
    out = linear("proj_out", rms("norm_out", z) * (1 + scale) + shift)
    out = out.view(b, t, h // 2, w // 2, 1, 2, 2, -1).permute(0, 7, 1, 4, 2, 5, 3, 6)
    return out.reshape(b, -1, t, h, w)
