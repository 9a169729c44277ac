"""Wan image to video at its published size, without values: the arithmetic's shapes go through."""

import torch
from diffusers import WanTransformer3DModel

from videojam.joint.image import CHANNELS
from videojam.joint.noising import flow_matching
from videojam.joint.widen import widen
from videojam.objective import joint_loss


def test_a_training_step_of_wan_image_to_video_14b_on_the_meta_device():
    """81 frames of 480 x 832, forward and backward; 655 424 parameters more than the base."""
    with torch.device("meta"):
        base = WanTransformer3DModel(
            num_attention_heads=40, attention_head_dim=128, ffn_dim=13824, num_layers=40,
            in_channels=36, out_channels=16, image_dim=1280, added_kv_proj_dim=5120,
        )  # fmt: skip
        x = torch.empty(1, 16, 21, 60, 104)
        image = torch.empty(1, 20, 21, 60, 104)
        text = {
            "encoder_hidden_states": torch.empty(1, 512, 4096),
            "encoder_hidden_states_image": torch.empty(1, 257, 1280),
            CHANNELS: image,
        }
        level = flow_matching(torch.empty(1))
    wide = widen(base).to("meta")
    sizes = [sum(p.numel() for p in model.parameters()) for model in (base, wide)]
    assert sizes[1] - sizes[0] == 655_424

    def predict(seen, level, text):
        given = dict(text)
        hidden = torch.cat([seen, given.pop(CHANNELS)], 1)
        return wide(hidden, level.time, **given, return_dict=False)[0]

    loss = joint_loss(predict, x, x, text, level=level, noise_x=x, noise_d=x)
    loss.total.backward()
    gradient = wide.patch_embedding.weight.grad
    assert gradient is not None and gradient.shape == (5120, 2 * 16 + 4 + 16, 1, 2, 2)
    assert wide.proj_out.weight.grad is not None
