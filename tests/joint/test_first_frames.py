"""What stands in for pipelines' own preparation of an image, without a model."""

from types import SimpleNamespace

import pytest
import torch

from videojam.joint.first_frames import concatenated, hunyuan

C, T = 2, 3


def still(height: int, width: int) -> torch.Tensor:
    assert (height, width) == (16, 24)
    return torch.full((1, C, 1, 2, 3), 7.0)


def stock(image, num_channels_latents=9, height=16, width=24, latents=None):
    """As HunyuanVideo's: the noise has a trace of the image, which is the first frame."""
    first = torch.full((1, C, 1, 2, 3), 5.0)
    assert latents is not None and num_channels_latents in (C, 9)
    return latents * 0.999 + first * 0.001, first


@pytest.fixture
def pipe():
    return SimpleNamespace(vae=SimpleNamespace(config=SimpleNamespace(latent_channels=C)))


def test_both_halves_of_the_noise_have_a_trace_of_what_the_first_frame_is(pipe):
    noise = torch.randn(1, 2 * C, T, 2, 3, generator=torch.Generator().manual_seed(0))
    latents, first = hunyuan(pipe, stock, still)("image", latents=noise)
    expected = torch.tensor([5.0] * C + [7.0] * C).view(1, -1, 1, 1, 1).expand(1, 2 * C, 1, 2, 3)
    assert torch.equal(first, expected)
    assert torch.allclose(latents, 0.999 * noise + 0.001 * expected)
    base, own = hunyuan(pipe, stock, still)("image", latents=noise[:, :C])
    assert torch.equal(base, latents[:, :C]) and torch.equal(own, first[:, :C])


def test_latents_have_to_be_given(pipe):
    for put in (hunyuan, concatenated):
        with pytest.raises(ValueError, match="noise for C channels, not for both halves"):
            put(pipe, stock, still)("image")


def test_the_image_has_as_many_channels_as_latents(pipe):
    noise = torch.zeros(1, 2 * C, T, 2, 3)

    def asked(image, num_channels_latents=9, latents=None):
        return latents, num_channels_latents

    assert concatenated(pipe, asked, still)("image", 3 * C, latents=noise)[1] == C
