"""flow <-> RGB: fixed normalisation, exact inverse, direction and magnitude as the paper says."""

import colorsys
import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videojam import flow_to_rgb, rgb_to_flow

H, W = 12, 16
LIMIT = 0.15 * math.hypot(H, W)


def constant(dx, dy, shape=(H, W)):
    return torch.tensor([dx, dy], dtype=torch.float32).view(2, 1, 1).expand(2, *shape).contiguous()


def numpy_reference(flow, background):
    """Pixel by pixel with the standard library's HSV: slow and independent."""
    out = np.zeros((3, *flow.shape[1:]))
    diagonal = math.hypot(*flow.shape[1:])
    for i in range(flow.shape[1]):
        for j in range(flow.shape[2]):
            dx, dy = flow[:, i, j]
            m = min(1.0, math.hypot(dx, dy) / (0.15 * diagonal))
            hue = math.atan2(dy, dx) / (2 * math.pi) % 1.0
            hsv = (hue, 1.0, m) if background == "black" else (hue, m, 1.0)
            out[:, i, j] = colorsys.hsv_to_rgb(*hsv)
    return out


@pytest.mark.parametrize("background", ["black", "white"])
def test_is_hsv_of_angle_and_magnitude(background):
    flow = torch.randn(2, H, W, generator=torch.Generator().manual_seed(0)) * 2
    expected = numpy_reference(flow.numpy().astype(np.float64), background)
    assert np.abs(flow_to_rgb(flow, background=background).numpy() - expected).max() < 1e-5


@settings(deadline=None)
@given(
    angle=st.floats(0, 2 * math.pi),
    share=st.floats(0, 0.999),
    background=st.sampled_from(["black", "white"]),
    sigma=st.floats(0.01, 1),
)
def test_inverse_is_exact_below_saturation(angle, share, background, sigma):
    length = share * sigma * math.hypot(H, W)
    flow = constant(length * math.cos(angle), length * math.sin(angle))
    back = rgb_to_flow(flow_to_rgb(flow, sigma, background), sigma)
    assert (back - flow).abs().max() < 2e-5 * math.hypot(H, W)


def test_saturates_at_sigma_of_the_diagonal_and_keeps_the_direction():
    flow = constant(30.0, 40.0)
    assert torch.equal(flow_to_rgb(flow), flow_to_rgb(3 * flow))
    back = rgb_to_flow(flow_to_rgb(flow))
    assert torch.allclose(back.norm(dim=0), torch.tensor(LIMIT))
    assert torch.allclose(back[1] / back[0], torch.tensor(40 / 30))
    below = constant(0.999 * LIMIT, 0.0)
    assert not torch.equal(flow_to_rgb(below), flow_to_rgb(constant(LIMIT, 0.0)))


def test_no_motion_is_the_background():
    still = torch.zeros(2, H, W)
    assert torch.equal(flow_to_rgb(still), torch.zeros(3, H, W))
    assert torch.equal(flow_to_rgb(still, background="white"), torch.ones(3, H, W))


def test_same_flow_same_colour_in_every_frame_and_clip():
    """Per-image normalisation, as in torchvision's flow_to_image, fails this."""
    slow, fast = constant(1.0, 0.5), constant(2.5, -1.0)
    clip = torch.stack([slow, fast, torch.cat([slow[..., :8], fast[..., 8:]], dim=-1)])
    rgb = flow_to_rgb(clip)
    assert torch.equal(rgb[0], flow_to_rgb(slow))
    assert torch.equal(rgb[2][..., :8], rgb[0][..., :8])
    assert torch.equal(rgb[2][..., 8:], rgb[1][..., 8:])


def test_sigma_scales_the_magnitude():
    flow = constant(0.5, 0.0)
    assert torch.allclose(flow_to_rgb(flow, 0.15), 2 * flow_to_rgb(flow, 0.3))


def test_any_leading_axes_and_bfloat16():
    flow = torch.randn(2, 3, 2, H, W, generator=torch.Generator().manual_seed(0))
    rgb = flow_to_rgb(flow)
    assert rgb.shape == (2, 3, 3, H, W)
    assert torch.equal(rgb[1, 2], flow_to_rgb(flow[1, 2]))
    assert flow_to_rgb(flow.bfloat16()).dtype == torch.float32


def test_grey_of_a_decoder_is_no_motion():
    assert not rgb_to_flow(torch.full((3, H, W), 0.3)).any()


def test_bad_settings():
    with pytest.raises(ValueError, match="sigma is 0"):
        flow_to_rgb(torch.zeros(2, H, W), sigma=0.0)
    unchecked = inspect.unwrap(flow_to_rgb)  # users do not run under the type checker of tests
    with pytest.raises(ValueError, match="expected 'black' or 'white'"):
        unchecked(torch.zeros(2, H, W), background="grey")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_equals_cpu():
    flow = torch.randn(3, 2, H, W)
    assert torch.allclose(flow_to_rgb(flow.cuda()).cpu(), flow_to_rgb(flow), atol=1e-6)
