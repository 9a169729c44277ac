"""Estimators find known motion; bad clips and wrong fields are refused."""

import pickle

import pytest
import torch

from videojam import estimate_flow
from videojam.lab.clips import Lab, lab_clips
from videojam.motion.estimators.dis import DIS
from videojam.motion.estimators.exact import Exact
from videojam.motion.estimators.raft import RAFT
from videojam.motion.flow import repeat_last


def shifted(dx, dy, frames=3, size=64):
    """A textured clip that moves by whole pixels, so its flow is known everywhere."""
    g = torch.Generator().manual_seed(0)
    texture = torch.rand(1, 1, size // 4, size // 4, generator=g)
    texture = torch.nn.functional.interpolate(texture, (2 * size, 2 * size), mode="bicubic")[0, 0]
    texture = (255 * texture.clamp(0, 1)).to(torch.uint8)
    crops = [
        texture[size // 2 - k * dy :, size // 2 - k * dx :][:size, :size] for k in range(frames)
    ]
    return torch.stack(crops).unsqueeze(-1).expand(-1, -1, -1, 3).contiguous()


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (-1, 0), (0, 2), (0, -2)])
def test_dis_finds_direction_and_size_in_pixels(dx, dy):
    flow = estimate_flow(shifted(dx, dy))
    assert flow.shape == (2, 2, 64, 64)
    middle = flow[:, :, 8:-8, 8:-8].mean(dim=(0, 2, 3))
    assert torch.allclose(middle, torch.tensor([dx, dy], dtype=torch.float32), atol=0.1)


def test_exact_flow_is_the_given_field_and_only_for_its_clip():
    drawn = lab_clips(Lab(frames=9, height=48, width=48), [1])[1]
    frames, flow = drawn.frames[0], drawn.flow[0]
    assert torch.equal(estimate_flow(frames, Exact(flow)), flow)
    with pytest.raises(ValueError, match=r"shape \(8, 2, 48, 48\).*needs \(4, 2, 48, 48\)"):
        estimate_flow(frames[:5], Exact(flow))


def test_last_frame_repeats_the_last_flow():
    flow = torch.randn(3, 2, 4, 5)
    motion = repeat_last(flow)
    assert motion.shape == (4, 2, 4, 5)
    assert torch.equal(motion[:3], flow)
    assert torch.equal(motion[3], flow[2])


def test_one_frame_and_tiny_frames_are_refused():
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        estimate_flow(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="at least 16 x 16 pixels, got 8 x 32"):
        estimate_flow(torch.zeros(2, 8, 32, 3, dtype=torch.uint8))


def test_wrong_or_infinite_estimates_are_refused():
    clip = torch.zeros(3, 32, 32, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="not finite"):
        estimate_flow(clip, lambda clip: torch.full((2, 2, 32, 32), torch.nan))
    with pytest.raises(ValueError, match=r"shape \(1, 2, 32, 32\), expected \(2, 2, 32, 32\)"):
        estimate_flow(clip, lambda clip: torch.zeros(1, 2, 32, 32))


def test_dis_can_be_sent_to_worker_processes():
    clip = shifted(1, 0)
    assert torch.equal(pickle.loads(pickle.dumps(DIS()))(clip), DIS()(clip))


def test_raft_without_torchvision_names_the_default():
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        pass
    else:
        pytest.skip("torchvision works here; the message is for where it does not")
    with pytest.raises(ImportError, match=r"torchvision.*CUDA.*DIS"):
        estimate_flow(torch.zeros(2, 128, 128, 3, dtype=torch.uint8), RAFT(device="cpu"))


def test_raft_refuses_small_frames_and_missing_weights(tmp_path):
    with pytest.raises(ValueError, match="at least 128 x 128"):
        estimate_flow(torch.zeros(2, 64, 64, 3, dtype=torch.uint8), RAFT(device="cpu"))
    from videojam.motion.estimators.raft import _read_state

    with pytest.raises(RuntimeError, match=r"no\.pth do not exist.*DIS"):
        _read_state(tmp_path / "no.pth")
