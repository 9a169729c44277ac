"""Models that start from an image, on small random ones: what they are given, and told of it."""

import copy
import io
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import av
import diffusers
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from small_runs import (
    IMAGE,
    LAST,
    PROMPTS,
    draw,
    frames_for,
    info_of,
    load,
    make_joint,
    sampling_of,
    shape_of,
    size_of,
    still_flow,
)

from videojam import inner_guidance
from videojam.data import dataset, loader
from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.prepare import samples_path
from videojam.guidance.branches import Branch
from videojam.guidance.inner import GuidanceSettings
from videojam.joint.denoiser import Denoiser
from videojam.joint.family import CHANNELS
from videojam.joint.find_family import family_of
from videojam.joint.first_call import call_arguments
from videojam.joint.image import (
    GIVEN,
    Given,
    check_frames,
    image_pipeline,
    still_motion,
)
from videojam.joint.inputs import image_inputs, text_inputs
from videojam.joint.latents import encode_video, latent_channels, left_normalised
from videojam.joint.layouts import TOKENS
from videojam.joint.sizes import Size
from videojam.joint.text import stack_text
from videojam.media.video import to_pixels
from videojam.objective import FirstFrame, Objective, joint_loss, plain_loss
from videojam.rng import generator
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling, sample_latents
from videojam.training.step import MicroBatch, training_loss
from videojam.workflow.datasets import check_images
from videojam.workflow.finetune import finetune
from videojam.workflow.prepare import prepare_dataset

WAN = [
    "Wan2.1-I2V",
    "Wan2.2-I2V",
    "Wan2.1-FLF2V",
    "ChronoEdit",
    "SkyReels-V2-I2V",
]  # a mask, then the condition
HALF = ["CogVideoX-I2V", "CogVideoX-1.5-I2V", "SkyReels-V1-I2V"]  # latents of the image, zeros
CONCATENATED = [*WAN, *HALF, "HunyuanVideo-1.5-I2V"]
BLENDED = ["Wan2.2-TI2V", "LTX-Video", "LTX-2"]


@pytest.fixture
def surest(monkeypatch):
    """Pipelines that draw an image's latents from the VAE's posterior take its mean."""
    mean = DiagonalGaussianDistribution.mode
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, _=None: mean(self))


def seen_by(model: Any) -> tuple[list[dict[str, Any]], Callable[[], None]]:
    """The arguments of every call of a transformer, and how to stop listening."""
    calls: list[dict[str, Any]] = []
    handle = model.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(kwargs), with_kwargs=True
    )
    return calls, handle.remove


def first_frame(pipe: Any, seed: int = 3) -> Image.Image:
    _, height, width = size_of(pipe)
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))


def frames_of(pipe: Any, seed: int = 3) -> Given:
    """A first frame, and a last one for a model that has to have it."""
    last = first_frame(pipe, seed + 10) if "last_image" in frames_for(pipe) else None
    return Given(first_frame(pipe, seed), last)


def seen_of(pipe: Any, image: Image.Image) -> Image.Image:
    """What a model sees of an image: LTX-2, what a video codec leaves of it."""
    if not type(pipe).__name__.startswith("LTX2"):
        return image
    with io.BytesIO() as file:
        with av.open(file, "w", format="mp4") as container:
            options = {"crf": "33", "preset": "veryfast"}
            stream = container.add_stream("libx264", rate=1, options=options)
            stream.width, stream.height = image.size
            frame = av.VideoFrame.from_image(image).reformat(format="yuv420p")
            container.mux([*stream.encode(frame), *stream.encode()])
        file.seek(0)
        with av.open(file) as container:
            left = next(container.decode(video=0)).to_image()
    assert np.abs(np.asarray(left, np.float32) - np.asarray(image)).mean() > 3
    return left


# --- concatenated ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WAN)
def test_prepared_samples_hold_what_the_pipeline_gives_its_transformer(folders, trainings, name):
    """From the first frame of the prepared clip, up to the storage type."""
    settings, pipe = trainings(name, "full"), load(folders[name])
    path = samples_path(settings.out.parent / "data")
    batch = loader.load_batch(path, [0, 1])
    assert batch.images is not None and dataset.has_images(path)
    C, (_, T, *_) = latent_channels(pipe.vae), shape_of(pipe)
    first, second = (image[CHANNELS] for image in batch.images)
    assert first.shape == (4 + C, *shape_of(pipe)[1:])
    mask = torch.zeros(4, T, *first.shape[2:])
    mask[:, 0] = 1  # all four frames of the first latent frame are that of the image
    if name == "Wan2.1-FLF2V":
        mask[3, -1] = 1  # and the last one of the last
    assert torch.equal(first[:4], mask)
    assert (first - second).abs().max() > 0.1, "each clip has its own"
    # A causal VAE makes the first latent frame of the first frame alone.
    assert torch.allclose(first[4:, 0], batch.x[0, :, 0], atol=2e-2)
    seen = batch.images[0].get("encoder_hidden_states_image")
    assert (seen is None) == (name == "Wan2.2-I2V")
    if seen is not None:
        assert seen.ndim == (3 if name == "Wan2.1-FLF2V" else 2), "of two images, or of one"


@pytest.mark.parametrize("name", HALF)
def test_prepared_samples_hold_latents_of_their_own_image(folders, trainings, surest, name):
    """As the pipeline draws them, then zeros."""
    settings, pipe = trainings(name, "full"), load(folders[name])
    batch = loader.load_batch(samples_path(settings.out.parent / "data"), [0, 1])
    first, second = (image[CHANNELS] for image in batch.images or ())
    assert first.shape == shape_of(pipe) and not first[:, 1:].any()
    assert (first - second).abs().max() > 0.1
    kept = image_inputs(pipe, Given(IMAGE), size_of(pipe))[CHANNELS]
    pixels = to_pixels(torch.from_numpy(np.array(IMAGE))[None])[None]
    assert torch.allclose(kept[:, :1], encode_video(pipe.vae, pixels)[0], atol=1e-4)


@pytest.mark.parametrize("name", CONCATENATED)
def test_training_gives_the_model_what_sampling_gives_it(folders, name):
    """The same arguments for the same image, from preparation and from the stock pipeline."""
    pipe = load(folders[name])
    given, size, family = frames_of(pipe), size_of(pipe), family_of(pipe.transformer)
    kept = image_inputs(pipe, given, size)
    calls, stop = seen_by(pipe.transformer)
    noise = draw(1, *shape_of(pipe))
    asked = call_arguments(pipe, family, PROMPTS[:1], size, None)
    if family.scale_argument:
        asked[family.scale_argument] = 1.0
    else:
        pipe.guider = diffusers.ClassifierFreeGuidance(enabled=False)
    pipe(
        latents=family.layout.pack(noise), num_inference_steps=1,
        generator=generator(zlib.crc32(given.first.tobytes()), "image"),
        **given.arguments(), **asked,
    )  # fmt: skip
    denoiser = Denoiser(pipe)
    text = stack_text(text_inputs(pipe, PROMPTS[:1], size)) | stack_text([kept])
    with torch.no_grad():
        denoiser.of(pipe.transformer)(noise, denoiser.level(torch.ones(1)), text)
    stop()
    stock, ours = calls
    assert ours.keys() - {"return_dict"} <= stock.keys()
    for key, value in stock.items():
        if isinstance(value, torch.Tensor) and key != "timestep":
            assert torch.allclose(value, ours[key], atol=1e-5), key


@pytest.mark.parametrize("name", CONCATENATED)
def test_frames_that_are_given_are_of_the_sample(folders, name):
    """In a batch of two samples with images of their own, each is predicted as if alone."""
    pipe = load(folders[name])
    denoiser, size = Denoiser(pipe), size_of(pipe)
    predict = denoiser.of(pipe.transformer)
    kept = [image_inputs(pipe, frames_of(pipe, seed), size) for seed in (3, 4)]
    (text,) = text_inputs(pipe, PROMPTS[:1], size)
    z, u = draw(2, *shape_of(pipe)), torch.tensor([0.4, 0.6])
    with torch.no_grad():
        both = predict(z, denoiser.level(u), stack_text([text | one for one in kept]))
        for k in (0, 1):
            one = (z[k : k + 1], denoiser.level(u[k : k + 1]))
            alone = predict(*one, stack_text([text | kept[k]]))
            others = predict(*one, stack_text([text | kept[1 - k]]))
            assert torch.allclose(both[k], alone[0], atol=1e-5)
            assert not torch.allclose(alone, others, atol=1e-4)


@pytest.mark.parametrize("name", CONCATENATED)
def test_image_dropout_zeroes_all_that_comes_of_the_image(folders, trainings, name):
    settings, pipe = trainings(name, "full"), load(folders[name])
    make_joint(pipe)
    batch = loader.load_batch(samples_path(settings.out.parent / "data"), [0, 1])
    micro = MicroBatch(batch.x, batch.d, batch.text, [0, 1], batch.images)
    found = {}
    for dropout in (None, 1.0):
        calls, stop = seen_by(pipe.transformer)
        objective = Objective(image_dropout=dropout, text_dropout=0.0)
        training_loss(pipe.transformer, micro, {}, objective, Denoiser(pipe), seed=0)
        stop()
        found[dropout] = calls[-1]
    C, layout = latent_channels(pipe.vae), family_of(pipe.transformer).layout
    seen = [layout.unpack(call["hidden_states"], None) for call in found.values()]
    given, dropped = (hidden[:, 2 * C :] for hidden in seen)
    assert torch.equal(given[1], batch.images[1][CHANNELS])  # pyright: ignore
    assert not dropped.any()
    embedded = family_of(pipe.transformer).image_inputs
    if "image_embeds" in embedded:
        assert found[None]["image_embeds"].any() and not found[1.0]["image_embeds"].any()
    if name in WAN and name != "Wan2.2-I2V":
        assert found[None]["encoder_hidden_states_image"].any()
        assert not found[1.0]["encoder_hidden_states_image"].any()
    assert torch.equal(*(hidden[:, : 2 * C] for hidden in seen)), "noise and levels stay the same"


def test_a_part_of_a_batch_keeps_its_own_images():
    images = [{CHANNELS: torch.full((1, 1, 1, 1), float(k))} for k in range(3)]
    x = torch.zeros(3, 1, 1, 1, 1)
    part = MicroBatch(x, x, [{}, {}, {}], [5, 6, 7], images).part(1, 3)
    assert part.images == images[1:] and part.numbers == [6, 7]


# --- blended --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BLENDED)
def test_a_given_first_frame_is_clean_at_time_zero_and_not_learned(folders, name):
    pipe = load(folders[name])
    make_joint(pipe)
    layout = family_of(pipe.transformer).layout
    C, T, *rest = shape_of(pipe)
    denoiser = Denoiser(pipe)
    text = stack_text(text_inputs(pipe, PROMPTS, size_of(pipe)))
    x, d = draw(2, C, T, *rest), draw(2, C, T, *rest, seed=1)
    still = denoiser.still((T, *rest))
    first = FirstFrame(still, torch.tensor([True, False]))
    arguments: dict[str, Any] = {
        "level": denoiser.level(torch.tensor([0.4, 0.7])),
        "noise_x": draw(2, C, T, *rest, seed=2),
        "noise_d": draw(2, C, T, *rest, seed=3),
    }
    calls, stop = seen_by(pipe.transformer)
    predict = denoiser.of(pipe.transformer)
    loss = joint_loss(predict, x, d, text, first_frame=first, **arguments)
    plain = joint_loss(predict, x, d, text, **arguments)
    stop()
    hidden, without = (layout.unpack(call["hidden_states"], (T, *rest)) for call in calls)
    time = calls[0]["timestep"].view(2, T, -1)
    assert torch.equal(hidden[0, :C, 0], x[0, :, 0]) and torch.equal(
        hidden[0, C:, 0], still[0, :, 0]
    )
    assert torch.equal(hidden[0, :, 1:], without[0, :, 1:])
    assert torch.equal(hidden[1], without[1])
    assert not time[0, 0].any() and (time[0, 1:] == 400).all() and (time[1] == 700).all()
    for key in family_of(pipe.transformer).sample_times:  # of the text, and of a sound beside it
        assert torch.equal(calls[0][key], torch.tensor([400.0, 700.0]))
    # By hand: the first sample's loss has its later frames alone.
    with torch.no_grad():
        found = predict(hidden, arguments["level"], text | {GIVEN: first.given})
    target = torch.cat([arguments["noise_x"] - x, arguments["noise_d"] - d], 1)
    error = (found - target) ** 2
    expected = (error[0, :, 1:].mean() + error[1].mean()) / 2
    assert torch.allclose(loss.total, expected, rtol=1e-5)
    assert not torch.allclose(loss.total, plain.total, rtol=1e-5)
    changed = d.clone()
    changed[0, :, 0] += 5  # neither seen nor learned
    again = joint_loss(predict, x, changed, text, first_frame=first, **arguments)
    assert torch.allclose(again.total, loss.total, rtol=1e-6)


def test_a_base_is_trained_on_given_frames_too(folders):
    pipe = load(folders["Wan2.2-TI2V"])
    C, T, *rest = shape_of(pipe)
    denoiser = Denoiser(pipe)
    x = draw(1, C, T, *rest)
    first = FirstFrame(torch.zeros(1, C, 1, *rest[:2]), torch.tensor([True]))
    calls: list[Any] = []

    def predict(seen: torch.Tensor, level: Any, text: Any) -> torch.Tensor:
        calls.append((seen, text[GIVEN]))
        return torch.zeros_like(seen)

    level, noise = denoiser.level(torch.tensor([0.5])), draw(1, C, T, *rest, seed=1)
    loss = plain_loss(predict, x, {}, level=level, noise_x=noise, first_frame=first)
    assert torch.equal(calls[0][0][:, :, 0], x[:, :, 0]) and calls[0][1].all()
    assert torch.allclose(loss, ((noise - x)[:, :, 1:] ** 2).mean())


@pytest.mark.parametrize(("dropout", "expected"), [(None, 0), (1.0, 0), (0.0, 40), (0.5, 20)])
def test_image_dropout_decides_how_many_frames_are_given(folders, dropout, expected):
    pipe = load(folders["Wan2.2-TI2V"])
    C, T, *rest = shape_of(pipe)
    denoiser = Denoiser(pipe)
    given: list[torch.Tensor] = []

    def predict(seen: torch.Tensor, level: Any, text: Any) -> torch.Tensor:
        given.append(text.get(GIVEN, torch.zeros(1, dtype=torch.bool)))
        return seen

    denoiser.of = lambda _: predict
    x = draw(40, C, T, *rest)
    batch = MicroBatch(x, x, [{}] * 40, [*range(40)])
    training_loss(None, batch, {}, Objective(image_dropout=dropout), denoiser, seed=0)
    assert abs(int(given[0].sum()) - expected) <= (6 if dropout == 0.5 else 0)


@pytest.mark.parametrize("name", BLENDED)
def test_a_still_first_frame_is_what_preparation_makes_of_a_still_clip(folders, name):
    """The motion half of a given frame is the VAE's of no motion, the first of a causal one."""
    from videojam.motion.pixels import motion_pixels

    pipe = load(folders[name])
    num_frames, height, width = size_of(pipe)
    for background in ("black", "white"):
        still = motion_pixels(torch.zeros(num_frames - 1, 2, height, width), background=background)
        expected = encode_video(pipe.vae, still[None])[:, :, :1]
        found = still_motion(pipe.vae, height, width, background)
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", BLENDED)
def test_the_first_frame_of_a_clip_is_what_the_pipeline_makes_of_it(folders, surest, name):
    """So the first latent frame of a prepared clip is the condition that sampling gives."""
    pipe = image_pipeline(load(folders[name]))
    num_frames, height, width = size_of(pipe)
    rng = np.random.default_rng(0)
    clip = torch.from_numpy(rng.integers(0, 255, (num_frames, height, width, 3), dtype=np.uint8))
    given = Given(Image.fromarray(clip[0].numpy()))
    clip[0] = torch.from_numpy(np.array(seen_of(pipe, given.first)))
    x = encode_video(pipe.vae, to_pixels(clip)[None])
    family = family_of(pipe.transformer)
    with left_normalised(pipe, family):
        made = pipe(
            prompt=PROMPTS[0], image=given.first, num_inference_steps=2, output_type="latent",
            max_sequence_length=16, guidance_scale=1.0, **size_of(pipe)._asdict(),
            **family.constants,
        ).frames  # fmt: skip
    if not family.undoes_normalisation:
        made = family.pipeline_layout.unpack(made, x.shape[2:])
    assert torch.allclose(made[:, :, :1], x[:, :, :1], atol=1e-4)
    ours = sample_latents(
        pipe, [(PROMPTS[0], 0)], sampling_of(pipe, 2), 1.0, motion=False, given=given
    )
    assert torch.allclose(ours[:, :, :1], x[:, :, :1], atol=1e-4), "of our noise, too"


@pytest.mark.parametrize("name", BLENDED)
def test_a_blended_model_trains_from_images_and_starts_with_one(
    folders, trainings, tmp_path, surest, name
):
    settings = trainings(name, "full")
    objective = Objective(image_dropout=0.0)
    plain = replace(settings, out=tmp_path / "run", sample_every=0, objective=objective)
    made = finetune(settings.out.parent / "data", plain)
    jam = VideoJAM.from_pretrained(made)
    clip = jam(PROMPTS[0], image=IMAGE, num_inference_steps=2)
    C = len(clip.latents) // 2
    size = size_of(jam.pipe)
    fitted = seen_of(jam.pipe, IMAGE.resize((size.width, size.height), Image.Resampling.LANCZOS))
    pixels = to_pixels(torch.from_numpy(np.array(fitted))[None])
    expected = encode_video(jam.pipe.vae, pixels[None])
    assert torch.allclose(clip.latents[None, :C, :1], expected, atol=0.3)
    still = still_motion(jam.pipe.vae, size.height, size.width)
    assert torch.allclose(clip.latents[None, C:, :1], still, atol=1e-5)
    without = jam(PROMPTS[0], num_inference_steps=2)
    assert not torch.allclose(without.latents[C:, :1], still[0], atol=1e-2)
    stock = type(load(folders[name])).__name__
    assert type(jam.pipe).__name__ == stock, "the model's own pipeline is left as it was"


# --- read together with the caption ---------------------------------------------------------------


def test_a_caption_that_is_read_with_its_image_is_what_sampling_gives(folders):
    """Text, first frame, and the null text, as HunyuanVideo's own pipeline makes them."""
    pipe = load(folders["HunyuanVideo-I2V"])
    image, size, family = first_frame(pipe), size_of(pipe), family_of(pipe.transformer)
    kept = image_inputs(pipe, Given(image), size, prompt=PROMPTS[0])
    assert {*kept} == {*family.text_inputs}
    calls, stop = seen_by(pipe.transformer)
    noise = draw(1, *shape_of(pipe))
    pipe(
        prompt=PROMPTS[0], image=image, negative_prompt="", true_cfg_scale=3.0, latents=noise,
        num_inference_steps=1, output_type="latent", max_sequence_length=16, **size._asdict(),
    )  # fmt: skip
    denoiser = Denoiser(pipe)
    x = encode_video(pipe.vae, to_pixels(torch.from_numpy(np.array(image))[None])[None])
    first = FirstFrame(x, torch.tensor([True]))
    for text in (kept, *text_inputs(pipe, [""], size)):
        given = stack_text([text]) | {GIVEN: first.given}
        with torch.no_grad():
            denoiser.of(pipe.transformer)(first.put(noise, x), denoiser.level(torch.ones(1)), given)
    stop()
    for stock, ours in zip(calls[:2], calls[2:], strict=True):
        for key in family.text_inputs:
            assert torch.allclose(stock[key].float(), ours[key].float(), atol=1e-5), key
        shown = (stock["hidden_states"], ours["hidden_states"])
        assert torch.allclose(shown[0][:, :, :1], shown[1][:, :, :1], atol=1e-5)
        assert torch.allclose(*shown, atol=1e-2), "the noise has a trace of the image"
        assert torch.equal(stock["timestep"], ours["timestep"])
    other = image_inputs(pipe, Given(first_frame(pipe, 4)), size, prompt=PROMPTS[0])
    name = family.text_inputs[0]
    assert not torch.allclose(other[name], kept[name], atol=1e-4), "the image is read"


def test_text_dropout_takes_the_image_out_of_the_text(folders, trainings):
    settings, pipe = trainings("HunyuanVideo-I2V", "full"), load(folders["HunyuanVideo-I2V"])
    make_joint(pipe)
    batch = loader.load_batch(samples_path(settings.out.parent / "data"), [0, 1])
    assert batch.images is not None
    micro = MicroBatch(batch.x, batch.d, batch.text, [0, 1], batch.images)
    null = text_inputs(pipe, [""], size_of(pipe))[0]
    name = family_of(pipe.transformer).text_inputs[0]
    for dropout, expected in ((0.0, [one[name] for one in batch.images]), (1.0, [null[name]] * 2)):
        calls, stop = seen_by(pipe.transformer)
        objective = Objective(text_dropout=dropout)
        training_loss(pipe.transformer, micro, null, objective, Denoiser(pipe), seed=0)
        stop()
        for seen, one in zip(calls[-1][name], expected, strict=True):
            assert torch.allclose(seen[: len(one)], one, atol=1e-6)
    with pytest.raises(ValueError, match="always is an image's; leave it out"):
        data = settings.out.parent / "data"
        check_images([data], pipe, family_of(pipe.transformer), 0.5)


# --- guidance -------------------------------------------------------------------------------------


def by_hand(
    pipe: Any, given: Given, noise: torch.Tensor, settings: GuidanceSettings, steps: int
) -> torch.Tensor:
    """Image to video of Wan under Inner-Guidance as one explicit loop."""
    size, (C, T, h, w) = size_of(pipe), shape_of(pipe)
    text, null = (
        stack_text(text_inputs(pipe, [prompt], size))["encoder_hidden_states"]
        for prompt in (PROMPTS[0], "")
    )
    blended = pipe.config.get("expand_timesteps")
    pixels = [to_pixels(torch.from_numpy(np.array(image))[None])[None] for image in given if image]
    if blended:
        first = encode_video(pipe.vae, pixels[0])
        still = still_motion(pipe.vae, size.height, size.width)
        condition = torch.cat([first, still], 1)
    else:
        shown = torch.zeros(1, 3, size.num_frames, size.height, size.width)
        mask = torch.zeros(1, 4, T, h, w)
        shown[:, :, :1] = pixels[0]
        mask[:, :, 0] = 1
        if given.last is not None:
            shown[:, :, -1:] = pixels[1]
            mask[:, 3, -1] = 1
        condition = torch.cat([mask, encode_video(pipe.vae, shown)], 1)
    further = {}
    if pipe.transformer.config.image_dim is not None:
        images = [image for image in given if image]
        further["encoder_hidden_states_image"] = pipe.encode_image(images)
    scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    scheduler.set_timesteps(steps)
    latents = noise
    for step, t in enumerate(scheduler.timesteps):
        shown, time = latents.clone(), t.expand(1)
        if blended:
            shown[:, :, :1] = condition
            time = t.expand(T * h * w // 4).clone()[None]
            time[:, : h * w // 4] = 0
        total: Any = 0
        for branch, weight in settings.weights(step, steps).items():
            inputs = shown.clone()
            if not branch.has_motion:
                inputs[:, C:] = 0
            if not blended:
                inputs = torch.cat([inputs, condition], 1)
            with torch.no_grad():
                output = pipe.transformer(
                    inputs, time, text if branch.has_text else null, return_dict=False, **further
                )[0]
            total = total + weight * output
        latents = scheduler.step(total, t, latents, return_dict=False)[0]
    if blended:
        latents[:, :, :1] = condition
    return latents


def ltx_by_hand(
    pipe: Any, given: Given, noise: torch.Tensor, settings: GuidanceSettings, steps: int
) -> torch.Tensor:
    """The same of LTX, which steps all frames but the first, and of LTX-2, with a sound that is
    the joint prediction's."""
    size, (C, T, h, w) = size_of(pipe), shape_of(pipe)
    plain = getattr(diffusers, family_of(pipe.transformer).pipelines[0])(**pipe.components)
    texts = [stack_text(text_inputs(plain, [prompt], size)) for prompt in (PROMPTS[0], "")]
    image = seen_of(pipe, given.first)
    pixels = to_pixels(torch.from_numpy(np.array(image))[None])[None]
    still = still_motion(pipe.vae, size.height, size.width)
    latents = noise.clone()
    latents[:, :, :1] = torch.cat([encode_video(pipe.vae, pixels), still], 1)
    few, many = (pipe.scheduler.config[f"{name}_image_seq_len"] for name in ("base", "max"))
    low, high = (pipe.scheduler.config[f"{name}_shift"] for name in ("base", "max"))
    mu = low + (high - low) * (T * h * w - few) / (many - few)
    scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=mu)
    further: dict[str, Any] = {
        "rope_interpolation_scale": (pipe.vae_temporal_compression_ratio / 25, 32, 32)
    }
    sound, sound_scheduler = sound_of(pipe), copy.deepcopy(scheduler)
    if sound is not None:  # the pipeline takes it as its VAE gives it
        sound = (sound - pipe.audio_vae.latents_mean) / pipe.audio_vae.latents_std
    for step, t in enumerate(scheduler.timesteps):
        time = t.expand(T * h * w).clone()[None]
        time[:, : h * w] = 0
        if sound is not None:
            further = {
                "audio_hidden_states": sound, "audio_num_frames": sound.shape[1], "fps": 24.0,
                "sigma": t[None], "audio_timestep": t[None], "use_cross_timestep": True,
            }  # fmt: skip
        total: Any = 0
        heard = None
        for branch, weight in settings.weights(step, steps).items():
            inputs = latents.clone()
            if not branch.has_motion:
                inputs[:, C:] = 0
            with torch.no_grad():
                output, *others = pipe.transformer(
                    TOKENS.pack(inputs), timestep=time, num_frames=T, height=h, width=w,
                    return_dict=False, **further, **texts[not branch.has_text],
                )  # fmt: skip
            total = total + weight * TOKENS.unpack(output, (T, h, w))
            heard = others if branch is Branch.JOINT else heard
        if sound is not None and heard:
            sound = sound_scheduler.step(heard[0], t, sound, return_dict=False)[0]
        stepped = scheduler.step(total[:, :, 1:], t, latents[:, :, 1:], return_dict=False)[0]
        latents = torch.cat([latents[:, :, :1], stepped], 2)
    return latents


def sound_of(pipe: Any) -> torch.Tensor | None:
    """The noise of LTX-2's sound, (1, length, channels), of a clip at 24 frames a second."""
    if not hasattr(pipe, "audio_vae"):
        return None
    rate = (
        pipe.audio_sampling_rate / pipe.audio_hop_length / pipe.audio_vae_temporal_compression_ratio
    )
    length = round(size_of(pipe).num_frames / 24 * rate)
    return draw(1, length, pipe.transformer.config.audio_in_channels, seed=6)


GUIDED = [
    ("Wan2.1-I2V", False), ("Wan2.2-I2V", False), ("Wan2.2-I2V", True), ("Wan2.1-FLF2V", True),
    ("Wan2.2-TI2V", False), ("LTX-Video", False), ("LTX-2", False),
]  # fmt: skip


@pytest.mark.parametrize("image_scale", [0.0, 1.5])
@pytest.mark.parametrize(("name", "last"), GUIDED)
def test_guidance_with_an_image_equals_a_hand_written_loop(
    folders, surest, name, last, image_scale
):
    """No branch loses the image, the one without motion neither."""
    pipe = image_pipeline(DiffusionPipeline.from_pretrained(folders[name]))
    pipe.set_progress_bar_config(disable=True)
    make_joint(pipe)
    given, (C, *rest) = (
        Given(first_frame(pipe), first_frame(pipe, 4) if last else None),
        (shape_of(pipe)),
    )
    family, sound = family_of(pipe.transformer), sound_of(pipe)
    layout = family.pipeline_layout
    settings = GuidanceSettings(text_scale=4.0, motion_scale=2.0, image_scale=image_scale)
    noise = draw(1, 2 * C, *rest, seed=5)
    further = dict(family.constants) | ({} if sound is None else {"audio_latents": sound})

    def sample(settings: GuidanceSettings, **options: Any) -> torch.Tensor:
        with inner_guidance(pipe, settings, **options):
            found = pipe(
                prompt=PROMPTS[0], latents=(family.image_layout or layout).pack(noise),
                num_inference_steps=4, guidance_scale=5.0, output_type="latent",
                max_sequence_length=pipe.tokenizer.model_max_length,
                **given.arguments(), **size_of(pipe)._asdict(), **further,
            ).frames  # fmt: skip
            return found if family.undoes_normalisation else layout.unpack(found, rest)

    found = sample(settings)
    loop = ltx_by_hand if name.startswith("LTX") else by_hand
    expected = loop(pipe, given, noise, settings, 4)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
    if image_scale:
        assert (sample(replace(settings, image_scale=0.0)) - found).abs().max() > 1e-3
    elif last:
        at_once = sample(settings, branches_at_once=True)
        assert (at_once - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_the_image_term_is_against_the_image_alone():
    settings = GuidanceSettings(text_scale=5, motion_scale=3, image_scale=2)
    assert settings.weights(0, 10) == {
        Branch.JOINT: 11, Branch.NO_TEXT: -5, Branch.NO_MOTION: -3, Branch.NEITHER: -2,
    }  # fmt: skip
    assert settings.weights(9, 10) == {Branch.JOINT: 6, Branch.NO_TEXT: -5}, "with the motion's"
    for step in range(10):
        assert sum(settings.weights(step, 10).values()) == pytest.approx(1)
    with pytest.raises(ValueError, match="image_scale is -1"):
        GuidanceSettings(image_scale=-1)
    with pytest.raises(ValueError, match="not for mode without_flow"):
        GuidanceSettings(image_scale=1, mode="without_flow")


def test_the_image_term_works_without_text_guidance(folders):
    """Its pass without text has to be made, though the text has no weight."""
    pipe = load(folders["Wan2.2-I2V"])
    make_joint(pipe)
    jam = VideoJAM(pipe, info_of(pipe, folders["Wan2.2-I2V"]))
    clip = jam(PROMPTS[0], image=IMAGE, num_inference_steps=2, text_scale=0, image_scale=1)
    assert torch.isfinite(clip.latents).all()


# --- generating -----------------------------------------------------------------------------------


def test_every_prompt_has_its_own_image(folders):
    pipe = load(folders["Wan2.2-I2V"])
    make_joint(pipe)
    jam = VideoJAM(pipe, info_of(pipe, folders["Wan2.2-I2V"]))
    black, white = (Image.new("RGB", (32, 32), colour) for colour in ("black", "white"))
    options: Any = {"num_inference_steps": 2, "batch_size": 2}
    both = jam([PROMPTS[0]] * 2, image=[black, white], **options)
    alone = jam(PROMPTS[0], image=white, **options)
    assert torch.allclose(both[1].latents, alone.latents, atol=1e-5)
    assert not torch.allclose(both[0].latents, alone.latents, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Wan2.2-I2V", {}, "begin with an image; give one"),
        ("Wan2.1", {"image": IMAGE}, "takes no image; give one to an image-to-video model"),
        ("Wan2.1", {"image_scale": 1.0}, "none is given; leave it out"),
        ("Wan2.2-I2V", {"image": "no such file.png"}, "cannot be read as an image"),
        ("Wan2.2-I2V", {"image": [IMAGE, IMAGE]}, "2 images for 1 clips"),
        ("Wan2.2-I2V", {"last_image": LAST}, "no first one"),
        ("Wan2.1-I2V", {"image": IMAGE, "last_image": LAST}, "takes no last frame beside"),
        ("Wan2.1-FLF2V", {"image": IMAGE}, "no last one is given"),
    ],
)
def test_a_missing_or_idle_image_is_refused(folders, name, options, message):
    pipe = load(folders[name])
    make_joint(pipe)
    jam = VideoJAM(pipe, info_of(pipe, folders[name]))
    with pytest.raises(ValueError, match=message):
        jam(PROMPTS[0], num_inference_steps=1, **options)


def test_a_clip_has_the_size_that_is_asked_for_whatever_the_shape_of_its_image(folders):
    """HunyuanVideo 1.5's own pipeline would take one from a list by the image's shape."""
    pipe = load(folders["HunyuanVideo-1.5-I2V"])
    base = load(folders["HunyuanVideo-1.5-I2V"])
    make_joint(pipe)
    jam = VideoJAM(pipe, info_of(pipe, folders["HunyuanVideo-1.5-I2V"]))
    options: Any = {"num_inference_steps": 2, "height": 32, "width": 96}
    clip = jam(PROMPTS[0], image=Image.new("RGB", (40, 80)), **options)
    assert clip.video.shape[1:] == (32, 96, 3)
    sampling = jam.resolve(Sampling(**options))
    (video,) = base_videos(base, [(PROMPTS[0], 0)], sampling, images=[IMAGE])
    assert video.shape == clip.video.shape
    assert jam(PROMPTS[0], image=IMAGE, num_inference_steps=1).video.shape[1:] == (64, 64, 3)
    kept = image_inputs(base, Given(Image.new("RGB", (96, 32))), Size(5, 32, 96))
    assert kept[CHANNELS].shape == (33, 2, 2, 6), "preparation, too"
    assert not pipe.video_processor.__dict__.get("calculate_default_height_width")


def test_a_clip_ends_with_its_own_last_image(folders):
    pipe = load(folders["Wan2.2-I2V"])
    make_joint(pipe)
    jam = VideoJAM(pipe, info_of(pipe, folders["Wan2.2-I2V"]))
    options: Any = {"num_inference_steps": 2}
    both = jam([PROMPTS[0]] * 2, image=IMAGE, last_image=[IMAGE, LAST], **options)
    alone = jam(PROMPTS[0], image=IMAGE, last_image=LAST, **options)
    without = jam(PROMPTS[0], image=IMAGE, **options)
    assert torch.equal(both[1].latents, alone.latents)
    for other in (both[0], without):
        assert not torch.allclose(other.latents, alone.latents, atol=1e-3)


def test_training_refuses_other_frames_than_the_model_takes(folders, trainings):
    first_last, first = (
        trainings(name, "full").out.parent / "data" for name in ("Wan2.1-FLF2V", "Wan2.1-I2V")
    )
    for name, data, message in (
        ("Wan2.1-FLF2V", first, "first frames alone"),
        ("Wan2.1-I2V", first_last, "holds last frames too"),
    ):
        pipe = load(folders[name])
        with pytest.raises(ValueError, match=message):
            check_images([data], pipe, family_of(pipe.transformer), None)
    family = family_of(load(folders["Wan2.2-I2V"]).transformer)
    check_frames(family, last=True)
    check_frames(family, last=False)


@pytest.mark.parametrize(
    ("name", "last", "message"),
    [
        ("Wan2.1", True, "takes no last frame beside the first"),
        ("CogVideoX-I2V", True, "takes no last frame beside the first"),
        ("Wan2.1-FLF2V", False, "no last one is given .* videojam prepare --last-frame"),
    ],
)
def test_preparation_refuses_frames_that_the_model_does_not_take(
    folders, tmp_path, name, last, message
):
    config = PrepareConfig(
        videos=tmp_path, out=tmp_path / "data", model=str(folders[name]), sizes=((32, 32),),
        num_frames=size_of(load(folders[name])).num_frames, last_frame=last,
    )  # fmt: skip
    with pytest.raises(ValueError, match=message):
        prepare_dataset(config, still_flow)


def test_training_refuses_what_has_no_image(folders, trainings):
    text_to_video = trainings("Wan2.1", "full").out.parent / "data"
    pipe = load(folders["Wan2.2-I2V"])
    with pytest.raises(ValueError, match="holds no images"):
        check_images([text_to_video], pipe, family_of(pipe.transformer), None)
    plain = load(folders["Wan2.1"])
    with pytest.raises(ValueError, match=r"image_dropout is 0\.5, but"):
        check_images([text_to_video], plain, family_of(plain.transformer), 0.5)
