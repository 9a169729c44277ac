"""Models that follow a control clip, on small random ones: what they are given of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
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
)

from videojam import inner_guidance, widen
from videojam.guidance.inner import GuidanceSettings
from videojam.joint.checkpoint import save_folder
from videojam.joint.control import Control, control_inputs, white_where_bright
from videojam.joint.denoiser import Denoiser
from videojam.joint.find_family import family_of
from videojam.joint.inputs import text_inputs
from videojam.joint.latents import join, latent_channels, split
from videojam.joint.text import stack_text
from videojam.objective import joint_loss
from videojam.sampling.controls import fitted_control
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling, sample_latents

NAME = "Wan-VACE"
CONTROL = "control_hidden_states"


def stock_arguments(control: Control) -> dict[str, Any]:
    """As a user of the stock pipeline would write them."""
    frames = [Image.fromarray(frame) for frame in control.video.numpy()]
    if control.mask is None:
        return {"video": frames}
    white = [Image.fromarray(np.where(one, 255, 0).astype(np.uint8)) for one in control.mask]
    return {"video": frames, "mask": white}


def heard(pipe: Any, **given: Any) -> dict[str, Any]:
    """What the transformer is given in the first step of the stock pipeline, and its answer's."""
    calls: list[dict[str, Any]] = []
    handle = pipe.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(kwargs), with_kwargs=True
    )
    pipe(
        prompt=PROMPTS[0], num_inference_steps=1, guidance_scale=1.0, output_type="latent",
        max_sequence_length=16, **size_of(pipe)._asdict(), **given,
    )  # fmt: skip
    handle.remove()
    return calls[0]


@pytest.mark.parametrize("masked", [False, True])
def test_training_gives_the_model_what_sampling_gives_it(folders, masked):
    """The same arguments for the same control, from preparation and from the stock pipeline."""
    pipe = load(folders[NAME])
    control, size, noise = control_of(pipe, masked=masked), size_of(pipe), draw(1, *shape_of(pipe))
    kept = control_inputs(pipe, control, size)
    stock = heard(pipe, latents=noise, **stock_arguments(control))
    C, T, *rest = shape_of(pipe)
    assert {*kept} == {CONTROL} and kept[CONTROL].shape == (2 * C + 64, T, *rest)
    assert torch.equal(kept[CONTROL], stock[CONTROL][0])
    inactive, reactive, mask = kept[CONTROL].split([C, C, 64])
    assert reactive.any() and inactive.any() == masked
    half = torch.ones(64, *rest)
    half[:, :, rest[1] // 2 :] = 0
    assert torch.equal(mask[:, 0], half if masked else torch.ones_like(half))
    assert (mask[:, 1] == 1).all()
    # What training calls the transformer with is what the pipeline called it with.
    denoiser = Denoiser(pipe)
    text = stack_text(text_inputs(pipe, PROMPTS[:1], size)) | stack_text([kept])
    calls: list[dict[str, Any]] = []
    handle = pipe.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(kwargs), with_kwargs=True
    )
    with torch.no_grad():
        denoiser.of(pipe.transformer)(noise, denoiser.level(torch.ones(1)), text)
    handle.remove()
    for key, value in stock.items():
        if isinstance(value, torch.Tensor) and key != "timestep":
            assert torch.allclose(value, calls[0][key], atol=1e-5), key


def test_without_a_control_the_model_is_given_what_its_pipeline_makes_of_none(folders):
    """Not zeros: a mask that is white, which says that nothing is kept."""
    pipe = load(folders[NAME])
    stock = heard(pipe, latents=draw(1, *shape_of(pipe)))[CONTROL][0]
    denoiser, shape = Denoiser(pipe), shape_of(pipe)
    ours = denoiser.without_control(pipe.transformer, (3, *shape), torch.device("cpu"))
    assert {*ours} == {CONTROL} and torch.equal(ours[CONTROL], stock)
    assert (stock[-64:] == 1).all()


def _conditions(pipe: Any) -> dict[str, torch.Tensor]:
    size = size_of(pipe)
    controls = [control_of(pipe), control_of(pipe, 4, masked=True)]
    return stack_text(text_inputs(pipe, PROMPTS, size)) | stack_text(
        [control_inputs(pipe, one, size) for one in controls]
    )


def test_exact_at_initialisation_with_a_control(folders):
    """The base's answer to the control is left, whatever the motion; each sample has its own."""
    pipe = load(folders[NAME])
    shape, text = shape_of(pipe), _conditions(pipe)
    wide, denoiser = widen(pipe.transformer, latent_channels=shape[0]), Denoiser(pipe)
    level, x = denoiser.level(torch.tensor([0.3, 0.8])), draw(2, *shape)
    with torch.no_grad():
        expected = denoiser.of(pipe.transformer)(x, level, text)
        for d in (10 * draw(2, *shape, seed=1), torch.zeros_like(x)):
            found = split(denoiser.of(wide)(join(x, d), level, text))
            assert torch.equal(found.x, expected) and not found.d.any()
        other = {**text, CONTROL: text[CONTROL].flip(0)}
        swapped = denoiser.of(pipe.transformer)(x, level, other)
        assert ((swapped - expected).abs().amax((1, 2, 3, 4)) > 1e-4).all()
    own = pipe.transformer.vace_patch_embedding.weight
    assert torch.equal(wide.vace_patch_embedding.weight, own), "not widened"


def test_gradients_of_both_halves_reach_the_control_and_its_blocks(folders):
    pipe = load(folders[NAME])
    make_joint(pipe)
    shape, text, denoiser = shape_of(pipe), _conditions(pipe), Denoiser(pipe)
    text[CONTROL].requires_grad_()
    loss = joint_loss(
        denoiser.of(pipe.transformer), draw(2, *shape), draw(2, *shape, seed=1), text,
        level=denoiser.level(torch.tensor([0.4, 0.6])),
        noise_x=draw(2, *shape, seed=2), noise_d=draw(2, *shape, seed=3),
    )  # fmt: skip
    for half in (loss.appearance, loss.motion):
        names = ("vace_patch_embedding.weight", "vace_blocks.0.proj_in.weight")
        wanted = [text[CONTROL], *map(pipe.transformer.get_parameter, names)]
        for gradient in torch.autograd.grad(half, wanted, retain_graph=True):
            assert gradient.abs().max() > 0


def by_hand(
    pipe: Any, control: Control, noise: torch.Tensor, settings: GuidanceSettings, steps: int
) -> torch.Tensor:
    """Inner-Guidance with a control in every branch as one explicit loop."""
    size, C = size_of(pipe), latent_channels(pipe.vae)
    text, null = (
        stack_text(text_inputs(pipe, [prompt], size))["encoder_hidden_states"]
        for prompt in (PROMPTS[0], "")
    )
    condition = control_inputs(pipe, control, size)[CONTROL][None]
    scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    scheduler.set_timesteps(steps)
    latents = noise.clone()
    for step, t in enumerate(scheduler.timesteps):
        total: Any = 0
        for branch, weight in settings.weights(step, steps).items():
            seen = latents.clone()
            if not branch.has_motion:
                seen[:, C:] = 0
            with torch.no_grad():
                output = pipe.transformer(
                    hidden_states=seen, timestep=t.expand(1), return_dict=False,
                    encoder_hidden_states=text if branch.has_text else null,
                    control_hidden_states=condition,
                )[0]  # fmt: skip
            total = total + weight * output
        latents = scheduler.step(total, t, latents, return_dict=False)[0]
    return latents


@pytest.mark.parametrize("at_once", [False, True])
def test_guidance_with_a_control_equals_a_hand_written_loop(folders, at_once):
    """No branch loses the control."""
    pipe = load(folders[NAME])
    make_joint(pipe)
    control, (C, *rest) = control_of(pipe, masked=True), shape_of(pipe)
    settings = GuidanceSettings(text_scale=4.0, motion_scale=2.0)
    noise = draw(1, 2 * C, *rest, seed=5)
    sampling = sampling_of(pipe, text_scale=4.0, motion_scale=2.0)

    def sample(**given: Any) -> torch.Tensor:
        with inner_guidance(pipe, settings, branches_at_once=at_once):
            return sample_latents(
                pipe, [(PROMPTS[0], 0)], sampling, 5.0, motion=True, latents=noise, **given
            )

    expected = by_hand(pipe, control, noise, settings, 4)
    assert (sample(control=control) - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert (sample() - expected).abs().max() > 1e-3 * expected.abs().max()


def test_every_prompt_has_its_own_control_and_the_base_the_same(folders, tmp_path):
    """Saved and loaded; in a list; and a mask of one frame is that of all."""
    pipe = load(folders[NAME])
    base = load(folders[NAME])
    make_joint(pipe)
    save_folder(pipe, tmp_path / "joint", info_of(pipe, folders[NAME]))
    jam = VideoJAM.from_pretrained(tmp_path / "joint")
    first, second = control_of(pipe), control_of(pipe, 4, masked=True)
    options: Any = {"num_inference_steps": 2, "batch_size": 2}
    both = jam([PROMPTS[0]] * 2, control=[first, second], **options)
    alone = jam(PROMPTS[0], control=second, **options)
    assert torch.equal(both[1].latents, alone.latents)
    for other in (both[0], jam(PROMPTS[0], **options)):
        assert (other.latents - alone.latents).abs().max() > 1e-3
    weaker = jam(PROMPTS[0], control=second, conditioning_scale=0.0, **options)
    unheard = jam(PROMPTS[0], conditioning_scale=0.0, **options)
    assert torch.equal(weaker.latents, unheard.latents)
    still = Control(first.video, second.mask[:1])  # pyright: ignore[reportOptionalSubscript]
    spread = Control(first.video, still.mask.expand(len(first.video), -1, -1))  # pyright: ignore
    found = [jam(PROMPTS[0], control=one, **options).latents for one in (still, spread)]
    assert torch.equal(*found)
    samples, sampling = [(PROMPTS[0], 0)], jam.resolve(Sampling(num_inference_steps=2))
    shown, other = (
        next(iter(base_videos(base, samples, sampling, controls=[one]))) for one in (first, second)
    )
    stock = base(
        prompt=PROMPTS[0], num_inference_steps=2, guidance_scale=6.0, output_type="latent",
        latents=split(_noise(jam)).x, max_sequence_length=16, **size_of(base)._asdict(),
        **stock_arguments(first),
    ).frames  # fmt: skip
    latents = sample_latents(base, samples, sampling, 6.0, motion=False, control=first)
    assert torch.allclose(latents, stock, atol=1e-5)
    assert not torch.equal(shown, other)


def test_a_control_is_cut_about_its_middle_with_its_mask():
    sampling = Sampling(num_frames=2, height=32, width=32)
    video = torch.zeros(2, 64, 128, 3, dtype=torch.uint8)
    video[:, :, 48:] = 255  # 16 of the 64 pixels that are kept, halved; squeezed it were at 12
    cut = fitted_control(Control(video, video[..., 0] > 0), sampling)
    assert cut.video.shape == (2, 32, 32, 3) and cut.mask is not None
    assert (cut.video[:, :, :6] < 3).all() and (cut.video[:, :, 10:] > 252).all()
    assert not cut.mask[:, :, :8].any() and cut.mask[:, :, 8:].all()


def _noise(jam: VideoJAM) -> torch.Tensor:
    from videojam.sampling.pipeline import initial_noise

    return initial_noise(0, shape_of(jam.pipe))[None]


def test_what_is_no_control_of_the_clip_is_refused(folders):
    pipe, plain = load(folders[NAME]), load(folders["Wan2.1"])
    make_joint(pipe)
    make_joint(plain)
    jam, other = (VideoJAM(p, info_of(p, folders[n])) for n, p in ((NAME, pipe), ("Wan2.1", plain)))
    control = control_of(pipe, masked=True)
    video, mask = control.video, control.mask
    assert mask is not None
    for model, given, message in (
        (other, {"control": control}, "takes no control clip; give one to a model that does"),
        (jam, {"control": [control] * 2}, "2 controls for 1 clips"),
        (jam, {"control": video}, "is a Tensor, expected a Control"),
        (jam, {"control": Control(video.float())}, r"torch.float32 \(5, 32, 32, 3\), expected"),
        (jam, {"control": Control(video[0])}, r"expected uint8 frames \(F, H, W, 3\)"),
        (jam, {"control": Control(video[:4])}, "has 4 frames, expected 5"),
        (jam, {"control": Control(video, mask.float())}, "torch.float32 .* expected bool"),
        (jam, {"control": Control(video, mask[:3])}, r"\(3, 32, 32\), expected bool"),
        (jam, {"control": Control(video, mask[:, :16])}, r"is of \(16, 32\) pixels, the control"),
        (jam, {"control": control, "video": [IMAGE] * 5}, "and video too; give the control"),
        (jam, {"reference_images": [IMAGE]}, "reference_images of WanVACEPipeline cannot be given"),
    ):
        with pytest.raises(ValueError, match=message):
            model(PROMPTS[0], num_inference_steps=1, **given)
    with pytest.raises(ValueError, match="takes no control clip"):
        control_inputs(plain, control, size_of(plain))
    with pytest.raises(ValueError, match="takes no control clip"):
        next(base_videos(plain, [("a", 0)], other.resolve(Sampling()), controls=[control]))


IMAGE = Image.new("RGB", (32, 32))


def test_a_mask_is_white_where_it_is_bright():
    frames = torch.tensor([0, 100, 127, 128, 200, 255], dtype=torch.uint8)
    found = white_where_bright(frames.view(1, 2, 3, 1).expand(1, 2, 3, 3))
    assert found.flatten().tolist() == [False] * 3 + [True] * 3


def test_the_faster_way_is_measured_with_the_control(folders):
    from videojam.sampling.at_once import faster_at_once

    pipe = load(folders[NAME])
    make_joint(pipe)
    jam = VideoJAM(pipe, info_of(pipe, folders[NAME]))
    seen: list[torch.Tensor] = []
    handle = pipe.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs[CONTROL]), with_kwargs=True
    )
    control = control_of(pipe)
    sampling = replace(jam.resolve(Sampling()), num_inference_steps=2)
    assert faster_at_once(jam, sampling, control=control) in (True, False)
    handle.remove()
    expected = control_inputs(pipe, control, size_of(pipe))[CONTROL]
    assert all(torch.equal(one[0], expected) for one in seen)
    assert family_of(pipe.transformer).control_inputs == (CONTROL,)
