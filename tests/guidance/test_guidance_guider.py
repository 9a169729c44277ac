"""InnerGuidance as a guider of Modular Diffusers, against the explicit loop and the hook."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import FirstBlockCacheConfig, MagCacheConfig, TextKVCacheConfig
from diffusers.modular_pipelines.wan.modular_blocks_wan import WanCoreDenoiseStep
from diffusers.modular_pipelines.wan.modular_blocks_wan22 import Wan22CoreDenoiseStep
from guidance_sampling import SIZE, by_hand, embeddings, error, joint_pipeline, sample
from test_guidance_pipelines import FORMULAS

from videojam.guidance.branches import Branch
from videojam.guidance.guider import InnerGuidance
from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.pipelines import inner_guidance
from videojam.joint.widen import narrow


def modular(pipe, guider, noise, steps=4, **components):
    """Final latents of Modular Wan's own denoising blocks; Wan 2.2's if there are two models."""
    blocks = Wan22CoreDenoiseStep if pipe.config.boundary_ratio else WanCoreDenoiseStep
    parts = {"transformer": pipe.transformer, "scheduler": pipe.scheduler, "guider": guider}
    if pipe.config.boundary_ratio:
        parts |= {"transformer_2": pipe.transformer_2, "guider_2": guider.new()}
    modular = blocks().init_pipeline()
    modular.update_components(**parts | components)
    if pipe.config.boundary_ratio:
        modular.update_components(boundary_ratio=pipe.config.boundary_ratio)
    text, null = embeddings(pipe)
    return modular(
        prompt_embeds=text,
        negative_prompt_embeds=null,
        num_inference_steps=steps,
        latents=noise,
        output="latents",
        **SIZE,
    )


@pytest.fixture(params=["wan21", "wan22_a14b"])
def either(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("mode", FORMULAS)
def test_guider_equals_the_explicit_loop_and_the_hook(either, noise, mode):
    result = modular(either, InnerGuidance(mode=mode), noise)
    assert error(result, by_hand(either, noise, FORMULAS[mode])) < 1e-5
    with inner_guidance(either, mode=mode):
        assert error(result, sample(either, noise)) < 1e-5


def test_transformer_is_untouched_afterwards(wan21, noise):
    before = sample(wan21, noise)
    modular(wan21, InnerGuidance(), noise)
    assert torch.equal(sample(wan21, noise), before)


def test_failed_run_leaves_the_transformer_untouched(wan21, noise):
    before = sample(wan21, noise)
    expected = modular(wan21, InnerGuidance(), noise)

    calls = []

    def fail_in_the_third_call(*_):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory")

    handle = wan21.transformer.proj_out.register_forward_pre_hook(fail_in_the_third_call)
    guider = InnerGuidance()
    with pytest.raises(RuntimeError, match="out of memory"):
        modular(wan21, guider, noise)
    handle.remove()
    assert torch.equal(sample(wan21, noise), before)
    assert torch.equal(modular(wan21, guider, noise), expected), "the guider can be used again"


def test_disabled_guider_is_conditional_sampling(wan21, noise):
    guider = InnerGuidance()
    guider.disable()
    assert error(modular(wan21, guider, noise), sample(wan21, noise, guidance_scale=1)) < 1e-5


def test_settings_survive_saving_loading_and_new(tmp_path):
    settings = {"text_scale": 2.5, "motion_scale": 1.0, "text_start": 0.1, "text_stop": 0.9,
        "motion_start": 0.2, "motion_stop": 0.7, "mode": "without_inner_guidance", "text_every": 2,
        "motion_every": 3, "reuse": "extrapolate", "settled_cosine": 0.9,
        "text_term": "apg"}  # fmt: skip
    guider = InnerGuidance(**settings)
    guider.save_pretrained(tmp_path)
    assert (tmp_path / "guider_config.json").is_file()
    loaded = InnerGuidance.from_pretrained(tmp_path)
    assert loaded.settings == guider.settings == GuidanceSettings(**settings)
    assert guider.new(text_scale=7.0).settings == GuidanceSettings(**settings | {"text_scale": 7.0})


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="motion_scale is -1"):
        InnerGuidance(motion_scale=-1)


def test_outside_of_a_step_it_asks_for_the_negative_prompt_of_the_whole_run():
    """Pipelines ask once, before the first step; also in a second run, after a last step."""
    guider = InnerGuidance(text_stop=0.5)
    assert guider.num_conditions == 2
    guider.set_state(step=9, num_inference_steps=10, timestep=torch.tensor(1))
    assert guider.num_conditions == 1, "the last step has no guidance"
    guider.forward(joint=torch.zeros(1))
    assert guider.num_conditions == 2
    assert InnerGuidance(text_scale=0).num_conditions == 1
    assert "num_conditions" in repr(guider)


def test_each_branch_gets_its_own_text_and_only_its_own_channels_are_zeroed(wan21, noise):
    guider = InnerGuidance()
    guider.set_state(step=0, num_inference_steps=4, timestep=torch.tensor(1))
    data = {"encoder_hidden_states": (torch.ones(1), torch.zeros(1)), "shared": torch.ones(2)}
    batches = {b.__guidance_identifier__: b for b in guider.prepare_inputs(data)}
    assert {name: float(b.encoder_hidden_states) for name, b in batches.items()} == {
        "joint": 1, "no_text": 0, "no_motion": 1}  # fmt: skip
    fields = {"encoder_hidden_states": ("text", "null")}
    state = SimpleNamespace(text=torch.ones(1), null=torch.zeros(1))
    again = guider.prepare_inputs_from_block_state(state, fields)
    assert [float(b.encoder_hidden_states) for b in again] == [1, 0, 1]
    for branch in guider.weights():
        guider.prepare_models(wan21.transformer)
        assert guider.is_conditional == branch.has_text
        seen = []
        handle = wan21.transformer.patch_embedding.register_forward_pre_hook(
            lambda _, inputs, seen=seen: seen.append(inputs[0])
        )
        text, _ = embeddings(wan21)
        wan21.transformer(hidden_states=noise, timestep=torch.ones(1), encoder_hidden_states=text)
        handle.remove()
        guider.cleanup_models(wan21.transformer)
        assert torch.equal(seen[0][:, :16], noise[:, :16])
        assert bool(seen[0][:, 16:].any()) == branch.has_motion == (branch != Branch.NO_MOTION)


def test_base_model_and_mixing_caches_are_refused(wan21, noise):
    base = narrow(wan21.transformer)
    with pytest.raises(ValueError, match="predicts no motion"):
        modular(wan21, InnerGuidance(), noise[:, :16], transformer=base)
    pipe = joint_pipeline()
    mag = MagCacheConfig(mag_ratios=[1.0] * 4, num_inference_steps=4)
    for config, reason in ((TextKVCacheConfig(), "was not shown to keep"), (mag, "or by a guider")):
        pipe.transformer.enable_cache(config)
        with pytest.raises(ValueError, match=reason):
            modular(pipe, InnerGuidance(), noise)
        pipe.transformer.disable_cache()
    pipe.transformer.enable_cache(FirstBlockCacheConfig())
    with pytest.raises(ValueError, match="No cache context"):
        # Modular Wan names no contexts, so diffusers refuses this itself, whatever the guider.
        modular(pipe, InnerGuidance(), noise)
