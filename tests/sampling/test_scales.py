"""How strongly the base is guided in a comparison, and what decides a sample's randomness."""

import functools

import pytest
import torch
from small_models import MODELS, wan

from videojam import VideoJAM, widen
from videojam.joint.checkpoint import JointInfo
from videojam.joint.latents import latent_channels
from videojam.joint.sizes import pixel_size
from videojam.rng import generator
from videojam.sampling.generate import base_videos
from videojam.sampling.pipeline import Sampling
from videojam.sampling.texts import Texts, cut_prompts

PROMPT = "a red ball rolls"


def sampling_of(pipe, latents=(2, 4, 4), **changes):
    return Sampling(**pixel_size(pipe, latents)._asdict(), num_inference_steps=2, **changes)


def joint(pipe, latents=(2, 4, 4)):
    C = latent_channels(pipe.vae)
    pipe.register_modules(transformer=widen(pipe.transformer, latent_channels=C))
    pipe.set_progress_bar_config(disable=True)
    size = pixel_size(pipe, latents)
    return VideoJAM(pipe, JointInfo(fps=8.0, **size._asdict()))


def calls_of(pipe, monkeypatch):
    """Arguments of every call of the pipeline, and its guider's scale."""
    stock, seen = type(pipe).__call__, []

    def call(self, *args, **options):
        guider = getattr(self, "guider", None)
        seen.append(options | {"guider": guider and getattr(guider, "guidance_scale", None)})
        return stock(self, *args, **options)

    monkeypatch.setattr(type(pipe), "__call__", functools.wraps(stock)(call))
    return seen


@pytest.mark.parametrize(
    ("make", "name", "scale"),
    [
        (wan, "guidance_scale", 6.0),
        (MODELS["HunyuanVideo"], "true_cfg_scale", 6.0),
        (MODELS["Cosmos-1"], "guidance_scale", 5.0),  # which guides with c + s (c - u)
        (MODELS["HunyuanVideo-1.5"], "guider", 6.0),
    ],
)
def test_the_base_is_guided_by_one_plus_the_text_scale(make, name, scale, monkeypatch):
    pipe = make()
    pipe.set_progress_bar_config(disable=True)
    seen = calls_of(pipe, monkeypatch)
    next(base_videos(pipe, [(PROMPT, 0)], sampling_of(pipe, text_scale=5.0), fps=8.0))
    assert seen[0][name] == scale


def test_what_else_a_pipeline_draws_comes_from_the_seed(monkeypatch):
    jam = joint(MODELS["CogVideoX"](), (3, 4, 4))
    seen = calls_of(jam.pipe, monkeypatch)
    jam(["a ball", "a dog"], seed=[3, 4], num_inference_steps=2)
    assert [call["generator"][0].initial_seed() for call in seen] == [
        generator(seed, "pipeline").initial_seed() for seed in (3, 4)
    ]


# --- the call -------------------------------------------------------------------------------------


def test_lists_of_prompts_and_seeds():
    jam = joint(wan())
    clips = jam(["a red ball", "a dog"], seed=[5, 6], num_inference_steps=2, batch_size=2)
    assert [(clip.prompt, clip.seed) for clip in clips] == [("a red ball", 5), ("a dog", 6)]
    alone = jam("a dog", seed=6, num_inference_steps=2)
    torch.testing.assert_close(clips[1].latents, alone.latents, rtol=1e-3, atol=1e-4)
    for wrong, message in (
        ({"prompt": ["a", "b"], "seed": [1]}, "1 seeds for 2 prompts"),
        ({"prompt": ["a", 3]}, "expected a str or a list"),
        ({}, "there is no prompt"),
    ):
        with pytest.raises(ValueError, match=message):
            jam(**wrong)


def test_embeddings_in_place_of_prompts():
    jam = joint(wan())
    expected = jam(PROMPT, num_inference_steps=2)
    with torch.no_grad():
        text, null = jam.pipe.encode_prompt(PROMPT, "", True, max_sequence_length=16)
    found = jam(prompt_embeds=text, negative_prompt_embeds=null, num_inference_steps=2)
    torch.testing.assert_close(found.latents, expected.latents, rtol=1e-5, atol=1e-5)


def test_arguments_of_the_pipeline_reach_it(monkeypatch):
    jam = joint(MODELS["HunyuanVideo"]())
    seen = calls_of(jam.pipe, monkeypatch)
    steps = []
    jam(
        PROMPT, num_inference_steps=2, guidance_scale=2.5, max_sequence_length=8,
        callback_on_step_end=lambda pipe, step, time, given: steps.append(step) or given,
    )  # fmt: skip
    assert (seen[0]["guidance_scale"], seen[0]["max_sequence_length"]) == (2.5, 8)
    assert steps == [0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance_scale": 3}, "guidance_scale is not for the caller.*text_scale"),
        ({"latents": 3}, "latents in `pipeline` are set by videojam"),
        ({"text_scal": 3}, "WanPipeline takes no text_scal; it takes prompt"),
    ],
)
def test_arguments_that_would_not_act_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        joint(wan())(PROMPT, **options)


def test_each_text_is_encoded_once():
    jam, runs = joint(wan()), []
    jam.pipe.text_encoder.encoder.register_forward_pre_hook(lambda *_: runs.append(1))
    sampling = jam.resolve(Sampling(num_inference_steps=2))
    samples = [(PROMPT, seed) for seed in range(3)] + [("a dog", 0)]
    expected = [jam(prompt, seed, num_inference_steps=2).latents for prompt, seed in samples]
    runs.clear()
    texts = Texts()
    found = [clip.latents for clip in jam.clips(samples, sampling, texts=texts)]
    assert len(runs) == 3, "two prompts and the null text"
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    list(jam.clips(samples, sampling, texts=texts))
    assert len(runs) == 3
    assert "forward" not in vars(jam.pipe.text_encoder), "nothing is left on the encoder"


def test_steps_are_reported():
    jam, steps = joint(wan()), []
    sampling = jam.resolve(Sampling(num_inference_steps=3))
    list(jam.clips([(PROMPT, 0), (PROMPT, 1)], sampling, on_step=lambda: steps.append(1)))
    assert len(steps) == 6


def test_prompts_that_are_cut_are_named():
    pipe = wan()
    long = "a red ball rolls slowly left and a blue ball rolls slowly right over the table"
    cut = cut_prompts(pipe, [PROMPT, long, long])
    assert list(cut) == [long]
    assert cut[long] == len(pipe.tokenizer(long).input_ids) - 16 > 0
    assert cut_prompts(pipe, [PROMPT], limit=2)[PROMPT] == len(pipe.tokenizer(PROMPT).input_ids) - 2


def test_a_size_that_the_pipeline_rounds_is_refused_before_the_call():
    jam = joint(MODELS["SANA-Video"]())
    with pytest.raises(ValueError, match="expected a multiple of 32"):
        jam.resolve(Sampling(height=48, width=48))
