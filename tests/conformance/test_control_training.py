"""Control clips from files through preparation and training to a model that follows them."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from small_runs import (
    PROMPTS,
    control_of,
    load,
    make_joint,
    shape_of,
    size_of,
    still_flow,
    write_clip,
)

from videojam.data import dataset, loader
from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.prepare import samples_path
from videojam.guidance.inner import GuidanceSettings
from videojam.joint.checkpoint import load_pipeline
from videojam.joint.control import control_inputs
from videojam.joint.denoiser import Denoiser
from videojam.joint.inputs import text_inputs
from videojam.objective import Objective
from videojam.sampling.generate import VideoJAM
from videojam.training.config import TrainConfig
from videojam.training.distill import distilled_loss
from videojam.training.step import MicroBatch, training_loss
from videojam.workflow.control_clip import control_clip
from videojam.workflow.finetune import finetune
from videojam.workflow.prepare import prepare_dataset

NAME = "Wan-VACE"
CONTROL = "control_hidden_states"


@pytest.fixture(scope="module")
def prepared(folders, tmp_path_factory) -> PrepareConfig:
    """Two clips with a control, one of them with a mask, and one without."""
    out, pipe = tmp_path_factory.mktemp("controls"), load(folders[NAME])
    size, rows = size_of(pipe), []
    for seed, prompt in enumerate([*PROMPTS, "a cat sleeps"]):
        write_clip(out / "videos" / f"{seed}.mp4", size, prompt, seed)
        write_clip(out / "videos" / "depth" / f"{seed}.mp4", size, prompt, seed + 10)
        rows.append({"path": f"{seed}.mp4", "caption": prompt})
        if seed < 2:
            rows[-1]["control"] = f"depth/{seed}.mp4"
    rows[1]["control_mask"] = "depth/2.mp4"
    (out / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = PrepareConfig(
        videos=out / "videos", captions=out / "captions.jsonl", out=out / "data", num_workers=0,
        model=str(folders[NAME]), sizes=((size.height, size.width),), fps=8.0, controls=True,
        num_frames=size.num_frames, previews=0, dtype="float32",
    )  # fmt: skip
    report = prepare_dataset(config, still_flow)
    assert report.prepared == 3 and not report.dropped
    return config


def test_prepared_samples_hold_what_the_pipeline_makes_of_their_control(folders, prepared):
    pipe, size = load(folders[NAME]), size_of(load(folders[NAME]))
    batch = loader.load_batch(samples_path(prepared.out), [0, 1, 2])
    assert batch.images is not None and batch.images[2] == {}
    videos = prepared.videos
    for number, mask in ((0, None), (1, videos / "depth" / "2.mp4")):
        control = control_clip(videos / "depth" / f"{number}.mp4", mask, size, 8.0)
        expected = control_inputs(pipe, control, size)[CONTROL]
        assert torch.allclose(batch.images[number][CONTROL], expected, atol=1e-5)
    assert (batch.images[0][CONTROL] - batch.images[1][CONTROL]).abs().max() > 0.1


@pytest.mark.parametrize("distilled", [False, True])
def test_training_gives_each_sample_its_control_and_drops_it_to_that_of_none(
    folders, prepared, distilled
):
    pipe = load(folders[NAME])
    make_joint(pipe)
    batch = loader.load_batch(samples_path(prepared.out), [0, 1, 2])
    micro = MicroBatch(batch.x, batch.d, batch.text, [0, 1, 2], batch.images)
    (null,) = text_inputs(pipe, [""], size_of(pipe))
    denoiser, seen = Denoiser(pipe), []
    handle = pipe.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs[CONTROL]), with_kwargs=True
    )
    nothing = denoiser.without_control(pipe.transformer, (3, *shape_of(pipe)), torch.device("cpu"))[
        CONTROL
    ]
    own = [*(image[CONTROL] for image in (batch.images or [])[:2]), nothing]
    if distilled:
        distilled_loss(
            pipe.transformer, pipe.transformer, micro, null, GuidanceSettings(), Objective(),
            denoiser, 0,
        )  # fmt: skip
        assert len(seen) == 4, "teacher's branches and the student"
        assert all(torch.equal(one, torch.stack(own)) for one in seen)
        return
    losses = []
    for dropout, expected in ((0.0, own), (1.0, [nothing] * 3)):
        objective = Objective(control_dropout=dropout)
        losses.append(training_loss(pipe.transformer, micro, null, objective, denoiser, seed=0))
        assert torch.equal(seen[-1], torch.stack(expected))
    without = micro._replace(images=None)  # as of datasets without controls
    losses.append(training_loss(pipe.transformer, without, null, Objective(), denoiser, seed=0))
    assert losses[1].total == losses[2].total != losses[0].total
    counts = []
    many = MicroBatch(
        batch.x[:1].expand(60, -1, -1, -1, -1), batch.d[:1].expand(60, -1, -1, -1, -1),
        batch.text[:1] * 60, [*range(60)], (batch.images or [])[:1] * 60,
    )  # fmt: skip
    for dropout in (None, 0.5):
        training_loss(
            pipe.transformer, many, null, Objective(control_dropout=dropout), denoiser, seed=0
        )
        counts.append(sum(torch.equal(one, nothing) for one in seen[-1]))
    assert 1 <= counts[0] <= 14 and 20 <= counts[1] <= 40, "a tenth, unless asked"
    handle.remove()


def test_prepare_train_resume_generate_with_controls(folders, prepared, tmp_path):
    """Four steps in two runs equal four in one, and what comes out follows controls."""
    settings = TrainConfig(
        out=tmp_path / "run", mode="full", steps=2, precision="fp32", learning_rate=1e-3,
        lr_schedule="constant", checkpoint_every=2, validate_every=0, sample_every=0,
        global_batch_size=2, objective=Objective(control_dropout=0.5),
    )  # fmt: skip
    finetune(prepared.out, settings)
    resumed = finetune(prepared.out, replace(settings, steps=4))
    straight = finetune(prepared.out, replace(settings, steps=4, out=tmp_path / "straight"))
    never = replace(
        settings, steps=4, out=tmp_path / "never", objective=Objective(control_dropout=1.0)
    )
    first, second, third = (
        load_pipeline(folder)[0].transformer.state_dict()
        for folder in (resumed, straight, finetune(prepared.out, never))
    )
    for key, value in second.items():
        assert torch.equal(first[key], value), key
    assert any(not torch.equal(third[key], value) for key, value in second.items())
    jam = VideoJAM.from_pretrained(resumed)
    control = control_of(jam.pipe, masked=True)
    with_control, without = (
        jam(PROMPTS[0], num_inference_steps=2, control=one) for one in (control, None)
    )
    assert (with_control.latents - without.latents).abs().max() > 1e-3


def test_controls_that_a_model_does_not_take_are_refused(folders, prepared, tmp_path):
    plain, out = str(folders["Wan2.1"]), tmp_path / "data"
    with pytest.raises(ValueError, match="takes no control clip"):
        prepare_dataset(replace(prepared, out=out, model=plain), still_flow)
    settings = TrainConfig(out=tmp_path / "run")
    with pytest.raises(ValueError, match="holds control clips, which this WanTransformer3DModel"):
        finetune(prepared.out, settings, plain)
    prepare_dataset(replace(prepared, out=out, controls=False), still_flow)
    assert not dataset.has_images(samples_path(out))
    idle = replace(settings, objective=Objective(control_dropout=0.3))
    with pytest.raises(ValueError, match="no dataset holds control clips"):
        finetune(out, idle)
    # A dataset of images is told by what it was prepared with, whatever is in it.
    shutil.copytree(prepared.out, tmp_path / "images")
    text = (tmp_path / "images" / "dataset.json").read_text()
    (tmp_path / "images" / "dataset.json").write_text(
        text.replace('"controls": true', '"controls": false')
    )
    for model in (plain, str(folders[NAME])):
        with pytest.raises(ValueError, match=r"holds images, which this .* does not start from"):
            finetune(tmp_path / "images", settings, model)
    with pytest.raises(ValueError, match=r"control_dropout is 1\.5, expected a probability"):
        Objective(control_dropout=1.5)
