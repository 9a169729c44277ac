"""The pair between flow and what a VAE takes and gives: exact, and never misread."""

import math

import hypothesis.extra.numpy as arrays
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videojam import flow_from_motion, motion_pixels
from videojam.media.video import to_uint8
from videojam.motion.color import flow_to_rgb, rgb_to_flow

H, W = 24, 32
LIMIT = 0.15 * math.hypot(H, W)


def some_flow(frames=4, seed=0):
    flow = torch.randn(frames, 2, H, W, generator=torch.Generator().manual_seed(seed))
    return flow.clamp(-LIMIT / 2, LIMIT / 2)


@pytest.mark.parametrize("background", ["black", "white"])
@pytest.mark.parametrize("sigma", [0.15, 0.3])
def test_round_trip(background, sigma):
    flow = some_flow()
    pixels = motion_pixels(flow, sigma, background)
    assert pixels.shape == (3, 5, H, W)
    assert pixels.min() >= -1 and pixels.max() <= 1
    assert torch.equal(pixels[:, -1], pixels[:, -2]), "the last flow is repeated"
    assert torch.allclose(flow_from_motion(pixels, sigma), flow, atol=1e-4)
    batch = torch.stack([pixels, pixels])
    assert torch.allclose(flow_from_motion(batch, sigma), flow.expand(2, -1, -1, -1, -1), atol=1e-4)


def test_one_frame_has_no_flow():
    assert flow_from_motion(torch.zeros(3, 1, H, W)).shape == (0, 2, H, W)


def test_frames_of_files_give_the_flow_up_to_their_256_levels():
    flow = some_flow()
    frames = to_uint8(motion_pixels(flow))
    assert (flow_from_motion(frames) - flow).abs().max() < 2 * LIMIT / 255 * 1.5
    assert torch.equal(flow_from_motion(frames[None])[0], flow_from_motion(frames))


@pytest.mark.parametrize(
    ("motion", "message"),
    [
        (torch.zeros(5, H, W, 3), r"shape \(5, 24, 32, 3\).*expected \(\.\.\., 3, F, H, W\)"),
        (torch.zeros(5, 3, H, W, dtype=torch.uint8), r"expected \(\.\.\., F, H, W, 3\)"),
        (torch.zeros(3, 5, H, W, dtype=torch.int64), "int64, expected floating point or uint8"),
        (torch.full((3, 5, H, W), 200.0), r"values from 200 to 200, expected \[-1, 1\]"),
        (torch.zeros(3, 0, H, W), "no frames"),
        (torch.zeros(H, W), "has shape"),
    ],
)
def test_motion_that_would_be_misread_is_refused(motion, message):
    with pytest.raises(ValueError, match=message):
        flow_from_motion(motion)


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        (torch.zeros(2, H, W), r"shape \(2, 24, 32\).*expected \(F-1, 2, H, W\)"),
        (torch.zeros(4, 3, H, W), "expected"),
        (torch.zeros(0, 2, H, W), "at least 2"),
        (torch.zeros(4, 2, H, W, dtype=torch.int32), "int32, expected floating point"),
        (torch.zeros(4, 2, 0, W), "H and W of at least 1"),
    ],
)
def test_flow_that_is_none_is_refused(flow, message):
    with pytest.raises(ValueError, match=message):
        motion_pixels(flow)


@given(
    arrays.arrays("float32", (2, 2, 5, 7), elements=st.floats(-1e6, 1e6, width=32)),
    st.floats(0.01, 2),
)
def test_any_flow_comes_back_or_saturates(flow, sigma):
    flow = torch.from_numpy(flow)
    limit = sigma * math.hypot(5, 7)
    length = flow.norm(dim=1, keepdim=True)
    expected = torch.where(length > limit, flow * (limit / length), flow)
    found = flow_from_motion(motion_pixels(flow, sigma), sigma)
    assert (found - expected).abs().max() <= 2e-5 * limit + 1e-6


def test_gradients_flow_through_the_colours():
    flow = some_flow().requires_grad_()
    motion_pixels(flow).square().sum().backward()
    assert flow.grad.isfinite().all() and flow.grad.abs().max() > 0


def test_memory_beside_the_result_is_bounded(monkeypatch):
    """A few frames are worked on at a time, on any device."""
    from videojam.motion import color

    sizes = []
    for name in ("_encode", "_decode"):
        stock = getattr(color, name)
        monkeypatch.setattr(
            color,
            name,
            lambda part, *rest, stock=stock: (sizes.append(len(part)), stock(part, *rest))[1],
        )
    monkeypatch.setattr(color, "_CACHED_PIXELS", 2 * H * W)
    flow = some_flow(9)
    rgb = flow_to_rgb(flow)
    assert torch.allclose(rgb_to_flow(rgb), flow, atol=1e-4)
    assert sizes == [2, 2, 2, 2, 1] * 2


def test_bfloat16_pixels_lose_slow_motion_and_float32_does_not():
    """What the VAE's type is for: 0.1 pixels of flow at 480 x 832."""
    flow = torch.zeros(1, 2, 480, 832)
    flow[:, 0] = 0.1
    pixels = motion_pixels(flow)
    assert torch.allclose(flow_from_motion(pixels), flow, atol=1e-4)
    assert not flow_from_motion(pixels.bfloat16())[:, 0].abs().max() > 0.001
