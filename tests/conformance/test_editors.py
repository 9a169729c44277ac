"""Lucy-Edit, which makes of a clip what the prompt asks for: the clip is always given."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from small_runs import (
    PROMPTS,
    control_of,
    draw,
    info_of,
    load,
    make_joint,
    sampling_of,
    shape_of,
    size_of,
    still_flow,
    write_clip,
)

from videojam import inner_guidance, widen
from videojam.data import loader
from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.prepare import samples_path
from videojam.guidance.inner import GuidanceSettings
from videojam.joint.control import control_inputs
from videojam.joint.denoiser import Denoiser
from videojam.joint.family import CHANNELS
from videojam.joint.find_family import family_of
from videojam.joint.inputs import text_inputs
from videojam.joint.latents import encode_video, join, split
from videojam.joint.text import stack_text
from videojam.media.video import to_pixels
from videojam.objective import Objective
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling, sample_latents
from videojam.training.step import control_dropout
from videojam.workflow.finetune import finetune
from videojam.workflow.prepare import prepare_dataset

NAME = "Lucy-Edit"


def latents_of(pipe: Any, control: Any) -> torch.Tensor:
    return encode_video(pipe.vae, to_pixels(control.video)[None])[0]


def test_the_model_is_given_the_latents_of_its_clip(folders):
    """By the stock pipeline, by preparation, and by sampling of the base."""
    pipe = DiffusionPipeline.from_pretrained(folders[NAME])
    pipe.set_progress_bar_config(disable=True)
    control, (C, *rest) = control_of(pipe), shape_of(pipe)
    family, noise = family_of(pipe.transformer), draw(1, C, *rest)
    kept = control_inputs(pipe, control, size_of(pipe))
    assert {*kept} == {CHANNELS} == {*family.control_inputs}
    assert torch.allclose(kept[CHANNELS], latents_of(pipe, control), atol=1e-4)
    calls: list[dict[str, Any]] = []
    handle = pipe.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(kwargs), with_kwargs=True
    )
    stock = pipe(
        prompt=PROMPTS[0], latents=noise, num_inference_steps=2, guidance_scale=5.0,
        output_type="latent", max_sequence_length=16, negative_prompt="",
        **control.arguments(family), **size_of(pipe)._asdict(),
    ).frames  # fmt: skip
    handle.remove()
    assert torch.allclose(calls[0]["hidden_states"][0, C:], kept[CHANNELS], atol=1e-5)
    ours = sample_latents(
        pipe, [(PROMPTS[0], 0)], sampling_of(pipe, 2), 5.0, motion=False, latents=noise,
        control=control,
    )  # fmt: skip
    assert torch.allclose(ours, stock, atol=1e-5)


def test_each_sample_is_predicted_with_its_own_clip_whatever_the_motion(folders):
    pipe = load(folders[NAME])
    size, shape = size_of(pipe), shape_of(pipe)
    kept = [control_inputs(pipe, control_of(pipe, seed), size) for seed in (3, 4)]
    texts = text_inputs(pipe, PROMPTS[:1], size)
    wide, denoiser = widen(pipe.transformer, latent_channels=shape[0]), Denoiser(pipe)
    x, u = draw(2, *shape), torch.tensor([0.3, 0.8])
    with torch.no_grad():
        text = stack_text([texts[0] | one for one in kept])
        expected = denoiser.of(pipe.transformer)(x, denoiser.level(u), text)
        found = split(denoiser.of(wide)(join(x, 9 * draw(2, *shape)), denoiser.level(u), text))
        assert torch.equal(found.x, expected) and not found.d.any()
        for k in (0, 1):
            level = denoiser.level(u[k : k + 1])
            own, other = (
                denoiser.of(pipe.transformer)(x[k : k + 1], level, stack_text([texts[0] | one]))[0]
                for one in (kept[k], kept[1 - k])
            )
            assert torch.allclose(own, expected[k], atol=1e-5)
            assert not torch.allclose(other, expected[k], atol=1e-4)


@pytest.mark.parametrize("at_once", [False, True])
def test_guidance_equals_a_hand_written_loop(folders, at_once):
    """No branch loses the clip, the one without motion neither."""
    pipe = load(folders[NAME])
    make_joint(pipe)
    control, (C, T, h, w) = control_of(pipe, 7), shape_of(pipe)
    settings = GuidanceSettings(text_scale=4.0, motion_scale=2.0)
    noise = draw(1, 2 * C, T, h, w, seed=5)
    sampling = sampling_of(pipe, text_scale=4.0, motion_scale=2.0)
    with inner_guidance(pipe, settings, branches_at_once=at_once):
        found = sample_latents(
            pipe, [(PROMPTS[0], 0)], sampling, 5.0, motion=True, latents=noise, control=control
        )
    text, null = (
        stack_text(text_inputs(pipe, [prompt], size_of(pipe)))["encoder_hidden_states"]
        for prompt in (PROMPTS[0], "")
    )
    scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    scheduler.set_timesteps(4)
    latents, clip = noise, latents_of(pipe, control)[None]
    for step, t in enumerate(scheduler.timesteps):
        total: Any = 0
        for branch, weight in settings.weights(step, 4).items():
            seen = torch.cat([latents, clip], 1)
            if not branch.has_motion:
                seen[:, C : 2 * C] = 0
            with torch.no_grad():
                output = pipe.transformer(
                    seen, t.expand(1, T * h * w // 4), text if branch.has_text else null,
                    return_dict=False,
                )[0]  # fmt: skip
            total = total + weight * output
        latents = scheduler.step(total, t, latents, return_dict=False)[0]
    assert (found - latents).abs().max() <= 1e-4 * latents.abs().max()


def test_samples_hold_their_clips_and_what_has_none_is_dropped(folders, trainings, tmp_path):
    settings, pipe = trainings(NAME, "full"), load(folders[NAME])
    batch = loader.load_batch(samples_path(settings.out.parent / "data"), [0, 1])
    first, second = (image[CHANNELS] for image in batch.images or ())
    # Each is the edit of the other.
    assert torch.allclose(first, batch.x[1], atol=2e-2)
    assert torch.allclose(second, batch.x[0], atol=2e-2)
    size = size_of(pipe)
    for seed in (0, 1):
        write_clip(tmp_path / "videos" / f"{seed}.mp4", size, "", seed)
    (tmp_path / "c.csv").write_text("path,caption,control\n0.mp4,a,1.mp4\n1.mp4,b,\n")
    config = PrepareConfig(
        videos=tmp_path / "videos", out=tmp_path / "data", model=str(folders[NAME]), fps=8.0,
        sizes=((size.height, size.width),), num_frames=size.num_frames, previews=0, num_workers=0,
        captions=tmp_path / "c.csv", controls=True,
    )  # fmt: skip
    report = prepare_dataset(config, still_flow)
    assert report.prepared == 1
    (gone,) = report.dropped
    assert gone.name == "1.mp4" and "no control, and the model is always given one" in gone.reason
    with pytest.raises(ValueError, match="edits a clip; name it for each video in the column"):
        prepare_dataset(replace(config, controls=False, out=tmp_path / "other"), still_flow)


def test_training_without_clips_or_with_idle_options_is_refused(folders, trainings, tmp_path):
    settings = trainings(NAME, "full")
    data = settings.out.parent / "data"
    run = replace(settings, out=tmp_path / "run")
    family = family_of(load(folders[NAME]).transformer)
    assert control_dropout(Objective(), family) == 0
    with pytest.raises(ValueError, match=r"control_dropout is 0\.1, but LucyEditPipeline is alway"):
        finetune(data, replace(run, objective=Objective(control_dropout=0.1)))
    with pytest.raises(ValueError, match="sample_every is 2, but LucyEditPipeline edits a clip"):
        finetune(data, replace(run, sample_every=2))
    other = trainings("Wan2.2-TI2V", "full").out.parent / "data"
    with pytest.raises(ValueError, match="holds no control clips, and LucyEditPipeline edits one"):
        finetune(other, run, str(folders[NAME]))


def test_sampling_without_a_clip_or_with_a_mask_is_refused(folders):
    pipe = DiffusionPipeline.from_pretrained(folders[NAME])
    pipe.set_progress_bar_config(disable=True)
    asked = sampling_of(pipe, 1)
    with pytest.raises(ValueError, match="LucyEditPipeline edits a clip, and none is given"):
        next(base_videos(pipe, [("a", 0)], asked))
    masked = control_of(pipe, masked=True)
    with pytest.raises(ValueError, match="LucyEditPipeline takes no mask beside its clip"):
        next(base_videos(pipe, [("a", 0)], asked, controls=[masked]))
    make_joint(pipe)
    jam = VideoJAM(pipe, info_of(pipe, folders[NAME]))
    with pytest.raises(ValueError, match="edits a clip, and none is given"):
        jam(PROMPTS[0], num_inference_steps=1)
    one, other = (
        jam(PROMPTS[0], num_inference_steps=2, control=control_of(pipe, seed)) for seed in (3, 4)
    )
    assert (one.latents - other.latents).abs().max() > 1e-3
    assert jam.resolve(Sampling()).num_frames == len(one.video)
