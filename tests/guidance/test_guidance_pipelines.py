"""Inner-Guidance in stock classic pipelines, against an explicit loop."""

import copy
import functools

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module, remove_hook_from_module
from diffusers import (
    FasterCacheConfig,
    FirstBlockCacheConfig,
    MagCacheConfig,
    ModularPipeline,
    PyramidAttentionBroadcastConfig,
    SkyReelsV2Pipeline,
    SkyReelsV2Transformer3DModel,
    TaylorSeerCacheConfig,
    TextKVCacheConfig,
    WanPipeline,
)
from diffusers.hooks import apply_pyramid_attention_broadcast
from guidance_sampling import by_hand, call_log, embeddings, error, joint_transformer, sample

from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.pipelines import inner_guidance

FORMULAS = {  # at w1 = 5, w2 = 3, written out; steps 0 and 1 of 4 are in the motion window
    "inner_guidance": lambda u, i: (
        9 * u(1, 1) - 5 * u(0, 1) - 3 * u(1, 0) if i < 2 else 6 * u(1, 1) - 5 * u(0, 1)
    ),
    "without_text_guidance": lambda u, i: u(1, 1) + 3 * (u(1, 1) - u(1, 0)) if i < 2 else u(1, 1),
    "without_inner_guidance": lambda u, i: u(0, 1) + 6 * (u(1, 1) - u(0, 1)),
    "without_flow": lambda u, i: u(0, 0) + 6 * (u(1, 0) - u(0, 0)),
    "instruct_pix2pix": lambda u, i: (
        u(0, 0) + (4 if i < 2 else 1) * (u(0, 1) - u(0, 0)) + 6 * (u(1, 1) - u(0, 1))
    ),
}


@pytest.mark.parametrize("mode", FORMULAS)
def test_every_pipeline_and_mode_equals_the_explicit_loop(pipe, noise, mode):
    expected = by_hand(pipe, noise, FORMULAS[mode])
    with inner_guidance(pipe, text_scale=5, motion_scale=3, mode=mode):
        result = sample(pipe, noise)
    assert error(result, expected) < 1e-5
    plain = sample(pipe, noise, guidance_scale=6)
    if mode != "without_inner_guidance":
        assert error(plain, expected) > 1e-3, "guidance must matter for this test to say anything"


@pytest.mark.parametrize("guidance_scale", [1.5, 5, 6, 20])
def test_the_pipelines_own_scale_does_not_matter(wan21, noise, guidance_scale):
    expected = by_hand(wan21, noise, FORMULAS["inner_guidance"])
    with inner_guidance(wan21):
        result = sample(wan21, noise, guidance_scale=guidance_scale)
    assert error(result, expected) < 1e-5


def test_second_scale_of_wan22_does_not_matter(wan22_a14b, noise):
    expected = by_hand(wan22_a14b, noise, FORMULAS["inner_guidance"])
    with inner_guidance(wan22_a14b):
        result = sample(wan22_a14b, noise, guidance_scale=4, guidance_scale_2=3)
    assert error(result, expected) < 1e-5


def test_skyreels_whose_contexts_carry_no_step(wan21, noise):
    config = {key: wan21.transformer.config[key] for key in ("num_attention_heads",
        "attention_head_dim", "text_dim", "freq_dim", "ffn_dim", "num_layers")}  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = SkyReelsV2Transformer3DModel(in_channels=16, out_channels=16, **config)
    parts = {name: wan21.components[name] for name in ("tokenizer", "text_encoder", "vae")}
    pipe = SkyReelsV2Pipeline(
        **parts, transformer=joint_transformer(base, seed=2), scheduler=wan21.scheduler
    )
    pipe.set_progress_bar_config(disable=True)
    expected = by_hand(pipe, noise, FORMULAS["inner_guidance"])
    for _ in range(2):  # the second call must start from step 0 again
        with inner_guidance(pipe):
            assert error(sample(pipe, noise), expected) < 1e-5


def test_without_scales_it_is_plain_conditional_sampling(pipe, noise):
    expected = sample(pipe, noise, guidance_scale=1)
    with inner_guidance(pipe, text_scale=0, motion_scale=0):
        assert error(sample(pipe, noise, guidance_scale=5), expected) < 1e-5
        assert torch.equal(sample(pipe, noise, guidance_scale=1), expected)


def test_without_motion_scale_it_is_the_stock_guidance_of_scale_one_more(pipe, noise):
    expected = sample(pipe, noise, guidance_scale=6)
    with inner_guidance(pipe, text_scale=5, motion_scale=0):
        assert error(sample(pipe, noise, guidance_scale=3), expected) < 1e-5


@pytest.mark.parametrize(
    ("changes", "calls"),  # of 4 steps
    [
        ({}, 2 * 3 + 2 * 2),
        ({"motion_stop": 1}, 4 * 3),
        ({"motion_start": 0.5, "motion_stop": 0.75}, 3 * 2 + 1 * 3),
        ({"text_stop": 0.5}, 2 * 3 + 2 * 1),
        ({"motion_scale": 0}, 4 * 2),
        ({"text_scale": 0}, 2 * 2 + 2 * 1),
        ({"mode": "without_text_guidance"}, 2 * 2 + 2 * 1),
        ({"mode": "without_inner_guidance"}, 4 * 2),
        ({"mode": "without_flow"}, 4 * 2),
        ({"mode": "instruct_pix2pix"}, 2 * 3 + 2 * 2),
        ({"text_scale": 0, "motion_scale": 0}, 4),
    ],
)
def test_the_transformer_runs_only_the_branches_that_weigh(wan21, noise, changes, calls):
    with call_log(wan21.transformer) as log, inner_guidance(wan21, **changes):
        sample(wan21, noise)
    assert len(log) == calls


def test_each_branch_sees_its_own_conditions(wan21, noise):
    text, null = embeddings(wan21)
    with call_log(wan21.transformer) as log, inner_guidance(wan21, motion_stop=1):
        sample(wan21, noise, steps=1)
    seen = [(error(t, text) < 1e-5, error(t, null) < 1e-5, motion) for t, motion, _ in log]
    assert sorted(seen) == sorted([(True, False, True), (True, False, False), (False, True, True)])
    assert all(torch.equal(latents[:, :16], noise[:, :16]) for *_, latents in log)
    assert all(torch.equal(lat, noise) for _, motion, lat in log if motion)


def test_without_flow_the_motion_input_never_matters(wan21, noise):
    other = noise.clone()
    other[:, 16:] += 1
    with inner_guidance(wan21, mode="without_flow"):
        a, b = sample(wan21, noise), sample(wan21, other)
    torch.testing.assert_close(a[:, :16], b[:, :16], rtol=0, atol=0)
    with inner_guidance(wan21):
        a, b = sample(wan21, noise), sample(wan21, other)
    assert error(a[:, :16], b[:, :16]) > 1e-3


def test_without_text_guidance_the_negative_prompt_never_matters(wan21, noise):
    with inner_guidance(wan21, text_scale=0):
        a = sample(wan21, noise)
        assert torch.equal(a, sample(wan21, noise, negative_prompt="fast"))
    with inner_guidance(wan21):
        assert not torch.equal(sample(wan21, noise), sample(wan21, noise, negative_prompt="fast"))


def test_the_pipeline_is_bitwise_the_same_afterwards(pipe, noise):
    before = sample(pipe, noise)
    with inner_guidance(pipe):
        assert not torch.equal(sample(pipe, noise), before)
    assert torch.equal(sample(pipe, noise), before)
    with pytest.raises(RuntimeError, match="stop"), inner_guidance(pipe):
        raise RuntimeError("stop")
    assert torch.equal(sample(pipe, noise), before)


def test_failure_inside_a_pass_leaves_nothing_behind(wan21, noise):
    before = sample(wan21, noise)

    def fail(*_):
        raise RuntimeError("out of memory")

    handle = wan21.transformer.proj_out.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"), inner_guidance(wan21):
        sample(wan21, noise)
    handle.remove()
    assert torch.equal(sample(wan21, noise), before)


def test_predictions_in_bfloat16_are_combined_in_float32(wan21, noise):
    pipe = WanPipeline(**wan21.components | {
        "transformer": copy.deepcopy(wan21.transformer).to(torch.bfloat16)})  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    with inner_guidance(wan21):
        exact = sample(wan21, noise)
    with inner_guidance(pipe):
        a, b = (sample(pipe, noise, guidance_scale=s) for s in (1.01, 6))
    assert error(b, exact) < 0.05
    assert error(a, b) < 0.01, "dividing by a small 1 - s must not cost precision"


def test_settings_object_and_changes_are_the_same(wan21, noise):
    settings = GuidanceSettings(text_scale=2, motion_scale=1, motion_stop=1)
    with inner_guidance(wan21, settings):
        a = sample(wan21, noise)
    with inner_guidance(wan21, text_scale=2, motion_scale=1, motion_stop=1):
        assert torch.equal(a, sample(wan21, noise))


# --- caches -----------------------------------------------------------------------------------


BLOCKS = r"blocks\.\d+\.(attn1|attn2|ffn)"


def _cached(pipe, config):
    """A pipeline with its own transformer, so that no cache is left on the shared one."""
    transformer = copy.deepcopy(pipe.transformer)
    transformer.enable_cache(config)
    pipe = WanPipeline(**pipe.components | {"transformer": transformer})
    pipe.set_progress_bar_config(disable=True)
    return pipe


NEVER = {
    "first block": FirstBlockCacheConfig(threshold=0),
    "mag": MagCacheConfig(threshold=0.0, mag_ratios=[0.9] * 4, num_inference_steps=4),
    "mag, calibrating": MagCacheConfig(calibrate=True, num_inference_steps=4),
    "TaylorSeer": TaylorSeerCacheConfig(
        cache_identifiers=[BLOCKS], disable_cache_before_step=9, taylor_factors_dtype=torch.float32
    ),
}
ALWAYS = {  # from the second or third call of a branch on
    "first block": FirstBlockCacheConfig(threshold=1e9),
    "mag": MagCacheConfig(
        threshold=1e9, max_skip_steps=9, retention_ratio=0.25, mag_ratios=[1.0] * 4,
        num_inference_steps=4,
    ),
    "TaylorSeer": TaylorSeerCacheConfig(
        cache_identifiers=[BLOCKS], disable_cache_before_step=1, cache_interval=9,
        taylor_factors_dtype=torch.float32,
    ),
}  # fmt: skip


@pytest.mark.parametrize("cache", NEVER)
def test_a_cache_that_never_hits_changes_nothing(wan21, noise, cache):
    with inner_guidance(wan21):
        expected = sample(wan21, noise)
    pipe = _cached(wan21, NEVER[cache])
    with inner_guidance(pipe):
        assert torch.equal(sample(pipe, noise), expected)


@pytest.mark.parametrize("mode", ["inner_guidance", "instruct_pix2pix"])
@pytest.mark.parametrize("cache", ALWAYS)
def test_caches_keep_branches_apart(wan21, noise, cache, mode):
    """A cache that always hits: each branch reuses its own first passes and no other's."""
    cached = {
        branch: _cached(wan21, ALWAYS[cache]).transformer
        for branch in ((1, 1), (0, 1), (1, 0), (0, 0))
    }

    def formula(u, i):
        @functools.cache  # caches count calls: one a step
        def separate(*branch):
            with cached[branch].cache_context("only"):
                return u(*branch, model=cached[branch])

        return FORMULAS[mode](separate, i)

    expected = by_hand(wan21, noise, formula)
    pipe = _cached(wan21, ALWAYS[cache])
    with inner_guidance(pipe, mode=mode):
        result = sample(pipe, noise)
        again = sample(pipe, noise)
    assert error(result, expected) < 1e-5
    assert torch.equal(result, again), "the cache starts empty in every call"
    assert error(result, by_hand(wan21, noise, FORMULAS[mode])) > 1e-4, "the cache must have hit"


REFUSED = [
    (PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2, spatial_attention_timestep_skip_range=(0, 1000),
        current_timestep_callback=lambda: 500), "would hand one branch's to another"),
    (FasterCacheConfig(
        spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500),
        "would mix samples"),
    (TextKVCacheConfig(), "text_kv_cache was not shown to keep branches apart"),
    (TaylorSeerCacheConfig(), "hooks no module of this WanTransformer3DModel, so it does nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "reason"), REFUSED)
def test_caches_that_mix_branches_are_refused(wan21, noise, config, reason):
    pipe = _cached(wan21, config)
    with pytest.raises(ValueError, match=reason), inner_guidance(pipe):
        pass
    pipe.transformer.disable_cache()
    with inner_guidance(pipe):
        sample(pipe, noise)
        pipe.transformer.enable_cache(config)
        with pytest.raises(ValueError, match=reason):
            sample(pipe, noise)


def test_cache_applied_without_enable_cache_is_refused_too(wan21):
    pipe = _cached(wan21, FirstBlockCacheConfig())
    pipe.transformer.disable_cache()
    apply_pyramid_attention_broadcast(pipe.transformer, REFUSED[0][0])
    with pytest.raises(ValueError, match="PyramidAttentionBroadcast"), inner_guidance(pipe):
        pass


@pytest.mark.parametrize("cache", ["mag", "TaylorSeer"])
def test_caches_take_nothing_over_in_branches_that_steps_leave_out(wan21, noise, cache):
    """They would take their calls for other steps; the joint branch is cached."""
    cached, kept = _cached(wan21, ALWAYS[cache]).transformer, {}

    def formula(u, i):
        with cached.cache_context("only"):
            joint = u(1, 1, model=cached)
        if i % 2 == 0:
            kept["text"] = joint - u(0, 1)
        if i == 0:
            kept["x"], kept["d"] = (joint[:, :16] - u(1, 0)[:, :16]), u(1, 0)[:, 16:]
        motion = torch.cat([kept["x"], joint[:, 16:] - kept["d"]], 1)
        return joint + 5 * kept["text"] + (3 * motion if i < 2 else 0)

    expected = by_hand(wan21, noise, formula)
    pipe = _cached(wan21, ALWAYS[cache])
    with inner_guidance(pipe, text_every=2, motion_every=2):
        assert error(sample(pipe, noise), expected) < 1e-4


def test_mag_cache_is_refused_with_two_experts(wan22_a14b):
    parts = wan22_a14b.components | {"transformer": _cached(wan22_a14b, ALWAYS["mag"]).transformer}
    pipe = WanPipeline(**parts, boundary_ratio=0.9)
    with pytest.raises(ValueError, match="with two experts"), inner_guidance(pipe):
        pass


@pytest.mark.parametrize("cache", ALWAYS)
def test_an_interrupted_call_leaves_nothing_in_a_cache(wan21, noise, cache):
    def stop(*_):
        raise KeyboardInterrupt

    pipe = _cached(wan21, ALWAYS[cache])
    with inner_guidance(pipe):
        expected = sample(pipe, noise)
        with pytest.raises(KeyboardInterrupt):
            sample(pipe, 2 * noise, callback_on_step_end=stop)
        assert torch.equal(sample(pipe, noise), expected)


def test_first_block_cache_beside_kept_differences(wan21, noise):
    """What neither leaves out is what both make: a cache that never hits changes nothing."""
    with inner_guidance(wan21, text_every=2, motion_every=2):
        expected = sample(wan21, noise)
    pipe = _cached(wan21, NEVER["first block"])
    with inner_guidance(pipe, text_every=2, motion_every=2):
        assert torch.equal(sample(pipe, noise), expected)


# --- offloading, compiling ----------------------------------------------------------------------


def test_guidance_survives_offloading_hooks_that_are_put_on_again(wan21, noise):
    """What enable_model_cpu_offload does to the transformer after every call of a pipeline."""
    with inner_guidance(wan21):
        expected = sample(wan21, noise)
    plain = sample(wan21, noise)
    transformer = wan21.transformer
    add_hook_to_module(transformer, AlignDevicesHook(execution_device="cpu"))
    with inner_guidance(wan21):
        for _ in range(2):
            assert torch.equal(sample(wan21, noise), expected)
            remove_hook_from_module(transformer, recurse=True)
            add_hook_to_module(transformer, AlignDevicesHook(execution_device="cpu"))
    assert torch.equal(sample(wan21, noise), plain)
    assert hasattr(transformer, "_hf_hook"), "offloading goes on"
    remove_hook_from_module(transformer)
    assert torch.equal(sample(wan21, noise), plain)


@pytest.mark.parametrize("level", ["leaf_level", "block_level"])
def test_group_offloading(wan21, noise, level):
    with inner_guidance(wan21):
        expected = sample(wan21, noise)
    transformer = copy.deepcopy(wan21.transformer)
    here = torch.device("cpu")
    transformer.enable_group_offload(here, here, level, num_blocks_per_group=1)
    pipe = WanPipeline(**wan21.components | {"transformer": transformer})
    pipe.set_progress_bar_config(disable=True)
    plain = sample(pipe, noise)
    with inner_guidance(pipe):
        assert torch.equal(sample(pipe, noise), expected)
        assert torch.equal(sample(pipe, noise), expected)
    assert torch.equal(sample(pipe, noise), plain)


@pytest.mark.parametrize("how", ["wrapper", "in place", "blocks"])
def test_compiled_transformers(wan21, noise, how):
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    with inner_guidance(wan21):
        expected = sample(wan21, noise)
    transformer, graphs = copy.deepcopy(wan21.transformer), CompileCounter()
    if how == "wrapper":
        transformer = torch.compile(transformer, backend=graphs)
    elif how == "in place":
        transformer.compile(backend=graphs)
    else:
        transformer.compile_repeated_blocks(backend=graphs)
    pipe = WanPipeline(**wan21.components | {"transformer": transformer})
    pipe.set_progress_bar_config(disable=True)
    with inner_guidance(pipe):
        assert error(sample(pipe, noise), expected) < 1e-6
        compiled = graphs.frame_count
        sample(pipe, noise, steps=6)
    assert graphs.frame_count == compiled, "other steps and branches must not compile again"


# --- what is refused ----------------------------------------------------------------------------


def test_text_guidance_needs_the_pipelines_second_pass(wan21, noise):
    with inner_guidance(wan21), pytest.raises(ValueError, match=r"Pass guidance_scale > 1"):
        sample(wan21, noise, guidance_scale=1)
    with inner_guidance(wan21, text_scale=0):
        by_one_pass = sample(wan21, noise, guidance_scale=1)
        assert error(sample(wan21, noise, guidance_scale=5), by_one_pass) < 1e-5


@pytest.mark.parametrize("second", [0, 1])
def test_second_scale_that_drops_a_pass_does_not_matter_either(wan22_a14b, noise, second):
    expected = by_hand(wan22_a14b, noise, FORMULAS["inner_guidance"])
    with inner_guidance(wan22_a14b):
        assert error(sample(wan22_a14b, noise, guidance_scale_2=second), expected) < 1e-5


def test_a_missing_last_pass_is_found_at_the_end(wan21, noise):
    with pytest.raises(ValueError, match=r"Pass guidance_scale > 1"), inner_guidance(wan21):
        sample(wan21, noise, steps=1, guidance_scale=1)


def test_nesting_is_refused_and_the_outer_guidance_stays(wan21, noise):
    with inner_guidance(wan21):
        expected = sample(wan21, noise)
        with pytest.raises(ValueError, match="does not nest"), inner_guidance(wan21):
            pass
        assert torch.equal(sample(wan21, noise), expected)


def test_base_model_is_refused(wan21):
    from videojam.joint.widen import narrow

    pipe = WanPipeline(**wan21.components | {"transformer": narrow(wan21.transformer)})
    with pytest.raises(ValueError, match="predicts no motion"), inner_guidance(pipe):
        pass


def test_half_hooked_pipeline_is_left_clean(wan22_a14b, noise):
    """The second transformer is a base model: the hook on the first must go again."""
    from videojam.joint.widen import narrow

    parts = wan22_a14b.components | {"transformer_2": narrow(wan22_a14b.transformer_2)}
    pipe = WanPipeline(**parts, boundary_ratio=0.9)
    with pytest.raises(ValueError, match="predicts no motion"), inner_guidance(pipe):
        pass
    with inner_guidance(wan22_a14b):
        sample(wan22_a14b, noise)


def test_other_pipelines_are_refused_with_a_hint():
    class SomePipeline:
        pass

    class SomeModularPipeline(ModularPipeline):
        guider = None  # as loaded ones have

        def __init__(self):
            pass

    for pipe, hint in (
        (SomePipeline(), "not known how it runs its passes"),
        (SomeModularPipeline(), r"guider=InnerGuidance"),
    ):
        with pytest.raises(ValueError, match=hint), inner_guidance(pipe):
            pass


def test_calling_the_transformer_by_hand_inside_is_refused(wan21, noise):
    with inner_guidance(wan21), pytest.raises(ValueError, match="call the pipeline"):
        wan21.transformer(hidden_states=noise, timestep=torch.ones(1), encoder_hidden_states=None)


@pytest.mark.parametrize("wrong", [{"text_scale": -1}, {"motion_scale": float("nan")}])
def test_bad_scales_are_refused(wan21, wrong):
    with (
        pytest.raises(ValueError, match="expected a finite number"),
        inner_guidance(wan21, **wrong),
    ):
        pass
