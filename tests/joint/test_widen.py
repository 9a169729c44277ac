"""Widening is exact at initialisation, reversible, and refuses what it does not know."""

import copy
import re

import diffusers
import pytest
import torch
from diffusers import DiffusionPipeline, WanPipeline, WanTransformer3DModel

from videojam import narrow, widen
from videojam.joint.families import FAMILIES
from videojam.joint.find_family import family_named, family_of
from videojam.joint.latents import join
from videojam.joint.widen import is_widened
from videojam.models.small_wan import SmallWan, small_wan_pipeline

WAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "text_dim": 8,
    "freq_dim": 16,
    "ffn_dim": 32,
    "num_layers": 2,
}


def _randomise(model):
    """Zero-initialised parts would hide mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def small_model(family, C, seed=0):
    torch.manual_seed(seed)
    cls = getattr(diffusers, family.transformer)
    return _randomise(cls(**WAN, in_channels=C, out_channels=C)).eval()


def wan_inputs(C, dtype, seed=1):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(2, C, 3, 4, 6, generator=g).to(dtype)
    d = 10 * torch.randn(2, C, 3, 4, 6, generator=g).to(dtype)
    text = torch.randn(2, 5, 8, generator=g).to(dtype)
    return x, d, {"timestep": torch.tensor([700, 3]), "encoder_hidden_states": text}


WANS = [f for f in FAMILIES if {*f.pipelines} & {"WanPipeline", "SkyReelsV2Pipeline"}]
WANS = [family for family in WANS if family.transformer in dir(diffusers)]
ROWS = [(family, C) for family in WANS for C in family.latent_channels]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("family", "C"), ROWS, ids=lambda value: getattr(value, "transformer", value)
)
def test_equals_the_base_bit_for_bit_for_any_motion(family, C, dtype):
    base = small_model(family, C).to(dtype)
    wide = widen(base)
    x, d, kwargs = wan_inputs(C, dtype)
    with torch.no_grad():
        expected = base(x, **kwargs).sample
        for motion in (d, torch.zeros_like(d), -d.flip(0)):
            prediction = wide(join(x, motion), **kwargs).sample
            assert torch.equal(prediction[:, :C], expected)
            assert not prediction[:, C:].any()
    assert type(wide) is type(base)


def test_channels_left_at_the_class_default_are_widened_too():
    base = _randomise(WanTransformer3DModel(**WAN)).eval()
    x, d, kwargs = wan_inputs(16, torch.float32)
    with torch.no_grad():
        wide = widen(base)
        assert torch.equal(wide(join(x, d), **kwargs).sample[:, :16], base(x, **kwargs).sample)
    assert narrow(wide).config.in_channels == 16


def test_per_token_time_steps_of_ti2v_too():
    base = small_model(FAMILIES[0], 48)
    x, d, kwargs = wan_inputs(48, torch.float32)
    kwargs["timestep"] = torch.full((2, 3 * 2 * 3), 500)
    with torch.no_grad():
        wide = widen(base)(join(x, d), **kwargs).sample[:, :48]
        assert torch.equal(wide, base(x, **kwargs).sample)


def test_keeps_every_dtype_of_a_mixed_model():
    base = small_model(FAMILIES[0], 16).to(torch.bfloat16)
    base.blocks[0].norm2.float()
    base.condition_embedder.time_embedder.float()
    wide = widen(base)
    expected = {name: tensor.dtype for name, tensor in base.state_dict().items()}
    assert {name: tensor.dtype for name, tensor in wide.state_dict().items()} == expected
    assert len(set(expected.values())) == 2


@pytest.mark.parametrize(
    ("family", "C"), ROWS, ids=lambda value: getattr(value, "transformer", value)
)
def test_narrow_gives_the_base_back(family, C):
    base = small_model(family, C)
    before = copy.deepcopy(base.state_dict())
    back = narrow(widen(base))
    assert dict(back.config) == dict(base.config)
    assert back.state_dict().keys() == before.keys()
    assert all(torch.equal(back.state_dict()[name], value) for name, value in before.items())
    assert all(torch.equal(base.state_dict()[name], value) for name, value in before.items())


def test_appending_rows_instead_of_interleaving_is_wrong():
    """The mistake of peers' helpers on channel-fast models: this test sees the difference."""
    base = small_model(FAMILIES[0], 16)
    x, d, kwargs = wan_inputs(16, torch.float32)
    right = widen(base)
    wrong = copy.deepcopy(right)
    with torch.no_grad():
        for tensor, old in ((wrong.proj_out.weight, base.proj_out.weight),
                            (wrong.proj_out.bias, base.proj_out.bias)):  # fmt: skip
            tensor.zero_()
            tensor[: old.shape[0]] = old
        expected = base(x, **kwargs).sample
        assert torch.equal(right(join(x, d), **kwargs).sample[:, :16], expected)
        assert (wrong(join(x, d), **kwargs).sample[:, :16] - expected).abs().max() > 0.1


def test_gradients_reach_both_new_halves():
    wide = widen(small_model(FAMILIES[0], 16)).train()
    x, d, kwargs = wan_inputs(16, torch.float32)
    (wide(join(x, d), **kwargs).sample ** 2 - wide(join(x, d), **kwargs).sample).mean().backward()
    out = wide.proj_out.weight.grad.unflatten(0, (4, 32))
    assert out[:, 16:].abs().max() > 0
    assert wide.proj_out.bias.grad.unflatten(0, (4, 32))[:, 16:].abs().min() > 0
    assert wide.patch_embedding.weight.grad[:, 16:].abs().max() > 0


def test_motion_input_matters_once_its_weights_do():
    wide = widen(small_model(FAMILIES[0], 16))
    with torch.no_grad():
        wide.patch_embedding.weight[:, 16:].normal_()
        x, d, kwargs = wan_inputs(16, torch.float32)
        a, b = (wide(join(x, motion), **kwargs).sample[:, :16] for motion in (d, -d))
    assert (a - b).abs().max() > 0.1


def test_other_tensors_are_shared_not_copied():
    base = small_model(FAMILIES[0], 16)
    wide = widen(base)
    assert (
        wide.blocks[0].ffn.net[2].weight.data_ptr() == base.blocks[0].ffn.net[2].weight.data_ptr()
    )


def test_saves_and_loads_with_stock_classes(tmp_path):
    pipe = small_wan_pipeline(SmallWan(num_layers=1))
    pipe.register_modules(transformer=_randomise(widen(pipe.transformer)))
    pipe.save_pretrained(tmp_path)
    loaded = WanTransformer3DModel.from_pretrained(tmp_path, subfolder="transformer")
    own = pipe.transformer.state_dict()
    assert all(torch.equal(own[name], value) for name, value in loaded.state_dict().items())
    stock = DiffusionPipeline.from_pretrained(tmp_path)
    assert type(stock) is WanPipeline
    latents = stock(
        "a red ball", height=32, width=32, num_frames=5, num_inference_steps=2,
        output_type="latent",
    ).frames  # fmt: skip
    assert latents.shape == (1, 32, 2, 4, 4)
    assert torch.isfinite(latents).all()


def test_refuses_to_widen_twice_also_after_loading(tmp_path):
    wide = widen(small_model(FAMILIES[0], 16))
    wide.save_pretrained(tmp_path)
    for model in (wide, WanTransformer3DModel.from_pretrained(tmp_path)):
        assert is_widened(model)
        with pytest.raises(ValueError, match="already joint"):
            widen(model)
    with pytest.raises(ValueError, match="not joint"):
        narrow(small_model(FAMILIES[0], 16))


def test_unknown_class_lists_the_known_ones_and_how_to_add_one():
    model = diffusers.UNet2DModel(
        block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
        norm_num_groups=4,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"UNet2DModel.*WanTransformer3DModel.*adding_a_model"):
        widen(model)


def test_image_conditioned_variant_is_refused_by_its_channels():
    model = WanTransformer3DModel(**WAN, in_channels=32, out_channels=16)
    with pytest.raises(ValueError, match=r"\(32, 16\).*image-conditioned"):
        widen(model)


def test_rows_of_one_class_are_told_apart_by_their_channels():
    """Wan I2V has a mask and a condition after its latents, neither of which gets a motion twin."""
    base = _randomise(WanTransformer3DModel(**WAN, in_channels=36, out_channels=16)).eval()
    wide = widen(base)
    assert (wide.config.in_channels, wide.config.out_channels) == (52, 32)
    assert family_of(wide) is family_of(base) is not family_of(widen(small_model(WANS[0], 16)))
    x, d, kwargs = wan_inputs(16, torch.float32)
    condition = torch.randn(2, 20, 3, 4, 6)
    with torch.no_grad():
        expected = base(torch.cat([x, condition], 1), **kwargs).sample
        found = wide(torch.cat([x, d, condition], 1), **kwargs).sample
    assert torch.equal(found[:, :16], expected)
    assert not found[:, 16:].any()


# --- models that were changed --------------------------------------------------------------------


def _with_lora(model):
    from peft import LoraConfig

    model.add_adapter(LoraConfig(r=2, target_modules=["to_q"]), "style")


def _offloaded(model):
    from accelerate import cpu_offload

    cpu_offload(model, execution_device=torch.device("cpu"))


def _cast_by_layer(model):
    model.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)


def _half_missing(model):
    model.blocks[1].to("meta")


CHANGES = {
    "has LoRA adapters \\(style\\).*then load the LoRA": _with_lora,
    "fused projections.*then fuse_qkv_projections": lambda model: model.fuse_qkv_projections(),
    "is offloaded.*then offload": _offloaded,
    "then (switch|quantise)": _cast_by_layer,
    "on the meta device": _half_missing,
    "is quantised.*quantization_config": lambda m: m.register_to_config(quantization_config={}),
}


@pytest.mark.parametrize("message", CHANGES)
def test_what_does_not_carry_over_is_refused(message):
    model = small_model(WANS[0], 16)
    CHANGES[message](model)
    with pytest.raises(ValueError, match=f"widen first, .*|{message}") as caught:
        widen(model)
    assert re.search(message, str(caught.value))


def test_attention_processors_and_backends_are_kept():
    from diffusers.models.transformers.transformer_wan import WanAttnProcessor

    class Mine(WanAttnProcessor):
        pass

    base = small_model(WANS[0], 16)
    base.set_attn_processor(Mine())
    assert {type(one) for one in widen(base).attn_processors.values()} == {Mine}
    assert {type(one) for one in narrow(widen(base)).attn_processors.values()} == {Mine}


def test_other_latent_sizes_need_to_be_named():
    base = _randomise(WanTransformer3DModel(**WAN, in_channels=4, out_channels=4))
    with pytest.raises(ValueError, match="latent_channels"):
        widen(base)
    wide = widen(base, latent_channels=4)
    assert wide.config.in_channels == 8
    assert is_widened(wide, latent_channels=4)


# --- orders and layouts that Wan does not have ---------------------------------------------------

COGVIDEOX = family_named("CogVideoXTransformer3DModel")
HUNYUAN_15 = family_named("HunyuanVideo15Transformer3DModel")


def _cogvideox(**kwargs):
    torch.manual_seed(0)
    return _randomise(
        diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4,
            time_embed_dim=8, text_embed_dim=8, num_layers=1, sample_width=8, sample_height=8,
            sample_frames=9, max_text_seq_length=5, use_rotary_positional_embeddings=True, **kwargs,
        )
    ).eval()  # fmt: skip


@pytest.mark.parametrize("kwargs", [{}, {"patch_size_t": 2}], ids=["1.0", "1.5"])
def test_channel_slow_rows_and_another_channel_axis(kwargs):
    family, base = COGVIDEOX, _cogvideox(**kwargs)
    wide = widen(base, family, latent_channels=4)
    g = torch.Generator().manual_seed(0)
    x, d = (torch.randn(2, 2, 4, 8, 8, generator=g) for _ in range(2))
    inputs = {
        "encoder_hidden_states": torch.randn(2, 5, 8, generator=g),
        "timestep": torch.tensor([5, 900]),
        "image_rotary_emb": (torch.ones(2 * 16, 16), torch.zeros(2 * 16, 16)),
    }
    if kwargs:
        inputs["image_rotary_emb"] = (torch.ones(16, 16), torch.zeros(16, 16))
    with torch.no_grad():
        expected = base(x, **inputs).sample
        found = wide(join(x, d, family.channel_dim), **inputs).sample
    assert torch.equal(found[:, :, :4], expected)
    back = narrow(wide, family, latent_channels=4).state_dict()
    assert all(torch.equal(back[name], value) for name, value in base.state_dict().items())


def test_concatenated_conditions_keep_their_places():
    """[x | cond | mask] becomes [x d | cond_x cond_d | mask], as stock pipelines build it."""
    torch.manual_seed(0)
    base = _randomise(
        diffusers.HunyuanVideo15Transformer3DModel(
            in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=8,
            num_layers=1, num_refiner_layers=1, patch_size=1, patch_size_t=1, text_embed_dim=8,
            text_embed_2_dim=8, image_embed_dim=8, rope_axes_dim=(2, 2, 4),
        )
    ).eval()  # fmt: skip
    wide = widen(base, HUNYUAN_15, 4)
    assert (wide.config.in_channels, wide.config.out_channels) == (17, 8)
    weight, old = wide.x_embedder.proj.weight, base.x_embedder.proj.weight
    assert torch.equal(weight[:, 0:4], old[:, 0:4])
    assert torch.equal(weight[:, 8:12], old[:, 4:8])
    assert torch.equal(weight[:, 16:], old[:, 8:])
    assert not weight[:, 4:8].any()
    assert not weight[:, 12:16].any()
    back = narrow(wide, HUNYUAN_15, 4).state_dict()
    assert all(torch.equal(back[name], value) for name, value in base.state_dict().items())
