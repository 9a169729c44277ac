"""Pixels are followed along the flow exactly, and those that cannot be followed are known."""

import inspect
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videojam.motion.estimators.dis import DIS
from videojam.motion.warp import (
    backward_warp,
    end_point_error,
    flow_length,
    inside,
    occlusion,
    visible,
)

SIZES = st.integers(1, 9)
STEPS = st.integers(-5, 5)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def constant(dx, dy, h, w, n=1):
    return torch.tensor([dx, dy]).float().view(1, 2, 1, 1).expand(n, 2, h, w)


@given(n=st.integers(1, 3), c=SIZES, h=SIZES, w=SIZES, dtype=st.sampled_from(["32", "64"]))
def test_zero_flow_changes_nothing_bit_for_bit(n, c, h, w, dtype):
    frames = noise(n, c, h, w).to(getattr(torch, f"float{dtype}"))
    warped = backward_warp(frames, torch.zeros(n, 2, h, w))
    assert torch.equal(warped, frames)
    assert warped.dtype == frames.dtype


@given(dx=STEPS, dy=STEPS, h=st.integers(6, 9), w=st.integers(6, 9))
def test_whole_pixels_are_copied_exactly_where_they_stay_inside(dx, dy, h, w):
    frames, flow = noise(2, 3, h, w), constant(dx, dy, h, w, n=2)
    expected = torch.roll(frames, (-dy, -dx), dims=(2, 3))
    stay = inside(flow)
    assert stay.sum() == 2 * (h - abs(dy)) * (w - abs(dx))
    assert torch.equal(backward_warp(frames, flow).movedim(1, -1)[stay],
                       expected.movedim(1, -1)[stay])  # fmt: skip


def test_beyond_the_picture_is_its_border():
    frames = noise(1, 2, 4, 5)
    right = backward_warp(frames, constant(9.5, 0, 4, 5))
    assert torch.equal(right, frames[..., -1:].expand(-1, -1, -1, 5))


def test_equals_grid_sample_on_pixel_centres():
    frames, flow = noise(3, 2, 12, 17), 8 * (noise(3, 2, 12, 17, seed=1) - 0.5)
    y, x = torch.meshgrid(torch.arange(12), torch.arange(17), indexing="ij")
    at = torch.stack([2 * (x + flow[:, 0]) / 16 - 1, 2 * (y + flow[:, 1]) / 11 - 1], dim=-1)
    expected = torch.nn.functional.grid_sample(
        frames, at, mode="bilinear", padding_mode="border", align_corners=True
    )
    assert torch.allclose(backward_warp(frames, flow), expected, atol=1e-5)


def test_affine_flow_of_a_smooth_image_is_within_the_bound_of_linear_interpolation():
    """|error| <= (max |I_xx| + max |I_yy|) / 8 for samples one pixel apart."""
    h, w = 48, 64
    y, x = (at.float() for at in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))

    def image(x, y):
        return torch.sin(2 * math.pi * x / 20) + torch.cos(2 * math.pi * y / 16)

    matrix = torch.tensor([[1.05, -0.08], [0.06, 0.97]])
    offset = torch.tensor([1.3, -2.4])
    here = torch.stack([x, y]).view(2, -1)
    flow = (matrix @ here + offset[:, None] - here).view(1, 2, h, w)
    before = torch.linalg.inv(matrix) @ (here - offset[:, None])  # where frame k + 1 came from
    warped = backward_warp(image(*before).view(1, 1, h, w), flow)[0, 0]
    error = (warped - image(x, y)).abs()[inside(flow)[0]]
    # The image of frame k + 1 has gradients shrunk by the inverse map, at most 1.1 times as steep.
    bound = 1.1**2 * ((2 * math.pi / 20) ** 2 + (2 * math.pi / 16) ** 2) / 8
    assert error.max() < bound
    assert error.mean() < bound / 2
    assert (image(*before).view(h, w) - image(x, y)).abs().mean() > 10 * error.mean()


def moving_square(dx, dy, size=96, side=32):
    """Two frames of a textured square over a texture, exact flow both ways, what gets covered."""
    texture = torch.nn.functional.interpolate(noise(2, 3, 24, 24), (size, size), mode="bicubic")
    ground, square = (255 * texture.clamp(0, 1)).byte().movedim(1, -1)
    frames, masks = [], []
    for k in range(2):
        top, left = side + k * dy, side + k * dx
        frame, mask = ground.clone(), torch.zeros(size, size, dtype=torch.bool)
        frame[top : top + side, left : left + side] = square[:side, :side]
        mask[top : top + side, left : left + side] = True
        frames.append(frame)
        masks.append(mask)
    step = constant(dx, dy, size, size)
    return torch.stack(frames), step * masks[0], -step * masks[1], masks[1] & ~masks[0]


@pytest.mark.parametrize(("dx", "dy"), [(6, 0), (-6, 0), (0, 5), (4, -4)])
def test_occluded_is_what_the_square_covers_and_nothing_else(dx, dy):
    _, forward, backward, covered = moving_square(dx, dy)
    assert covered.any()
    assert torch.equal(occlusion(forward, backward)[0], covered)


@pytest.mark.parametrize(
    ("dx", "dy", "measured"), [(6, 0, 0.56), (-6, 0, 0.45), (0, 5, 0.25), (4, -4, 0.47)]
)
def test_occlusion_by_estimated_flow_is_on_the_right_side(dx, dy, measured):
    """DIS smooths the flow across the edges: it finds a part of the strip, little elsewhere.

    Without the border of the picture, where its noise points outside.
    """
    frames, forward, backward, covered = moving_square(dx, dy)
    uncovered = occlusion(backward, forward)[0, 1:-1, 1:-1]
    covered = covered[1:-1, 1:-1]
    found = occlusion(DIS()(frames), DIS()(frames.flip(0)))[0, 1:-1, 1:-1]
    iou = (found & covered).sum() / (found | covered).sum()
    assert iou == pytest.approx(measured, abs=0.1)
    assert found[covered].float().mean() > 0.3
    assert found[covered].float().mean() > 2 * found[uncovered].float().mean()
    assert found[~covered].float().mean() < 0.02


def test_what_leaves_the_picture_is_occluded_and_never_visible():
    flow = constant(3, 0, 5, 8)
    expected = torch.zeros(1, 5, 8, dtype=torch.bool)
    expected[..., -3:] = True
    assert torch.equal(occlusion(flow, -flow), expected)
    assert torch.equal(visible(flow), ~expected)
    none = torch.zeros_like(expected)
    assert torch.equal(visible(flow, none), ~expected)
    assert not visible(flow, ~none).any()


@given(angle=st.floats(0, 2 * math.pi), f=st.floats(0, 1), b=st.floats(0, 1))
def test_the_tolerance_is_that_of_the_paper(angle, f, b):
    """In the middle of the picture and for uniform flow, the rule in numbers."""
    f, b = 3 * f, 3 * b
    there, back = (f, 0.0), (b * math.cos(angle), b * math.sin(angle))
    trip = (there[0] + back[0]) ** 2 + back[1] ** 2
    limit = 0.01 * (f**2 + b**2) + 0.5
    if abs(trip - limit) > 1e-4:
        found = occlusion(constant(*there, 9, 9), constant(*back, 9, 9))[0, 4, 4]
        assert bool(found) == (trip > limit)


def test_end_point_error_is_the_mean_length_of_the_difference():
    a = constant(0, 0, 4, 6, n=2)
    b = torch.cat([constant(3, 4, 4, 6), constant(0, 1, 4, 6)])
    assert end_point_error(a, b).tolist() == [5.0, 1.0]
    assert end_point_error(b, b).tolist() == [0.0, 0.0]
    mask = torch.zeros(2, 4, 6, dtype=torch.bool)
    mask[0, :2] = True
    b = b * mask.unsqueeze(1)
    assert end_point_error(a, b).tolist() == [2.5, 0.0]
    masked = end_point_error(a, b, mask)
    assert masked[0] == 5
    assert masked[1].isnan()
    assert torch.allclose(flow_length(b), b.norm(dim=1))


@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 3), SIZES, SIZES))
def test_flow_of_other_frames_is_refused(shape):
    if shape == (2, 2, 5, 6):
        return
    flow, wrong = torch.zeros(2, 2, 5, 6), torch.zeros(*shape)
    # Users do not run under the type checker of the tests.
    with pytest.raises(ValueError, match=r"flow has shape.*\(2, 2, 5, 6\)"):
        inspect.unwrap(backward_warp)(torch.zeros(2, 3, 5, 6), wrong)
    with pytest.raises(ValueError, match="give two flows of the same frames"):
        inspect.unwrap(end_point_error)(flow, wrong)
    mask = wrong[:, 0] > 0
    if mask.shape != (2, 5, 6):
        with pytest.raises(ValueError, match="mask has shape"):
            inspect.unwrap(visible)(flow, mask)
        with pytest.raises(ValueError, match="mask has shape"):
            inspect.unwrap(end_point_error)(flow, flow, mask)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_warp_equals_cpu():
    frames, flow = noise(2, 3, 20, 30), 8 * noise(2, 2, 20, 30, seed=1) - 4
    warped = backward_warp(frames.cuda(), flow.cuda()).cpu()
    assert torch.allclose(warped, backward_warp(frames, flow), atol=1e-6)
    back = 8 * noise(2, 2, 20, 30, seed=2) - 4
    differ = occlusion(flow.cuda(), back.cuda()).cpu() != occlusion(flow, back)
    assert differ.float().mean() < 0.01  # rounding at the threshold
