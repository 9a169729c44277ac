"""Drawn clips: each depends on its number alone, and its flow moves its pixels."""

import pytest
import torch

from videojam.lab.clips import Lab, lab_clips
from videojam.lab.scenes import SCENES
from videojam.motion.warp import backward_warp

LAB = Lab(frames=9, height=48, width=48)


def test_a_clip_depends_on_seed_and_number_alone():
    scenes, drawn = lab_clips(LAB, [5])
    others, together = lab_clips(LAB, [12, 5, 30])
    assert others[1].caption == scenes[0].caption
    assert all(torch.equal(a[0], b[1]) for a, b in zip(drawn, together, strict=True))
    assert not torch.equal(drawn.frames[0], together.frames[0])
    other_seed = lab_clips(Lab(frames=9, height=48, width=48, seed=1), [5])[1]
    assert not torch.equal(drawn.frames, other_seed.frames)


@pytest.mark.parametrize("number", range(len(SCENES)), ids=list(SCENES))
def test_flow_moves_the_pixels_that_stay_visible(number):
    """Where the flow says (dx, dy), frame k + 1 shows the same there."""
    drawn = lab_clips(LAB, [number])[1]
    frames, flow = drawn.frames[0].float().movedim(-1, 1), drawn.flow[0]
    moving = (flow.norm(dim=1) > 0.5) & ~drawn.occluded[0]
    assert int(moving.sum()) > 200

    def error(field: torch.Tensor) -> float:
        warped = backward_warp(frames[1:], field)
        return float((warped - frames[:-1]).abs().mean(1)[moving].mean())

    assert error(flow) < 7  # of 255: light drifts, and edges are anti-aliased
    assert error(flow) < 0.5 * error(torch.zeros_like(flow)) < 0.5 * error(-flow)


def test_flow_goes_the_way_that_the_caption_says():
    lab = Lab(frames=5, height=48, width=48, types=("bouncing ball", "wheel"))
    scenes, drawn = lab_clips(lab, range(12))
    y, x = torch.meshgrid(*[torch.arange(48) - 23.5] * 2, indexing="ij")
    for scene, flow in zip(scenes, drawn.flow, strict=True):
        dx, dy = flow[0]
        moving = flow[0].norm(dim=0) > 0
        x0, y0 = (at - at[moving].mean() for at in (x, y))
        along = dx if scene.type == "bouncing ball" else x0 * dy - y0 * dx
        first = scene.asked[0].direction
        assert (float(along[moving].mean()) > 0) == (first in ("right", "clockwise"))


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"no scene type 'bal'; expected some of bouncing ball"):
        Lab(types=("bal",))
    with pytest.raises(ValueError, match="1 frames of 64x64"):
        Lab(frames=1)
    with pytest.raises(ValueError, match="camera is 2"):
        Lab(camera=2.0)
