"""Each metric has its closed form where there is one, and moves the right way under damage."""

import inspect
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional

from videojam.evaluation.metrics.appearance import (
    appearance_distance,
    colourfulness,
    frame_features,
    frechet_distance,
    gaussian,
    sharpness,
)
from videojam.evaluation.metrics.dynamic_degree import (
    dynamic_degree,
    frame_interval,
    top_magnitude,
)
from videojam.evaluation.metrics.flicker import temporal_flickering
from videojam.evaluation.metrics.flow_smoothness import flow_smoothness
from videojam.evaluation.metrics.table import all_metrics
from videojam.evaluation.metrics.warp_error import warp_error
from videojam.lab.clips import Lab, lab_clips
from videojam.motion.estimators.dis import DIS
from videojam.motion.estimators.exact import Exact

H, W = 48, 64
METRICS = [
    "warp_error", "occluded_share", "flow_smoothness", "dynamic_degree", "speed_diagonals_per_s",
    "temporal_flickering", "sharpness", "colourfulness",
]  # fmt: skip


def texture(h, w, seed=0):
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, h // 6, w // 6, generator=g)
    fine = functional.interpolate(coarse, (h, w), mode="bicubic")[0]
    return (255 * fine.clamp(0, 1)).byte().movedim(0, -1)


def sliding(frames=10, dx=2, dy=1, seed=0):
    """A texture that moves by whole pixels: the next frame shows exactly what stays inside."""
    large = texture(H + frames * dy, W + frames * dx, seed)
    starts = [(frames - k) for k in range(frames)]
    return torch.stack([large[s * dy :, s * dx :][:H, :W] for s in starts])


def constant(dx, dy, n, h=H, w=W):
    return torch.tensor([dx, dy]).float().view(1, 2, 1, 1).expand(n, 2, h, w)


def blurred(clip, size):
    smooth = functional.avg_pool2d(
        clip.movedim(-1, 1).float(), size, 1, size // 2, count_include_pad=False
    )
    return smooth.round().byte().movedim(1, -1)


def brightened(clip, levels):
    return (clip.int() + torch.tensor(levels).view(-1, 1, 1, 1)).clamp(0, 255).byte()


def permuted(clip):
    return clip[torch.randperm(len(clip), generator=torch.Generator().manual_seed(1))]


# --- flow-warp error


def test_warp_error_of_exact_motion_is_zero_and_of_a_change_its_size():
    clip, flow = sliding(), constant(2, 1, 9)
    assert warp_error(clip, flow) == 0
    assert warp_error(clip, constant(2, 0, 9)) > 0.01
    middle = (clip.float() / 2 + 64).byte()  # room for 10 levels more
    damaged = brightened(middle, [0, 10] * 5)
    assert warp_error(damaged, flow) == pytest.approx(10 / 255)


def test_warp_error_leaves_occluded_pixels_out():
    clip, flow = sliding(3), constant(2, 1, 2)
    damaged = clip.clone()
    damaged[:, 10:20, 10:20] = torch.tensor([0, 255, 0]).byte().view(3, 1, 1, 1)
    mask = torch.zeros(2, H, W, dtype=torch.bool)
    mask[:, 9:20, 8:20] = True  # the patch, and what moves into it
    assert warp_error(damaged, flow, mask) == 0
    assert warp_error(damaged, flow) > 0.01
    assert math.isnan(warp_error(clip, flow, torch.ones_like(mask)))
    assert math.isnan(warp_error(clip, constant(W, 0, 2)))


# --- smoothness of the flow


def test_constant_velocity_is_perfectly_smooth_and_stutter_a_third():
    steady = constant(3, -1, 6)
    assert flow_smoothness(steady) == 1
    sign = torch.tensor([1, -1, 1, -1, 1, -1]).view(-1, 1, 1, 1)
    assert flow_smoothness(steady * sign) == pytest.approx(1 / 3)
    assert flow_smoothness(steady * (sign > 0)) == pytest.approx(1 / 3)


@given(speed=st.floats(0.5, 2.5), factor=st.floats(1, 3))
def test_smoothness_of_an_acceleration_is_its_share_of_the_speed(speed, factor):
    """Speeds v and c v: R = (c - 1) v / ((1 + c) v / 2), whatever v is."""
    flow = torch.cat([constant(speed, 0, 1), constant(speed * factor, 0, 1)])
    expected = 1 / (1 + 2 * (factor - 1) / (factor + 1))
    assert flow_smoothness(flow) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("angle", [0.02, 0.05])
def test_smoothness_follows_the_pixels_of_a_rotation(angle):
    """f(p) = (Rot - 1)(p - centre) in every frame: at p nothing changes, along its path f turns.

    |f' - f| = 2 sin(angle / 2) |f|.
    """
    y, x = torch.meshgrid(torch.arange(H) - (H - 1) / 2, torch.arange(W) - (W - 1) / 2,
                          indexing="ij")  # fmt: skip
    dx = (math.cos(angle) - 1) * x - math.sin(angle) * y
    dy = math.sin(angle) * x + (math.cos(angle) - 1) * y
    flow = torch.stack([dx, dy]).expand(4, 2, H, W)
    assert flow_smoothness(flow) == pytest.approx(1 / (1 + 2 * math.sin(angle / 2)), abs=1e-5)


def test_still_background_and_noise_under_the_floor_do_not_count():
    jerky = torch.zeros(6, 2, H, W)
    jerky[::2, 0, 20:28, 20:28] = 4
    jerky[1::2, 0, 20:28, 20:28] = -4
    # 64 moving pixels of 3072; those that step out of the patch lose half of it.
    assert flow_smoothness(jerky) < 0.51
    noise = 0.005 * torch.randn(6, 2, H, W, generator=torch.Generator().manual_seed(0))
    assert flow_smoothness(noise) > 0.85
    assert flow_smoothness(1000 * noise) < 0.5
    assert flow_smoothness(torch.zeros(6, 2, H, W)) == 1


def test_smoothness_takes_visible_pixels_only():
    flow = constant(1, 0, 3).clone()
    flow[1, :, :10] = torch.tensor([9.0, 9.0]).view(2, 1, 1)
    mask = torch.zeros(3, H, W, dtype=torch.bool)
    mask[:, :10] = True
    assert flow_smoothness(flow) < 0.9
    assert flow_smoothness(flow, mask) == 1
    assert math.isnan(flow_smoothness(flow, torch.ones_like(mask)))
    with pytest.raises(ValueError, match="at least 2, got 1"):
        flow_smoothness(flow[:1])


# --- dynamic degree


def moving_pairs(count, n, length, size=64):
    flow = torch.zeros(n, 2, size, size)
    flow[:count, 0] = length
    return flow


# Wan 81 frames at 16 fps: every second, 10 of 40 pairs; CogVideoX 49 at 8: 12 of 48; HunyuanVideo
# 129 at 24: every third, 11 of 42; LTX 121 at 25: every third, 10 of 40.
@pytest.mark.parametrize(
    ("frames", "fps", "interval", "pairs", "needed"),
    [(81, 16.0, 2, 40, 10), (49, 8.0, 1, 48, 12), (129, 24.0, 3, 42, 11), (121, 25.0, 3, 40, 10),
     (2, 4.0, 1, 1, 0)],
)  # fmt: skip
def test_dynamic_needs_as_many_pairs_as_in_vbench(frames, fps, interval, pairs, needed):
    assert frame_interval(fps) == interval
    assert len(range(0, frames, interval)) == pairs + 1
    assert dynamic_degree(moving_pairs(needed, pairs, 1.6), fps).is_dynamic
    if needed:
        assert not dynamic_degree(moving_pairs(needed - 1, pairs, 1.6), fps).is_dynamic


@pytest.mark.parametrize(
    ("h", "w", "threshold"), [(256, 256, 6.0), (480, 832, 11.25), (64, 32, 0.75)]
)
def test_dynamic_threshold_is_6_pixels_at_256(h, w, threshold):
    assert not dynamic_degree(constant(threshold, 0, 3, h, w), 8.0).is_dynamic
    assert dynamic_degree(constant(0, 1.01 * threshold, 3, h, w), 8.0).is_dynamic


def test_only_the_fastest_5_percent_count():
    flow = torch.zeros(2, 2, 20, 50)
    flow[0, 0].view(-1)[:50] = 3  # 5% of 1000 pixels
    flow[1, 1].view(-1)[:25] = 3
    assert top_magnitude(flow).tolist() == [3.0, 1.5]


def test_speed_is_in_diagonals_per_second():
    flow = constant(3, 4, 5, 30, 40)  # a tenth of the diagonal
    assert dynamic_degree(flow, 8.0).speed == pytest.approx(0.8)
    assert dynamic_degree(flow, 30.0).speed == pytest.approx(0.1 * 30 / 4)
    with pytest.raises(ValueError, match="fps is 0"):
        dynamic_degree(flow, 0.0)
    with pytest.raises(ValueError, match="at least 2 frames"):
        dynamic_degree(flow[:0], 8.0)


# --- flicker


def test_flicker_is_one_less_the_mean_change():
    grey = torch.full((6, 8, 8, 3), 100, dtype=torch.uint8)
    assert temporal_flickering(grey) == 1
    assert temporal_flickering(brightened(grey, [0, 51] * 3)) == pytest.approx(0.8)
    assert temporal_flickering(brightened(grey, [0, 155, 155, 155, 155, 155])) == pytest.approx(
        1 - 155 / 255 / 5
    )
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        temporal_flickering(grey[:1])


# --- appearance


def test_sharpness_of_stripes_and_of_their_blur():
    stripes = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    assert sharpness(stripes) == pytest.approx(510**2, rel=1e-5)
    assert sharpness(torch.full_like(stripes, 77)) == pytest.approx(0, abs=1e-6)
    clip = sliding()
    assert sharpness(clip) > 1.2 * sharpness(blurred(clip, 3)) > 2 * sharpness(blurred(clip, 7))


def test_colourfulness_of_plain_colours_and_of_grey():
    red = torch.tensor([255, 0, 0]).byte().expand(2, 8, 8, 3)
    assert colourfulness(red) == pytest.approx(0.3 * math.hypot(255, 127.5), rel=1e-5)
    halves = torch.cat([red, red.flip(-1)], dim=2)  # red | blue: rg 255 | 0, yb 127.5 | -255
    expected = math.hypot(127.5, 191.25) + 0.3 * math.hypot(127.5, -63.75)
    assert colourfulness(halves) == pytest.approx(expected, rel=1e-5)
    grey = sliding()[..., :1].expand(-1, -1, -1, 3)
    assert colourfulness(grey) == pytest.approx(0, abs=1e-3)


def test_features_are_what_they_say():
    clip = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    clip[:, :4, :4, 0] = 255
    features = frame_features(clip)[0]
    assert features.shape == (57,)
    assert features[:3].tolist() == [1 / 16, 0, 0]
    assert features[3].item() == pytest.approx(math.sqrt(15) / 16)
    # Luma steps 0.299 across 4 pixels each way: 4 of 15 x 16 differences, and so on with scale.
    for scale, feature in zip((1, 2, 4), features[6:9], strict=True):
        side = 16 // scale
        energy = 2 * 0.299**2 * (4 / scale) / (side * (side - 1))
        assert feature.item() == pytest.approx(math.log(energy + 255**-2), abs=1e-5)
    grid = features[9:].view(3, 4, 4)
    assert grid[0, 0, 0] == 1
    assert grid.sum() == 1


def covariance(d, seed, rank=None):
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(d, rank or d, generator=g, dtype=torch.float64)
    return root @ root.T


@given(
    means=st.lists(st.floats(-3, 3), min_size=4, max_size=4),
    stds=st.lists(st.floats(0, 3), min_size=4, max_size=4),
    turn=st.integers(0, 100),
)
def test_frechet_distance_of_gaussians_with_common_axes(means, stds, turn):
    """Axis by axis it is (m1 - m2)^2 + (s1 - s2)^2, and turning the axes changes nothing."""
    mu1, mu2 = torch.tensor(means).double(), torch.ones(4).double()
    s1, s2 = torch.tensor(stds).double(), torch.tensor([0.0, 0.5, 1, 2]).double()
    expected = float(((mu1 - mu2) ** 2 + (s1 - s2) ** 2).sum())
    axes = torch.linalg.qr(covariance(4, turn))[0]
    cov1, cov2 = (axes @ torch.diag(s**2) @ axes.T for s in (s1, s2))
    found = frechet_distance(axes @ mu1, cov1, axes @ mu2, cov2)
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("rank", [6, 3])
def test_frechet_distance_in_general(rank):
    mu1, mu2 = torch.arange(6).double(), torch.zeros(6).double()
    cov1, cov2 = covariance(6, 0, rank), covariance(6, 1)
    cross = torch.linalg.eigvals(cov1 @ cov2).real.clamp(min=0).sqrt().sum()
    expected = float(mu1.square().sum() + cov1.trace() + cov2.trace() - 2 * cross)
    assert frechet_distance(mu1, cov1, mu2, cov2) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(mu2, cov2, mu1, cov1) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(mu1, cov1, mu1, cov1) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_refuses_what_is_no_covariance():
    mu = torch.zeros(3).double()
    skew = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 1]]).double()
    with pytest.raises(ValueError, match="symmetric"):
        frechet_distance(mu, skew, mu, torch.eye(3).double())
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        gaussian(torch.zeros(1, 3).double())


def features_of(clips, damage=lambda clip: clip):
    return torch.cat([frame_features(damage(clip)) for clip in clips])


def test_appearance_distance_orders_damage():
    clips = list(lab_clips(Lab(frames=3, height=48, width=48), range(400))[1].frames)
    reference, others = features_of(clips[::2]), clips[1::2]

    def distance(damage):
        return appearance_distance(features_of(others, damage), reference)

    assert appearance_distance(reference, reference) < 1e-6
    alike = distance(lambda clip: clip)
    assert alike < 0.1
    assert distance(lambda clip: blurred(clip, 7)) > 2 * distance(lambda clip: blurred(clip, 3))
    assert distance(lambda clip: blurred(clip, 3)) > 20 * alike
    assert distance(lambda clip: brightened(clip, [25] * 3)) > 5 * alike
    assert distance(lambda clip: clip[..., :1].expand(-1, -1, -1, 3)) > 5 * alike


# --- all of them


def test_table_has_every_metric_of_the_clip():
    clip = sliding()
    table = all_metrics(clip, 8.0)
    assert list(table) == METRICS
    assert all(type(value) is float for value in table.values())
    assert table["warp_error"] < 0.01
    assert table["flow_smoothness"] > 0.9
    assert table["speed_diagonals_per_s"] == pytest.approx(
        8 * math.hypot(2, 1) / math.hypot(H, W), rel=0.15
    )
    assert table["dynamic_degree"] == 1  # 2.2 pixels a frame, 6 * 48 / 256 = 1.1 make it dynamic
    assert table["temporal_flickering"] == temporal_flickering(clip)
    assert table["sharpness"] == sharpness(clip)
    assert table["colourfulness"] == colourfulness(clip)
    assert 0.02 < table["occluded_share"] < 0.15  # what leaves is 2 of 64 columns, 1 of 48 rows


def test_permuted_frames_warp_worse_and_move_less_smoothly():
    lab = Lab(frames=16, height=48, width=48, types=("bouncing ball",))
    for clip in (sliding(), lab_clips(lab, [1])[1].frames[0]):
        good, bad = all_metrics(clip, 8.0), all_metrics(permuted(clip), 8.0)
        assert bad["warp_error"] > 1.3 * good["warp_error"]
        assert bad["flow_smoothness"] < good["flow_smoothness"] - 0.1
        for unordered in ("sharpness", "colourfulness"):
            assert bad[unordered] == pytest.approx(good[unordered], rel=1e-5)


def test_a_frozen_clip_is_smooth_but_not_dynamic():
    table = all_metrics(sliding()[:1].expand(10, -1, -1, -1), 8.0)
    assert table["dynamic_degree"] == 0
    assert table["speed_diagonals_per_s"] < 1e-3
    assert table["flow_smoothness"] == 1
    assert table["warp_error"] == 0
    assert table["temporal_flickering"] == 1


def test_brightness_flicker_is_seen():
    clip = (sliding().float() * 0.7).byte()
    good, bad = all_metrics(clip, 8.0), all_metrics(brightened(clip, [0, 25] * 5), 8.0)
    assert bad["temporal_flickering"] < good["temporal_flickering"] - 0.02
    assert bad["warp_error"] > good["warp_error"] + 0.05


def test_flow_is_estimated_once_each_way_and_once_more_to_sub_sample():
    seen = []

    def counted(clip):
        seen.append(len(clip))
        return DIS()(clip)

    clip = sliding()
    slow = all_metrics(clip, 8.0, counted)
    assert seen == [10, 10]
    fast = all_metrics(clip, 16.0, counted)
    assert seen == [10, 10, 10, 10, 5]
    speed = "speed_diagonals_per_s"
    assert fast[speed] == pytest.approx(2 * slow[speed], rel=0.2)


def test_table_refuses_clips_too_short_and_given_fields():
    clip = sliding()
    with pytest.raises(ValueError, match=r"at least 2, got 1; .* 3 frames"):
        all_metrics(clip[:2], 8.0)
    with pytest.raises(ValueError, match="at least 2 frames"):
        all_metrics(clip[:3], 30.0)
    with pytest.raises(ValueError, match="Exact knows the forward flow"):
        all_metrics(clip, 8.0, Exact(constant(2, 1, 9)))
    with pytest.raises(ValueError, match="fps is -8"):
        all_metrics(clip, -8.0)


@given(n=st.integers(1, 4), h=st.integers(8, 12), w=st.integers(8, 12))
def test_flow_of_another_clip_is_refused(n, h, w):
    """Masks: tests/motion/test_warp.py."""
    assume((n, h, w) != (3, 10, 9))
    clip = torch.zeros(4, 10, 9, 3, dtype=torch.uint8)
    unchecked = inspect.unwrap(warp_error)  # users do not run under the type checker of the tests
    with pytest.raises(ValueError, match=r"clip of 4 frames needs \(3, 2, 10, 9\)"):
        unchecked(clip, torch.zeros(n, 2, h, w))


@given(h=st.integers(1, 8), w=st.integers(1, 8))
def test_appearance_needs_8_pixels_a_side(h, w):
    frames = torch.zeros(2, h, w, 3, dtype=torch.uint8)
    for metric in (sharpness, colourfulness, frame_features):
        if min(h, w) < 8:
            with pytest.raises(ValueError, match=f"at least 8 x 8 pixels, got {h} x {w}"):
                metric(frames)
        else:
            metric(frames)
