"""Metrics declare what they need, and say why they were skipped."""

import math

import pytest
import torch

from videojam.evaluation.metrics.jumps import largest_jump
from videojam.evaluation.metrics.moving_share import moving_share
from videojam.evaluation.metrics.repeats import repeated_share
from videojam.evaluation.metrics.table import METRICS, Seen, all_metrics, measure
from videojam.motion.estimators.dis import DIS


def sliding(frames=8, step=2, size=64):
    """A textured picture that moves right."""
    picture = torch.randint(
        256, (size, 3 * size, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    picture = picture.float().unfold(0, 5, 1).mean(-1).unfold(1, 5, 1).mean(-1).to(torch.uint8)
    return torch.stack([picture[:, size - step * k : 2 * size - step * k] for k in range(frames)])


def test_every_metric_is_there_or_says_why_not():
    values, skipped = measure(Seen(sliding(), 8.0))
    assert values.keys() == METRICS.keys()
    assert skipped.keys() == {"dynamic_degree_raft"}
    assert "RAFT" in skipped["dynamic_degree_raft"]
    assert {k: v for k, v in values.items() if k in all_metrics(sliding(), 8.0)} == all_metrics(
        sliding(), 8.0
    )
    values, skipped = measure(Seen(sliding(frames=2), 8.0), ["largest_jump", "repeated_share"])
    assert skipped == {"largest_jump": "2 frames, needs 3"}
    assert math.isnan(values["largest_jump"])
    with pytest.raises(ValueError, match="no metric 'beauty'"):
        measure(Seen(sliding(), 8.0), ["beauty"])


def test_raft_is_used_where_it_is_given():
    calls = []

    def raft(clip):
        calls.append(len(clip))
        return torch.full((len(clip) - 1, 2, *clip.shape[1:3]), 30.0)

    large = torch.zeros(17, 128, 128, 3, dtype=torch.uint8)
    values, _ = measure(Seen(large, 16.0, raft=raft), ["dynamic_degree_raft"])
    assert values == {"dynamic_degree_raft": 1.0}
    assert calls == [9], "every second frame at 16 a second"
    _, skipped = measure(Seen(sliding(), 8.0, raft=raft), ["dynamic_degree_raft"])
    assert "128 x 128" in skipped["dynamic_degree_raft"]


def test_flow_is_estimated_when_it_is_asked_for():
    calls = []

    def counted(clip):
        calls.append(len(clip))
        return DIS()(clip)

    measure(Seen(sliding(), 8.0, counted), ["sharpness", "repeated_share"])
    assert calls == []
    measure(Seen(sliding(), 8.0, counted), ["warp_error", "flow_smoothness", "moving_share"])
    assert len(calls) == 2


def test_a_cut_is_a_jump_and_steady_motion_is_none():
    steady = sliding()
    cut = torch.cat([steady[:4], steady[4:] // 8])
    assert largest_jump(steady) < 1.2
    assert largest_jump(cut) > 3 * largest_jump(steady)
    assert largest_jump(steady[:1].expand(5, -1, -1, -1)) == 0
    with pytest.raises(ValueError, match="3 frames, got 2"):
        largest_jump(steady[:2])


def test_repeats_are_counted():
    clip = sliding()
    assert repeated_share(clip) == 0
    assert repeated_share(clip.repeat_interleave(2, 0)) == pytest.approx(8 / 15)
    assert repeated_share(clip[:1].expand(4, -1, -1, -1)) == 1
    with pytest.raises(ValueError, match="got 1"):
        repeated_share(clip[:1])


def test_the_moving_share_is_that_of_the_moving_pixels():
    flow = torch.zeros(3, 2, 30, 40)  # a diagonal of 50: the threshold is 2.5 / fps
    flow[:, 0, :, :10] = 0.3
    flow[:, 1, :, 10:12] = -0.4
    assert moving_share(flow, 10.0) == pytest.approx(12 / 40)
    assert moving_share(flow, 8.0) == pytest.approx(2 / 40)
    assert moving_share(flow, 1.0) == 0
    with pytest.raises(ValueError, match="0 frames a second"):
        moving_share(flow, 0.0)
