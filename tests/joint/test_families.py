"""One function finds a model's row: through wrappers, subclasses, and rows from outside."""

from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.configuration_utils import register_to_config
from guidance_sampling import SHAPE, joint_pipeline, sample, tiny_sizes
from small_models import MODELS

from videojam import VideoJAM, decode, inner_guidance, narrow, register_family, widen
from videojam.joint import families
from videojam.joint.find_family import family_named, family_of, row_for, unwrapped
from videojam.joint.info import JointInfo
from videojam.joint.widen import is_widened
from videojam.models.small_wan import small_wan_pipeline

WAN = family_named("WanTransformer3DModel")
INFO = JointInfo(fps=8.0, height=32, width=32, num_frames=9)


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(families, "_registered", [])


class MyWan(WanTransformer3DModel):
    """A subclass, as users make them."""


def test_wrappers_are_looked_through():
    model = small_wan_pipeline(tiny_sizes()).transformer
    wrapped = torch.compile(torch.nn.DataParallel(torch.compile(model)))
    assert unwrapped(wrapped) is model
    assert family_of(wrapped) is WAN
    assert not is_widened(wrapped)
    wide = widen(torch.compile(model))
    assert is_widened(torch.compile(wide))
    assert narrow(torch.compile(wide)).config.in_channels == 16


def test_a_sharded_model_is_of_its_class():
    """FSDP2 makes a subclass on the fly, with the class's name behind a prefix."""
    model = small_wan_pipeline(tiny_sizes()).transformer
    model.__class__ = type("FSDPWanTransformer3DModel", (type(model),), {})
    assert family_of(model) is WAN


def test_subclasses_have_the_row_of_their_nearest_known_class(registry):
    config = dict(small_wan_pipeline(tiny_sizes()).transformer.config)
    mine = MyWan.from_config(config)
    assert family_of(mine) is WAN
    register_family(replace(WAN, transformer="MyWan", limits="mine"))
    assert family_of(mine).limits == "mine"
    assert family_of(WanTransformer3DModel.from_config(config)) is WAN


def test_registered_rows_reach_everything(registry, monkeypatch):
    """A class that the table does not know: widen, guide, sample, decode."""
    row = family_named("MovieGenTransformer3DModel")
    others = tuple(family for family in families.FAMILIES if family is not row)
    monkeypatch.setattr(families, "FAMILIES", others)
    pipe = MODELS["Movie Gen DiT"]()
    pipe.set_progress_bar_config(disable=True)
    with pytest.raises(ValueError, match=r"no family is known for MovieGen.*register_family"):
        widen(pipe.transformer)
    register_family(row)
    pipe.register_modules(transformer=widen(pipe.transformer))
    clip = VideoJAM(pipe, replace(INFO, num_frames=5))("a red ball", num_inference_steps=2)
    with inner_guidance(pipe):
        size = {"height": 32, "width": 32, "num_frames": 5}
        found = pipe("a red ball", num_inference_steps=2, output_type="latent", **size).frames
    assert decode(pipe, found)[0].shape[2:] == clip.video.shape[:3]


class Counts(WanTransformer3DModel):
    """Counts latent channels three times."""

    @register_to_config
    def __init__(self, in_channels: int = 16, out_channels: int = 16, latents: int = 16):
        assert latents == in_channels
        super().__init__(
            num_attention_heads=2, attention_head_dim=16, text_dim=8, freq_dim=16, ffn_dim=32,
            num_layers=1, in_channels=in_channels, out_channels=out_channels,
        )  # fmt: skip


def test_keys_of_the_config_beside_the_two_are_doubled_too(registry):
    register_family(replace(WAN, transformer="Counts", also_doubled=("latents",)))
    wide = widen(Counts())
    assert wide.config.latents == 32
    assert narrow(wide).config.latents == 16


def test_an_installed_package_can_bring_a_row(registry, monkeypatch):
    class Point:
        def load(self):
            return replace(WAN, transformer="FromPackage")

    families._installed.cache_clear()
    monkeypatch.setattr(families, "entry_points", lambda group: [Point()])
    assert family_named("FromPackage").transformer == "FromPackage"
    families._installed.cache_clear()


def test_a_compiled_transformer_samples_and_decodes():
    """`pipe.transformer = torch.compile(pipe.transformer)`, the usual way."""
    pipe = joint_pipeline()
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    with inner_guidance(pipe):
        expected = sample(pipe, noise, steps=2)
    jam = VideoJAM(pipe, INFO)
    clip = jam("a red ball rolls", num_inference_steps=2)
    pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    with inner_guidance(pipe):
        found = sample(pipe, noise, steps=2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    video, motion = decode(pipe, found)
    assert video.shape == motion.shape == (1, 3, 9, 32, 32)
    again = VideoJAM(pipe, INFO)("a red ball rolls", num_inference_steps=2)
    torch.testing.assert_close(again.latents, clip.latents, rtol=1e-4, atol=1e-4)


def test_pipelines_that_are_not_driven_are_refused_with_their_reason():
    import diffusers

    from videojam.joint.checkpoint import check_runs
    from videojam.joint.not_driven import NOT_DRIVEN

    driven = {name for row in families.families() for name in (*row.pipelines, row.image_pipeline)}
    for name, why in NOT_DRIVEN.items():
        assert hasattr(diffusers, name) and name not in driven
        with pytest.raises(ValueError, match=f"{name} cannot be run here: {why[:20]}"):
            check_runs(name, families.families()[0])


def test_rows_of_one_class_with_the_same_channels_are_told_apart_by_their_marks():
    def row(name, **config):
        return row_for(config, [one for one in families.families() if one.transformer == name])

    wan = {"in_channels": 36, "out_channels": 16}
    found = [
        row("WanTransformer3DModel", **wan, image_dim=dim, pos_embed_seq_len=length)
        for dim, length in ((1280, 514), (1280, None), (None, None))
    ]
    assert [one.last_image for one in found] == ["must", "", "may"]
    hunyuan_15 = {"in_channels": 65, "out_channels": 32}
    for task, image in (("t2v", ""), ("i2v", "concatenated")):
        found = row("HunyuanVideo15Transformer3DModel", **hunyuan_15, task_type=task)
        assert found.image == image
    hunyuan = "HunyuanVideoTransformer3DModel"
    for channels, kind, pipelines in (
        (16, None, ("HunyuanVideoPipeline",)),
        (16, "token_replace", ("HunyuanVideoImageToVideoPipeline",)),
        (32, None, ("HunyuanSkyreelsImageToVideoPipeline",)),
        (33, "latent_concat", ()),
    ):
        config = {"in_channels": channels, "out_channels": 16, "image_condition_type": kind}
        assert row(hunyuan, **config).pipelines == pipelines
    assert family_named(hunyuan).pipelines == ("HunyuanVideoPipeline",)
    table = [one for one in families.families() if one.transformer == "WanTransformer3DModel"]
    own = replace(table[1], marks=(), limits="one's own")
    assert row_for({**wan, "image_dim": 1280}, [own, *table]) is own
