"""Calls that would sample for minutes and fail, or be guided by another's schedule, are refused."""

import pytest
import torch
from diffusers import WanPipeline
from guidance_sampling import SHAPE, SIZE, TEXT, error, joint_pipeline, sample
from small_models import MODELS

from videojam import decode, inner_guidance, widen
from videojam.joint.latents import latent_channels
from videojam.joint.sizes import Size

NOISE = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pipe():
    return joint_pipeline()


@pytest.mark.parametrize("output", [{}, {"output_type": "np"}, {"output_type": "pt"}])
def test_an_output_that_the_vae_cannot_decode_is_refused_before_the_first_step(pipe, output):
    calls = []
    pipe.transformer.register_forward_pre_hook(lambda *_: calls.append(1))
    with (
        pytest.raises(ValueError, match=r'pass output_type="latent".*videojam\.decode'),
        inner_guidance(pipe),
    ):
        pipe(**TEXT, **SIZE, num_inference_steps=2, latents=NOISE, **output)
    assert not calls
    assert type(pipe) is WanPipeline


def test_another_pipeline_that_shares_the_transformer_is_refused(pipe):
    other = WanPipeline.from_pipe(pipe)
    with inner_guidance(pipe):
        expected = sample(pipe, NOISE)
        with pytest.raises(ValueError, match="something else than the pipeline"):
            sample(other, NOISE)
        with pytest.raises(ValueError, match="call the pipeline, not its transformer"):
            pipe.transformer(NOISE, torch.tensor([500]), torch.ones(1, 3, 32))
        assert torch.equal(sample(pipe, NOISE), expected)
    sample(other, NOISE)  # outside of the block it is its own again


def test_an_interruption_between_the_passes_leaves_no_trace(pipe):
    with inner_guidance(pipe):
        expected = sample(pipe, NOISE)
        stock, count = pipe.transformer.blocks[0].forward, []

        def interrupted(*args, **kwargs):
            count.append(1)
            if len(count) == 3:  # the pass without text of the first step
                raise KeyboardInterrupt
            return stock(*args, **kwargs)

        pipe.transformer.blocks[0].forward = interrupted
        with pytest.raises(KeyboardInterrupt):
            sample(pipe, NOISE)
        pipe.transformer.blocks[0].forward = stock
        assert torch.equal(sample(pipe, NOISE), expected)


def test_a_batch_that_changes_its_size_in_the_middle_is_refused():
    """As diffusers' callback that switches guidance off at some step does."""
    pipe = MODELS["CogVideoX"]()
    pipe.set_progress_bar_config(disable=True)
    pipe.register_modules(transformer=widen(pipe.transformer))

    def cut(pipe, step, time, given):
        if step == 1:
            pipe._guidance_scale = 0.0
            given["prompt_embeds"] = given["prompt_embeds"][-1:]
        return given

    with (
        pytest.raises(ValueError, match=r"batch has 1 at step 2, and had 2 before.*text_stop"),
        inner_guidance(pipe),
    ):
        pipe(
            "a red ball", height=32, width=32, num_frames=9, num_inference_steps=4,
            latents=torch.randn(1, 3, 32, 4, 4), output_type="latent", max_sequence_length=16,
            callback_on_step_end=cut,
            callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"],
        )  # fmt: skip


def test_ltx_2_is_guided_by_hand():
    pipe = MODELS["LTX-2"]()
    pipe.set_progress_bar_config(disable=True)
    C = latent_channels(pipe.vae)
    pipe.register_modules(transformer=widen(pipe.transformer, latent_channels=C))
    size = {"height": 64, "width": 64, "num_frames": 9}
    with inner_guidance(pipe, text_scale=2.0):
        found = pipe(
            "a red ball", **size, num_inference_steps=2, guidance_scale=3.0, output_type="latent",
            audio_guidance_scale=1.0, stg_scale=0.0, audio_stg_scale=0.0, modality_scale=1.0,
            audio_modality_scale=1.0, spatio_temporal_guidance_blocks=None, return_dict=False,
            max_sequence_length=16,
        )[0]  # fmt: skip
    video, motion = decode(pipe, found, Size(9, 64, 64))
    assert video.shape == motion.shape == (1, 3, 9, 64, 64)


def test_sound_stays_guided_at_steps_that_take_text_from_before():
    """LTX-2 guides its sound by itself, from what the transformer says with and without text."""
    pipe = MODELS["LTX-2"]()
    pipe.set_progress_bar_config(disable=True)
    pipe.register_modules(transformer=widen(pipe.transformer, None, latent_channels(pipe.vae)))
    apart = []
    with inner_guidance(pipe, text_scale=2.0, motion_scale=0.0, text_every=2, text_stop=0.8):
        stock = pipe.transformer.forward

        def seen(*args, **kwargs):
            output = stock(*args, **kwargs)
            without, with_text = output[1].chunk(2)
            apart.append(without - with_text)
            return output

        pipe.transformer.forward = seen
        pipe(
            "a red ball", height=64, width=64, num_frames=9, num_inference_steps=5,
            guidance_scale=3.0, output_type="latent", audio_guidance_scale=3.0, stg_scale=0.0,
            audio_stg_scale=0.0, modality_scale=1.0, audio_modality_scale=1.0,
            spatio_temporal_guidance_blocks=None, return_dict=False, max_sequence_length=16,
        )  # fmt: skip
        pipe.transformer.forward = stock
    assert apart[0].abs().max() > 0
    for kept, computed in ((1, 0), (3, 2)):
        torch.testing.assert_close(apart[kept], apart[computed], rtol=1e-4, atol=1e-6)
    assert not torch.equal(apart[2], apart[0])
    assert not apart[4].any(), "text guidance is over"


# --- branches in one batch ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["inner_guidance", "instruct_pix2pix", "without_flow"])
def test_branches_in_one_batch_give_the_same(pipe, mode):
    settings = {"text_scale": 4.0, "motion_scale": 2.0, "motion_stop": 0.5, "mode": mode}
    sizes = []
    with inner_guidance(pipe, **settings):
        expected = sample(pipe, NOISE)
    pipe.transformer.patch_embedding.register_forward_pre_hook(
        lambda _, inputs: sizes.append(len(inputs[0]))
    )
    with inner_guidance(pipe, branches_at_once=True, **settings):
        assert error(sample(pipe, NOISE), expected) < 1e-4
    per_step = {"inner_guidance": [3, 3, 2, 2], "instruct_pix2pix": [3, 3, 2, 2]}
    assert sizes == per_step.get(mode, [2, 2, 2, 2])


def test_with_a_cache_branches_stay_apart(pipe):
    from diffusers import FirstBlockCacheConfig

    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    with pytest.raises(ValueError, match=r"first_block_cache.*use one of the two"):
        inner_guidance(pipe, branches_at_once=True).__enter__()
