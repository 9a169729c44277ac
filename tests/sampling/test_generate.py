"""From a prompt and a seed to files, and back from a sidecar to the same files."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from videojam.cli.generate import GenerateArgs, from_sidecar, main
from videojam.guidance.inner import GuidanceSettings
from videojam.guidance.pipelines import inner_guidance
from videojam.guidance.presets import PRESETS
from videojam.joint.checkpoint import JointInfo, save_folder
from videojam.joint.widen import widen
from videojam.media.video import write_video
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.motion.color import rgb_to_flow
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling, initial_noise, sample_latents
from videojam.sampling.samples import (
    fingerprint,
    is_done,
    read_prompts,
    sample_name,
    write_sidecar,
)

SIZES = SmallWan(num_layers=2, num_heads=2, head_dim=16, vae_width=4, text_width=32, text_layers=1)
INFO = JointInfo(
    sigma=0.15, background="black", estimator="dis", fps=16.0, height=32, width=48, num_frames=9,
    base="base",
)  # fmt: skip
SHORT = Sampling(num_inference_steps=4)
DOG, BALL = "a dog jumps", "a red ball rolls"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base folder, and a joint folder whose motion rows are random, as after training."""
    root = tmp_path_factory.mktemp("models")
    pipe = small_wan_pipeline(SIZES)
    pipe.save_pretrained(root / "base")
    transformer = widen(pipe.transformer)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        rows = transformer.patch_embedding.weight
        rows[:, 16:] = torch.randn(rows[:, 16:].shape, generator=random) * rows[:, :16].std()
        rows = transformer.proj_out.weight.view(4, 32, -1)
        rows[:, 16:] = torch.randn(rows[:, 16:].shape, generator=random) * rows[:, :16].std()
    pipe.register_modules(transformer=transformer)
    save_folder(pipe, root / "joint", INFO)
    return root


@pytest.fixture(scope="module")
def jam(folders):
    jam = VideoJAM.from_pretrained(folders / "joint", device="cpu")
    jam.pipe.set_progress_bar_config(disable=True)
    return jam


@pytest.fixture(scope="module")
def base(folders):
    from diffusers import DiffusionPipeline

    base = DiffusionPipeline.from_pretrained(folders / "base")
    base.set_progress_bar_config(disable=True)
    return base


# --- clips --------------------------------------------------------------------------------------


def test_clip_is_what_the_stock_pipeline_makes_under_guidance(jam):
    clip = jam(DOG, seed=7, num_inference_steps=4, text_scale=2, motion_scale=1)
    noise = initial_noise(7, (16, 3, 4, 6))
    with inner_guidance(jam.pipe, text_scale=2, motion_scale=1):
        latents = jam.pipe(
            DOG, negative_prompt="", height=32, width=48, num_frames=9, num_inference_steps=4,
            latents=noise[None], output_type="latent",
        ).frames  # fmt: skip
    torch.testing.assert_close(clip.latents, latents[0], rtol=1e-5, atol=1e-5)
    assert clip.video.shape == clip.motion.shape == (9, 32, 48, 3)
    assert clip.video.dtype == clip.motion.dtype == torch.uint8
    assert (clip.seed, clip.prompt) == (7, DOG)


def test_flow_is_the_motion_decoded_without_the_repeated_last_frame(jam):
    clip = jam(DOG, num_inference_steps=2)
    rgb = clip.motion.movedim(-1, 1) / 255
    assert clip.flow.shape == (8, 2, 32, 48)
    assert clip.flow.dtype == torch.float32
    # uint8 rounds the colour; where it is nearly grey the direction is not determined by it
    expected = rgb_to_flow(rgb[:-1], INFO.sigma)
    assert float((clip.flow.norm(dim=1) - expected.norm(dim=1)).abs().max()) < 0.1


@pytest.mark.parametrize("batch_size", [2, 3])
def test_a_seed_gives_the_same_clip_whatever_the_batch_size(jam, batch_size):
    samples = [(DOG, 0), (BALL, 1), (DOG, 2)]
    alone = list(jam.clips(samples, SHORT))
    together = list(jam.clips(samples, replace(SHORT, batch_size=batch_size)))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one.latents, other.latents, rtol=1e-4, atol=1e-4)
    assert not torch.equal(alone[0].latents, alone[2].latents), "seeds differ"


def test_seed_and_prompt_and_every_scale_matter(jam):
    reference = jam(DOG, num_inference_steps=4).latents
    for other in (
        jam(DOG, seed=1, num_inference_steps=4),
        jam(BALL, num_inference_steps=4),
        jam(DOG, num_inference_steps=4, text_scale=0),
        jam(DOG, num_inference_steps=4, motion_scale=0),
        jam(DOG, num_inference_steps=4, motion_stop=1),
        jam(DOG, num_inference_steps=4, negative_prompt="static"),
        jam(DOG, num_inference_steps=4, mode="instruct_pix2pix"),
    ):
        assert not torch.equal(other.latents, reference)
    assert torch.equal(jam(DOG, num_inference_steps=4).latents, reference)


@pytest.mark.parametrize("mode", ["without_text_guidance", "without_flow", "instruct_pix2pix"])
@pytest.mark.parametrize("text_scale", [0, 0.5])
def test_no_pass_is_spared_that_a_mode_needs_at_small_text_scales(jam, mode, text_scale):
    """The pipeline's own scale, 1 where the null text is not needed, does not matter."""
    changes = {"num_inference_steps": 2, "mode": mode, "text_scale": text_scale}
    sampling = jam.resolve(Sampling(**changes))
    with inner_guidance(jam.pipe, sampling):
        expected = sample_latents(jam.pipe, [(DOG, 0)], sampling, 7.0, motion=True)
    found = jam(DOG, **changes).latents
    assert (found - expected[0]).abs().max() <= 1e-5 * expected.abs().max()


def test_half_consumed_clips_leave_the_pipeline_unguided(jam):
    expected = [jam(DOG, seed=seed, num_inference_steps=4).latents for seed in (0, 1)]
    clips = jam.clips([(DOG, 0), (DOG, 1)], jam.resolve(Sampling(num_inference_steps=4)))
    assert torch.equal(next(clips).latents, expected[0])
    assert torch.equal(jam(DOG, seed=1, num_inference_steps=4).latents, expected[1])
    assert torch.equal(next(clips).latents, expected[1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_frames": 10}, r"num_frames is 10, expected 4n \+ 1; the nearest are \[9, 13\]"),
        ({"height": 40}, r"height is 40, expected a multiple of 16; the nearest are \[32, 48\]"),
        ({"width": 8}, r"width is 8, expected a multiple of 16; the nearest are \[16\]"),
        ({"num_frames": 0}, "num_frames is 0, expected 4n"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0, expected at least 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"motion_scale": -1}, "motion_scale is -1"),
    ],
)
def test_sizes_that_the_pipeline_would_round_are_refused(jam, wrong, message):
    with pytest.raises(ValueError, match=message):
        jam(DOG, **wrong)


def test_base_folder_is_no_videojam_model(folders, base):
    with pytest.raises(ValueError, match=r"no videojam\.json"):
        VideoJAM.from_pretrained(folders / "base")
    with pytest.raises(ValueError, match="predicts no motion"):
        VideoJAM(base, INFO)


# --- base and joint -----------------------------------------------------------------------------


def test_base_and_joint_start_from_the_same_appearance_noise():
    joint, alone = initial_noise(5, (16, 3, 4, 6)), initial_noise(5, (16, 3, 4, 6), motion=False)
    assert joint.shape == (32, 3, 4, 6)
    assert torch.equal(joint[:16], alone)
    assert not torch.equal(joint[16:], alone)


def test_untrained_joint_model_makes_the_base_models_video(base):
    """Zero motion rows: appearance is the base's, so plain guidance gives the base's video."""
    pipe = type(base)(**base.components | {"transformer": widen(base.transformer)})
    pipe.set_progress_bar_config(disable=True)
    jam = VideoJAM(pipe, INFO)
    sampling = jam.resolve(replace(SHORT, text_scale=5, batch_size=2))
    samples = [(DOG, 3), (BALL, 4)]
    joint = [clip.video.int() for clip in jam.clips(samples, sampling)]
    alone = [video.int() for video in base_videos(base, samples, sampling)]
    assert all((a - b).abs().max() <= 1 for a, b in zip(joint, alone, strict=True))


# --- files --------------------------------------------------------------------------------------


def _args(folders, out, **changes):
    return GenerateArgs(
        **{"model": str(folders / "joint"), "out": out, "prompt": (DOG,), "num_inference_steps": 4,
           "device": "cpu"} | changes
    )  # fmt: skip


def test_files_of_a_sample_and_resuming(folders, tmp_path):
    main(_args(folders, tmp_path, seeds=(0, 1), base=str(folders / "base"), flow=True))
    name = sample_name(DOG, 0)
    suffixes = (".mp4", ".motion.mp4", ".base.mp4", ".side.mp4", ".flow.safetensors", ".json")
    names = {sample_name(DOG, seed) + suffix for seed in (0, 1) for suffix in suffixes}
    assert {path.name for path in tmp_path.iterdir()} == names
    flow = load_file(tmp_path / f"{name}.flow.safetensors")["flow"]
    assert (flow.shape, flow.dtype) == ((8, 2, 32, 48), torch.float16)
    sidecar = json.loads((tmp_path / f"{name}.json").read_text())
    assert sidecar["prompt"] == DOG
    assert sidecar["sampling"]["height"] == 32, "the size that was used, not the default None"
    assert {"versions", "commit", "dirty", "command", "fps", "device"} <= sidecar.keys()

    (tmp_path / f"{sample_name(DOG, 1)}.json").unlink()  # as if stopped before the second was done
    before = (tmp_path / f"{name}.mp4").stat().st_mtime_ns
    main(_args(folders, tmp_path, seeds=(0, 1), base=str(folders / "base"), flow=True))
    assert (tmp_path / f"{name}.mp4").stat().st_mtime_ns == before, "made only what was missing"
    assert {path.name for path in tmp_path.iterdir()} == names

    with pytest.raises(ValueError, match="was made with other sampling; give another folder"):
        main(_args(folders, tmp_path, base=str(folders / "base"), text_scale=2))


def test_sidecar_makes_the_same_files_again(folders, tmp_path):
    changes = {"mode": "instruct_pix2pix", "text_scale": 2, "motion_stop": 1, "num_frames": 5}
    main(_args(folders, tmp_path / "a", seeds=(3,), base=str(folders / "base"), **changes))
    name = sample_name(DOG, 3)
    main(from_sidecar(tmp_path / "a" / f"{name}.json", tmp_path / "b"))
    for suffix in (".mp4", ".motion.mp4", ".base.mp4", ".side.mp4"):
        first, again = (tmp_path / side / (name + suffix) for side in "ab")
        assert first.read_bytes() == again.read_bytes()


def test_samples_of_before_a_setting_was_there_are_as_they_were(tmp_path):
    now = {"sampling": asdict(Sampling()), "cache": None}
    younger = ("text_every", "motion_every", "reuse", "settled_cosine", "text_term", "pipeline")
    before = {"sampling": {k: v for k, v in now["sampling"].items() if k not in younger}}
    write_sidecar(tmp_path, "a", before)
    assert is_done(tmp_path, "a", now)
    for change in ({"text_every": 2}, {"text_term": "apg"}, {"reuse": "extrapolate"}):
        with pytest.raises(ValueError, match="was made with other sampling"):
            is_done(tmp_path, "a", now | {"sampling": now["sampling"] | change})
    with pytest.raises(ValueError, match="was made with other cache"):
        is_done(tmp_path, "a", now | {"cache": "first_block"})


def test_names_tell_samples_apart_and_are_file_names():
    long = "A dog, jumping over a hurdle / in slow motion, seen from far away"
    assert sample_name(long, 3).startswith("a-dog-jumping-over-a-hurdle-in-slow-moti-")
    assert sample_name(long, 3).endswith("-s3")
    assert sample_name(long, 3) != sample_name(long + "!", 3)
    assert sample_name("a dog", 0) == sample_name("a dog", 0)
    assert set(sample_name("犬", 1)) <= set("0123456789abcdefs-")


def test_prompt_files(tmp_path):
    (tmp_path / "p.txt").write_text("a dog\n\n a cat \n")
    (tmp_path / "p.jsonl").write_text('{"prompt": "a dog", "id": 1}\n{"prompt": "a cat"}\n')
    assert read_prompts(tmp_path / "p.txt") == read_prompts(tmp_path / "p.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a dog"}\n{"text": "a cat"}\n')
    with pytest.raises(ValueError, match=r"bad\.jsonl:2 is"):
        read_prompts(tmp_path / "bad.jsonl")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="has no prompts"):
        read_prompts(tmp_path / "empty.txt")
    with pytest.raises(ValueError, match=r"expected \.txt or \.jsonl"):
        read_prompts(tmp_path / "p.csv")


def test_prompts_come_from_one_place(folders, tmp_path):
    for wrong in ({"prompt": ()}, {"prompts": tmp_path / "p.txt"}):
        with pytest.raises(ValueError, match="give one of the two"):
            _args(folders, tmp_path, **wrong)


def test_fingerprint_sees_a_change_of_the_weights(folders, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    before = fingerprint(tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text("[]")
    assert fingerprint(tmp_path / "m") != before
    assert fingerprint(folders / "base") != fingerprint(folders / "joint")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="give a model folder"):
        fingerprint(tmp_path / "empty")
    assert fingerprint(Path("Wan-AI/Wan2.1-T2V-1.3B-Diffusers")).startswith("hub: Wan-AI")


def test_image_and_motion_of_files(tmp_path):
    """On the command line: into the clip, into the sidecar, and again from it."""
    from PIL import Image
    from small_models import MODELS
    from small_runs import info_of, make_joint

    pipe = MODELS["Wan2.2-I2V"]()
    make_joint(pipe)
    save_folder(pipe, tmp_path / "joint", info_of(pipe, tmp_path / "base"))
    info = info_of(pipe, tmp_path)
    frames = torch.randint(0, 255, (1, 48, 64, 3), generator=torch.Generator().manual_seed(0))
    still = frames.to(torch.uint8)
    Image.fromarray(still[0].numpy()).save(tmp_path / "first.png")
    moving = torch.cat([still.roll(2 * k, 2) for k in range(info.num_frames + 2)])
    write_video(tmp_path / "moves.mp4", moving, info.fps)
    write_video(tmp_path / "short.mp4", moving[:2], info.fps)
    given = {"image": tmp_path / "first.png", "motion_from": tmp_path / "moves.mp4", "flow": True}
    arguments: dict = {
        "model": str(tmp_path / "joint"), "prompt": (DOG,), "num_inference_steps": 2,
        "device": "cpu",
    }  # fmt: skip
    main(GenerateArgs(out=tmp_path / "a", **arguments, **given))
    name = sample_name(DOG, 0)
    sidecar = json.loads((tmp_path / "a" / f"{name}.json").read_text())
    # 32 x 32 pixels of training, of the shape of 48 x 64, in multiples of 16.
    assert (sidecar["sampling"]["height"], sidecar["sampling"]["width"]) == (16, 16)
    assert sidecar["image"] == str(tmp_path / "first.png") and len(sidecar["image_sha256"]) == 64
    main(from_sidecar(tmp_path / "a" / f"{name}.json", tmp_path / "b"))
    for suffix in (".mp4", ".motion.mp4"):
        first, again = (tmp_path / side / (name + suffix) for side in "ab")
        assert first.read_bytes() == again.read_bytes()
    stamp = (tmp_path / "a" / f"{name}.mp4").stat().st_mtime_ns
    main(GenerateArgs(out=tmp_path / "a", **arguments, **given))
    assert (tmp_path / "a" / f"{name}.mp4").stat().st_mtime_ns == stamp
    Image.new("RGB", (64, 48)).save(tmp_path / "first.png")
    with pytest.raises(ValueError, match="was made with other image_sha256"):
        main(GenerateArgs(out=tmp_path / "a", **arguments, **given))
    with pytest.raises(ValueError, match=r"short\.mp4 gives no clip of 5 frames at 8 frames/s"):
        main(
            GenerateArgs(
                out=tmp_path / "c", **arguments, **given | {"motion_from": tmp_path / "short.mp4"}
            )
        )


def test_controls_of_files(tmp_path):
    """On the command line, of the base too, and again from the sidecar."""
    from PIL import Image
    from small_models import MODELS
    from small_runs import info_of, make_joint

    from videojam.joint.sizes import Size
    from videojam.workflow.control_clip import control_clip

    pipe = MODELS["Wan-VACE"]()
    pipe.save_pretrained(tmp_path / "base")
    make_joint(pipe)
    info = info_of(pipe, tmp_path / "base")
    save_folder(pipe, tmp_path / "joint", info)
    generator = torch.Generator().manual_seed(0)
    still = torch.randint(0, 255, (1, 48, 48, 3), generator=generator).to(torch.uint8)
    moving = torch.cat([still.roll(2 * k, 2) for k in range(info.num_frames + 2)])
    write_video(tmp_path / "depth.mp4", moving, info.fps)
    write_video(tmp_path / "short.mp4", moving[:2], info.fps)
    Image.fromarray((still[0, ..., 0] > 127).numpy()).convert("L").save(tmp_path / "mask.png")
    common: dict = {
        "model": str(tmp_path / "joint"), "prompt": (DOG,), "num_inference_steps": 2,
        "device": "cpu", "base": str(tmp_path / "base"),
    }  # fmt: skip
    given = {"control": tmp_path / "depth.mp4", "control_mask": tmp_path / "mask.png"}
    main(GenerateArgs(out=tmp_path / "a", **common, **given))
    name = sample_name(DOG, 0)
    sidecar = json.loads((tmp_path / "a" / f"{name}.json").read_text())
    for file, path in given.items():
        assert sidecar[file] == str(path) and len(sidecar[f"{file}_sha256"]) == 64
    main(from_sidecar(tmp_path / "a" / f"{name}.json", tmp_path / "b"))
    main(GenerateArgs(out=tmp_path / "c", **common, control=given["control"]))
    for suffix in (".mp4", ".motion.mp4", ".base.mp4"):
        first, again, other = (tmp_path / side / (name + suffix) for side in "abc")
        assert first.read_bytes() == again.read_bytes() != other.read_bytes(), suffix
    # As the library makes it of the same files, base and joint.
    control = control_clip(*given.values(), Size(info.num_frames, 32, 32), info.fps)
    jam = VideoJAM.from_pretrained(tmp_path / "joint", device="cpu")
    clip = jam(DOG, control=control, num_inference_steps=2)
    write_video(tmp_path / "again.mp4", clip.video, info.fps)
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "a" / f"{name}.mp4").read_bytes()
    with pytest.raises(ValueError, match="was made with other control_mask_sha256"):
        main(GenerateArgs(out=tmp_path / "a", **common, control=given["control"]))
    for wrong, message in (
        (
            {**given, "control": tmp_path / "short.mp4"},
            r"short\.mp4 gives no clip of 5 frames at 8",
        ),
        ({**given, "base": str(tmp_path / "plain")}, "WanTransformer3DModel takes no control clip"),
        ({**given, "model": str(tmp_path / "plain joint")}, "takes no control clip; give one"),
    ):
        if not (tmp_path / "plain").exists():
            plain = MODELS["Wan2.1"]()
            plain.save_pretrained(tmp_path / "plain")
            make_joint(plain)
            save_folder(plain, tmp_path / "plain joint", info_of(plain, tmp_path / "plain"))
        with pytest.raises(ValueError, match=message):
            main(GenerateArgs(out=tmp_path / "d", **common | wrong))
    assert not list((tmp_path / "d").glob("*.mp4")), "refused before anything is sampled"
    with pytest.raises(ValueError, match="of a control, and there is none; give --control"):
        GenerateArgs(out=tmp_path, **common, control_mask=tmp_path / "mask.png")


def test_edits_and_trajectories_of_files(tmp_path):
    """On the command line, between two images, and again from their sidecars."""
    from PIL import Image
    from small_models import MODELS
    from small_runs import info_of, make_joint

    pipe = MODELS["Wan2.2-I2V"]()
    make_joint(pipe)
    info = info_of(pipe, tmp_path)
    save_folder(pipe, tmp_path / "joint", info)
    still = torch.randint(
        0, 255, (1, 32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    for name, shown in (("first", still), ("last", still.flip(1))):
        Image.fromarray(shown[0].numpy()).save(tmp_path / f"{name}.png")
    moving = torch.cat([still.roll(k, 2) for k in range(info.num_frames + 2)])
    write_video(tmp_path / "clip.mp4", moving, info.fps)
    (tmp_path / "moves.json").write_text('{"camera": {"pan": [0.2, 0]}}')
    common: dict = {
        "model": str(tmp_path / "joint"), "prompt": (DOG,), "num_inference_steps": 4,
        "device": "cpu", "image": tmp_path / "first.png", "last_image": tmp_path / "last.png",
    }  # fmt: skip
    ways: dict = {
        "edit": {"edit": tmp_path / "clip.mp4", "edit_strength": 0.5},
        "as it is": {"motion_from": tmp_path / "clip.mp4"},
        "drawn": {"trajectory": tmp_path / "moves.json"},
    }
    name, made = sample_name(DOG, 0), {}
    for way, options in ways.items():
        main(GenerateArgs(out=tmp_path / way, **common, **options))
        sidecar = tmp_path / way / f"{name}.json"
        main(from_sidecar(sidecar, tmp_path / f"{way} again"))
        files = [tmp_path / side / f"{name}.mp4" for side in (way, f"{way} again")]
        made[way], again = (file.read_bytes() for file in files)
        assert made[way] == again
        assert json.loads(sidecar.read_text()).get("edit_strength") == options.get("edit_strength")
    assert len({*made.values()}) == 3
    motions = [(tmp_path / way / f"{name}.motion.mp4").read_bytes() for way in ways]
    assert motions[0] == motions[1] != motions[2]
    with pytest.raises(ValueError, match="was made with other edit_strength"):
        main(GenerateArgs(out=tmp_path / "edit", **common, edit=ways["edit"]["edit"]))
    for wrong, message in (
        ({**ways["edit"], **ways["drawn"]}, "trajectory and edit both say how the clips move"),
        ({"edit_strength": 0.5}, "there is none; give --edit"),
        ({"edit": tmp_path / "clip.mp4", "edit_strength": 0.0}, "strength of an edit is 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            GenerateArgs(out=tmp_path, **common, **wrong)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_what_is_not_given_even_to_its_default(jam, preset):
    """Every field of a preset, by command and in Python; a given value wins, the default too."""
    paper = GuidanceSettings()
    given = {"out": Path("out"), "prompt": (DOG,), "preset": preset}
    for one in [{}, *({name: getattr(paper, name)} for name in PRESETS[preset])]:
        expected = {**PRESETS[preset], **one}
        for found in (GenerateArgs(**given, **one), jam._sampling({"preset": preset, **one})):
            assert {name: getattr(found, name) for name in expected} == expected
            assert found.passes(50) == GuidanceSettings(**expected).passes(50)
