"""Wan image to video at its published size, without values: the arithmetic's shapes go through."""

import pytest
import torch
from diffusers import WanTransformer3DModel

from videojam.guidance.batches import in_one_batch
from videojam.guidance.branches import combine, without_motion
from videojam.guidance.inner import GuidanceSettings
from videojam.joint.family import CHANNELS
from videojam.joint.find_family import family_of
from videojam.joint.noising import flow_matching
from videojam.joint.widen import widen
from videojam.objective import joint_loss

SIZES = {
    "num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824, "num_layers": 40,
    "in_channels": 36, "out_channels": 16, "image_dim": 1280, "added_kv_proj_dim": 5120,
}  # fmt: skip


@pytest.mark.parametrize("images", [1, 2])
def test_a_sampling_step_of_wan_image_to_video_14b_on_the_meta_device(images):
    """The three branches of Inner-Guidance in one batch, of one image or of two, then the step."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    with torch.device("meta"):
        base = WanTransformer3DModel(**SIZES, pos_embed_seq_len=514 if images == 2 else None)
        latents = torch.empty(1, 32, 21, 60, 104)
        given = {
            "encoder_hidden_states": torch.empty(1, 512, 4096),
            "encoder_hidden_states_image": torch.empty(images, 257, 1280),
            "timestep": torch.empty(1),
        }
        condition = torch.empty(1, 20, 21, 60, 104)
    wide = widen(base).to("meta")
    family = family_of(wide)
    assert family.last_image == ("must" if images == 2 else "")
    weights = GuidanceSettings(text_scale=5, motion_scale=3, image_scale=1).weights(0, 50)
    hidden = torch.cat([latents, condition], 1)
    passes = [
        given | {"hidden_states": hidden if b.has_motion else without_motion(hidden, wide)}
        for b in weights
    ]
    batch = in_one_batch(passes, family.image_inputs)
    assert batch is not None and len(batch["hidden_states"]) == 4
    with torch.no_grad():
        output = wide(**batch, return_dict=False)[0]
    total = combine(dict(zip(weights, output.split(1), strict=True)), weights)
    assert total.shape == latents.shape
    scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    scheduler.set_timesteps(50)
    stepped = scheduler.step(total, scheduler.timesteps[0], latents, return_dict=False)[0]
    assert stepped.shape == latents.shape


def test_a_training_step_of_wan_image_to_video_14b_on_the_meta_device():
    """81 frames of 480 x 832, forward and backward; 655 424 parameters more than the base."""
    with torch.device("meta"):
        base = WanTransformer3DModel(**SIZES)
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
