"""Distilled guidance: the target, its teacher, and a run that learns it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import base_pipeline, tiny_config, tiny_data, tiny_info, tiny_train

from videojam import widen
from videojam.guidance.inner import GuidanceSettings
from videojam.joint.checkpoint import load_pipeline, save_folder
from videojam.joint.denoiser import Denoiser
from videojam.joint.find_family import family_of
from videojam.objective import Objective
from videojam.training.config import TrainConfig
from videojam.training.distill import distilled_loss, guided, lora_off, step_of
from videojam.training.model import trainable_model
from videojam.training.step import on_device

NULL = {"encoder_hidden_states": torch.zeros(8, 16)}
GUIDANCE = GuidanceSettings(text_scale=4.0, motion_scale=2.0)


def joint_pipeline():
    pipe = base_pipeline()
    wide = widen(pipe.transformer)
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in wide.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=g))
    pipe.register_modules(transformer=wide)
    return pipe


@pytest.fixture
def lora():
    """A joint model with a LoRA that does something."""
    pipe = joint_pipeline()
    config = TrainConfig(out=Path("nowhere"), lora_rank=2, precision="fp32", distill_guidance=True)
    model = trainable_model(pipe.transformer, config, family_of(pipe.transformer), 16)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
    return pipe, model


def test_steps_are_those_of_the_schedule():
    """diffusers' shift of flow matching, at 1000 steps."""
    for shift in (1.0, 3.0):
        for step in (0, 1, 250, 499, 500, 998):
            u = 1 - (step + 0.5) / 1000
            sigma = shift * u / (1 + (shift - 1) * u)
            assert step_of(sigma, shift) == step
    assert step_of(1.0, 3.0) == 0
    assert step_of(1e-9, 1.0) == 999


def test_the_teacher_is_the_model_that_the_run_began_with(lora):
    pipe, model = lora
    denoiser, z = Denoiser(pipe), torch.randn(1, 32, 2, 4, 4)
    text = on_device([NULL], "cpu")
    level = denoiser.level(torch.tensor([0.5]))
    teacher = joint_pipeline().transformer
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained and all("lora" in name for name in trained)
    with torch.no_grad():
        expected = denoiser.of(teacher)(z, level, text)
        with lora_off(model):
            torch.testing.assert_close(denoiser.of(model)(z, level, text), expected)
        assert (denoiser.of(model)(z, level, text) - expected).abs().max() > 1e-3
    assert {n for n, p in model.named_parameters() if p.requires_grad} == trained


def test_the_target_is_the_guided_prediction_of_each_samples_step(lora):
    pipe, model = lora
    denoiser, z = Denoiser(pipe), torch.randn(2, 32, 2, 4, 4)
    text = {"encoder_hidden_states": torch.randn(2, 8, 16)}
    null = {"encoder_hidden_states": torch.zeros(2, 8, 16)}
    level = denoiser.level(torch.tensor([0.9, 0.2]))
    predict = denoiser.of(model)
    still = z.clone()
    still[:, 16:] = 0
    with torch.no_grad():
        plain, found = guided(predict, z, level, text, null, GUIDANCE, [100, 800])
        joint, no_text = predict(z, level, text), predict(z, level, null)
        no_motion = predict(still, level, text)
    expected = joint + 4 * (joint - no_text)
    expected[0] += 2 * (joint - no_motion)[0]  # step 800 of 1000 is behind the motion window
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(plain, joint)


def test_without_guidance_a_student_that_is_the_teacher_has_no_loss(lora):
    pipe, model = lora
    batch = next(tiny_data(tiny_config("nowhere")).batches(0))

    def loss(guidance, student):
        return distilled_loss(
            student, model, batch, NULL, guidance, Objective(), Denoiser(pipe), seed=0
        )

    none = GuidanceSettings(text_scale=0, motion_scale=0)
    teacher = joint_pipeline().transformer
    with torch.no_grad():
        assert float(loss(none, teacher).total) < 1e-10
        assert float(loss(GUIDANCE, teacher).total) > 1e-3
        parts = loss(GUIDANCE, model)
    assert parts.total == pytest.approx((parts.appearance + parts.motion) / 2)


def test_a_run_learns_it_and_its_adapter_samples_in_one_pass(tmp_path):
    joint = joint_pipeline()
    save_folder(joint, tmp_path / "joint", tiny_info())
    options = {
        "mode": "lora", "distill_guidance": True, "guidance": GUIDANCE, "steps": 60,
        "learning_rate": 1e-2, "validate_every": 0, "global_batch_size": 4,
    }  # fmt: skip
    exported = tiny_train(
        tmp_path / "run", pipe=joint_pipeline(), base=tmp_path / "joint", **options
    )
    pipe, _ = load_pipeline(exported)
    batch = next(tiny_data(tiny_config("nowhere", global_batch_size=6)).batches(900))
    teacher = joint_pipeline().transformer
    with torch.no_grad():
        before, after = (
            distilled_loss(
                student, teacher, batch, NULL, GUIDANCE, Objective(), Denoiser(pipe), seed=1
            )
            for student in (teacher, pipe.transformer)
        )
    assert after.appearance < 0.9 * before.appearance
    assert after.motion < 0.9 * before.motion
    for name in ("patch_embedding.weight", "proj_out.weight"):
        assert torch.equal(pipe.transformer.get_parameter(name), teacher.get_parameter(name)), (
            "projections are the teacher's"
        )


def test_it_needs_a_joint_model(tmp_path):
    with pytest.raises(ValueError, match="this one is a base; train VideoJAM first"):
        tiny_train(tmp_path / "run", mode="lora", distill_guidance=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mode": "full"}, "got mode full and target joint"),
        ({"target": "appearance", "export": "folder"}, "target appearance"),
        ({"guidance": GuidanceSettings(text_every=2)}, "leave text_every"),
        ({"distill_guidance": False, "guidance": GUIDANCE}, "guidance would have no effect"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    settings = {"distill_guidance": True} | wrong
    with pytest.raises(ValueError, match=message):
        replace(TrainConfig(out=Path("nowhere")), **settings)
