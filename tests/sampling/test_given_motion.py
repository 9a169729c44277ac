"""Motion that is given in place of sampled, against a loop written by hand."""

from typing import Any

import pytest
import torch
from guidance_sampling import SHAPE, SIZE, TEXT, C, embeddings, joint_pipeline

from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.pipelines import inner_guidance
from videojam.joint.find_family import family_named, family_of
from videojam.joint.info import JointInfo
from videojam.joint.latents import encode_video
from videojam.media.video import to_pixels
from videojam.motion.flow import estimate_flow
from videojam.motion.pixels import motion_pixels
from videojam.sampling.editing import Edit
from videojam.sampling.generate import VideoJAM
from videojam.sampling.given_motion import estimator_of, given_motion, level_at
from videojam.sampling.pipeline import Sampling, initial_noise

STEPS = 4
INFO = JointInfo(sigma=0.15, background="black", fps=16.0, base="base", **SIZE)


@pytest.fixture(scope="module")
def pipe() -> Any:
    return joint_pipeline()


def draw(seed: int) -> torch.Tensor:
    return torch.randn(1, C, *SHAPE[2:], generator=torch.Generator().manual_seed(seed))


def by_hand(pipe, noise, motion, settings):
    """The motion half is put in at every step, at the noise level of that step's time."""
    text, null = embeddings(pipe)
    scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    scheduler.set_timesteps(STEPS)
    latents = noise
    for step, t in enumerate(scheduler.timesteps):
        sigma = t / 1000
        d = (1 - sigma) * motion + sigma * noise[:, C:]
        total: Any = 0
        for branch, weight in settings.weights(step, STEPS).items():
            half = d if branch.has_motion else torch.zeros_like(d)
            with torch.no_grad():
                found = pipe.transformer(
                    torch.cat([latents[:, :C], half], 1), t.expand(1),
                    text if branch.has_text else null, return_dict=False,
                )[0]  # fmt: skip
            total = total + weight * found
        latents = scheduler.step(total, t, latents, return_dict=False)[0]
    return latents[:, :C]


@pytest.mark.parametrize("at_once", [False, True])
def test_given_motion_equals_a_hand_written_loop(pipe, at_once):
    settings = GuidanceSettings(text_scale=4.0, motion_scale=2.0)
    noise, motion = torch.cat([draw(0), draw(1)], 1), draw(2)

    def sample(motion: torch.Tensor) -> torch.Tensor:
        guided = inner_guidance(pipe, settings, branches_at_once=at_once)
        with guided, given_motion(pipe, motion, noise[:, C:]):
            return pipe(
                **TEXT, **SIZE, latents=noise, num_inference_steps=STEPS, guidance_scale=5.0,
                output_type="latent",
            ).frames[:, :C]  # fmt: skip

    found, expected = sample(motion), by_hand(pipe, noise, motion, settings)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert (sample(draw(3)) - found).abs().max() > 1e-2 * found.abs().max()
    assert not pipe.transformer._forward_pre_hooks, "nothing is left behind"


def test_a_time_is_looked_up_in_the_models_own_terms(pipe):
    from diffusers import CogVideoXDDIMScheduler

    family = family_of(pipe.transformer)
    level = level_at(family, pipe.scheduler, torch.tensor(250))
    assert torch.allclose(level.seen_noise, torch.tensor([0.25]), atol=1e-6)
    scheduler = CogVideoXDDIMScheduler()
    cogvideox = family_named("CogVideoXTransformer3DModel")
    found = level_at(cogvideox, scheduler, torch.tensor(600))
    assert torch.allclose(found.seen_clean, scheduler.alphas_cumprod[600].sqrt().float())


def test_a_flow_becomes_the_motion_half(pipe):
    """Through the API: the latents' motion is what the VAE makes of the flow."""
    jam = VideoJAM(pipe, INFO)
    flow = torch.zeros(SIZE["num_frames"] - 1, 2, SIZE["height"], SIZE["width"])
    flow[:, 0] = 1.5
    options: Any = {"num_inference_steps": 3}
    clip = jam(TEXT["prompt"], seed=4, motion=flow, **options)
    d = encode_video(pipe.vae, motion_pixels(flow, INFO.sigma)[None])
    assert torch.allclose(clip.latents[None, C:], d, atol=1e-5)
    other = jam(TEXT["prompt"], seed=4, motion=-flow, **options)
    assert not torch.allclose(other.latents[:C], clip.latents[:C], atol=1e-3)
    both = jam([TEXT["prompt"]] * 2, seed=[9, 4], motion=flow, batch_size=2, **options)
    assert torch.allclose(both[1].latents, clip.latents, atol=1e-4)
    noise = initial_noise(4, clip.latents[:C].shape)[None]
    sampling = Sampling(**options)
    with inner_guidance(pipe, sampling), given_motion(pipe, d, noise[:, C:]):
        found = pipe(
            prompt=TEXT["prompt"], latents=noise, guidance_scale=6.0, output_type="latent",
            max_sequence_length=pipe.tokenizer.model_max_length
            if pipe.tokenizer.model_max_length < 512 else 512, **SIZE, **options,
        ).frames  # fmt: skip
    assert torch.allclose(found[0, :C], clip.latents[:C], atol=1e-4)


def edit_by_hand(pipe, clean, noise, settings, start):
    """From step `start` of the schedule, where the clip is noised to that step's level."""
    text, null = embeddings(pipe)
    scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    scheduler.set_timesteps(STEPS)
    sigma = scheduler.sigmas[start]
    latents = (1 - sigma) * clean + sigma * noise
    for name in ("timesteps", "sigmas"):
        setattr(scheduler, name, getattr(scheduler, name)[start:])
    scheduler.num_inference_steps = len(scheduler.timesteps)
    for step, t in enumerate(scheduler.timesteps, start):
        sigma = t / 1000
        d = (1 - sigma) * clean[:, C:] + sigma * noise[:, C:]
        total: Any = 0
        for branch, weight in settings.weights(step, STEPS).items():
            half = d if branch.has_motion else torch.zeros_like(d)
            with torch.no_grad():
                found = pipe.transformer(
                    torch.cat([latents[:, :C], half], 1), t.expand(1),
                    text if branch.has_text else null, return_dict=False,
                )[0]  # fmt: skip
            total = total + weight * found
        latents = scheduler.step(total, t, latents, return_dict=False)[0]
    return latents[0, :C]


def test_an_edit_equals_a_hand_written_loop(pipe):
    """Of windows too, which are those of the whole schedule."""
    jam = VideoJAM(pipe, INFO)
    random = torch.Generator().manual_seed(1)
    shape = (SIZE["num_frames"], SIZE["height"], SIZE["width"], 3)
    video = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
    flow = 2 * torch.randn(shape[0] - 1, 2, *shape[1:3], generator=random)
    clean = torch.cat(
        [
            encode_video(pipe.vae, to_pixels(video)[None]),
            encode_video(pipe.vae, motion_pixels(flow, INFO.sigma)[None]),
        ],
        1,
    )
    noise = initial_noise(4, tuple(clean[0, :C].shape))[None]
    settings = GuidanceSettings(text_scale=4.0, motion_scale=2.0, motion_stop=0.5)
    given: Any = {
        "seed": 4, "motion": flow, "num_inference_steps": STEPS, "text_scale": 4.0,
        "motion_scale": 2.0, "motion_stop": 0.5, "negative_prompt": TEXT["negative_prompt"],
    }  # fmt: skip
    made = {}
    for strength, start in ((0.75, 1), (0.5, 2), (0.01, 3)):
        made[strength] = jam(TEXT["prompt"], edit=Edit(video, strength), **given).latents
        expected = edit_by_hand(pipe, clean, noise, settings, start)
        error = (made[strength][:C] - expected).abs().max()
        assert error <= 1e-4 * expected.abs().max(), strength
        assert torch.allclose(made[strength][C:], clean[0, C:], atol=1e-5), "the clip's motion"
    far = [(made[s][:C] - clean[0, :C]).norm() for s in (0.01, 0.75)]
    assert far[0] < far[1]
    assert "set_timesteps" not in vars(pipe.scheduler), "the scheduler is the stock one again"
    whole = jam(TEXT["prompt"], edit=Edit(video, 1.0), **given).latents
    assert torch.allclose(whole, jam(TEXT["prompt"], **given).latents, atol=1e-4)
    estimated = jam(TEXT["prompt"], edit=Edit(video, 0.5), **given | {"motion": None}).latents
    d = encode_video(
        pipe.vae, motion_pixels(estimate_flow(video, estimator_of(INFO)), INFO.sigma)[None]
    )
    assert torch.allclose(estimated[None, C:], d, atol=1e-5), "estimated where it is not given"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit(torch.zeros(3, 32, 32, 3, dtype=torch.uint8)), r"edit is \(3, 32, 32, 3\), expected"),
        (
            Edit(torch.zeros(9, 32, 32, 3, dtype=torch.uint8), 0.0),
            r"is 0.0, expected one in \(0, 1\]",
        ),
        (
            Edit(torch.zeros(9, 32, 32, 3, dtype=torch.uint8), 2.0),
            r"is 2.0, expected one in \(0, 1\]",
        ),
    ],
)
def test_an_edit_that_cannot_be_made_is_refused(pipe, edit, message):
    flow = torch.zeros(SIZE["num_frames"] - 1, 2, SIZE["height"], SIZE["width"])
    with pytest.raises(ValueError, match=message):
        VideoJAM(pipe, INFO)(TEXT["prompt"], edit=edit, motion=flow, num_inference_steps=2)


def test_motion_of_another_size_is_refused(pipe):
    jam = VideoJAM(pipe, INFO)
    with pytest.raises(ValueError, match=r"the motion is \(3, 2, 32, 32\), expected \(9 - 1, 2"):
        jam(TEXT["prompt"], motion=torch.zeros(3, 2, 32, 32), num_inference_steps=1)


def test_motion_strength_is_in_the_prompt_that_the_text_encoder_sees(pipe, monkeypatch):
    jam = VideoJAM(pipe, INFO)
    asked: list[Any] = []
    stock = type(pipe).encode_prompt

    def encode_prompt(self: Any, prompt: Any, *args: Any, **options: Any) -> Any:
        asked.append(prompt)
        return stock(self, prompt, *args, **options)

    monkeypatch.setattr(type(pipe), "encode_prompt", encode_prompt)
    for strength in (None, 2, 5):
        jam("a dog jumps", num_inference_steps=1, motion_strength=strength)
    assert asked == [
        ["a dog jumps"], ["motion strength 2, a dog jumps"], ["motion strength 5, a dog jumps"],
    ]  # fmt: skip
    with pytest.raises(ValueError, match="motion strength is 9"):
        Sampling(motion_strength=9)
