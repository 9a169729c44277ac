"""Permuted loss, continuation and representation: closed forms, oracles, and the commands."""

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import MODELS

from videojam.cli.main import main
from videojam.evaluation.experiments.continuation import experiment as continuation
from videojam.evaluation.experiments.lab_models import load_model
from videojam.evaluation.experiments.permuted_loss import experiment as permuted_loss
from videojam.evaluation.experiments.permuted_loss.frame_order import (
    gaussian_predictor,
    loss_grid,
    permute_frames,
)
from videojam.evaluation.experiments.representation import experiment as representation
from videojam.evaluation.experiments.representation.round_trip import round_trip, round_trip_errors
from videojam.evaluation.experiments.representation.tuned import Representation, Tuning, tuned_model
from videojam.evaluation.metrics.flow_agreement import (
    flow_correlation,
    motion_share,
    psnr,
    relative_end_point_error,
)
from videojam.evaluation.statistics.curves import (
    band,
    crossing,
    crossings,
    earlier,
    mean_band,
    resample_weights,
)
from videojam.joint.checkpoint import JointInfo, read_info, save_folder
from videojam.joint.find_family import family_of
from videojam.joint.latents import latent_channels
from videojam.joint.noising import flow_matching
from videojam.joint.sizes import pixel_size
from videojam.joint.widen import widen
from videojam.lab.clips import Lab, lab_clips
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.sampling.partial_sampling import (
    continue_from,
    remaining,
    schedule,
)
from videojam.sampling.pipeline import Sampling, initial_noise, sample_latents

SIZES = SmallWan(
    num_layers=1, num_heads=1, vae_width=4, vae_multipliers=(1, 1, 1), vae_patch=2, text_width=16,
    text_layers=1, text_length=16, flow_shift=2.0,
)  # fmt: skip
FRAMES, SIDE = 9, 64
LATENT = (16, 3, 8, 8)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """base, control and videojam of random weights, which is all that these tests need."""
    root = tmp_path_factory.mktemp("models")
    for name, seed in (("base", 0), ("control", 1)):
        small_wan_pipeline(replace(SIZES, seed=seed)).save_pretrained(root / name)
    pipe = small_wan_pipeline(SIZES)
    pipe.register_modules(transformer=widen(pipe.transformer))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(2)
        for weight in pipe.transformer.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    info = JointInfo(
        sigma=0.15, background="black", estimator="exact", fps=16.0, height=SIDE, width=SIDE,
        num_frames=FRAMES, base=str(root / "base"),
    )  # fmt: skip
    save_folder(pipe, root / "videojam", info)
    return root


# --- permuted loss ----------------------------------------------------------------------------


def _clips(count=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, 3, 2, 2, generator=draw), {"text": torch.zeros(count, 1, 1)}


def _zero(noised, level, text):
    return torch.zeros_like(noised)


def test_the_identity_permutation_changes_nothing_at_all():
    """Same clips, another call: every random number is the same, so is every bit of the loss."""
    x, text = _clips()
    one, two = (
        loss_grid(_zero, flow_matching, x.clone(), text, [1.0, 0.5], 2, seed=3) for _ in range(2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, loss_grid(_zero, flow_matching, x, text, [1.0, 0.5], 2, seed=4))


def test_the_batch_size_decides_no_loss():
    x, text = _clips()
    one, two = (
        loss_grid(_zero, flow_matching, x, text, [0.7], 3, seed=0, batch_size=size)
        for size in (1, 100)
    )
    torch.testing.assert_close(one, two)
    assert len(one.unique()) == one.numel()  # every clip and noise its own


def test_permuting_keeps_the_frames_and_never_their_order():
    clip = torch.arange(3).view(3, 1, 1, 1).expand(3, 4, 4, 3).to(torch.uint8)
    for number in range(30):
        permuted = permute_frames(clip, 0, number)
        assert sorted(permuted[:, 0, 0, 0].tolist()) == [0, 1, 2]
        assert not torch.equal(permuted, clip)
    assert torch.equal(permute_frames(clip, 0, 4), permute_frames(clip, 0, 4))


def test_an_oracle_that_knows_the_original_has_the_closed_form():
    """x0_hat = z always: no loss for z, and ||p - z||^2 / sigma^2 for another clip p."""
    z, text = _clips()
    p = z + 0.3 * torch.randn(z.shape, generator=torch.Generator().manual_seed(9))

    def oracle(noised, level, text):
        return (noised - z) / level.seen_noise.view(-1, 1, 1, 1, 1)

    sigmas = [1.0, 0.6, 0.2]
    own = loss_grid(oracle, flow_matching, z, text, sigmas, 1, seed=0)
    other = loss_grid(oracle, flow_matching, p, text, sigmas, 1, seed=0)
    assert own.max() < 1e-10
    error = (p - z).square().flatten(1).mean(1)
    for place, sigma in enumerate(sigmas):
        torch.testing.assert_close(other[:, 0, place] * sigma**2, error, rtol=1e-4, atol=1e-5)


def test_the_gaussian_reference_is_the_posterior_mean():
    """Its error in x0 is var sigma^2 / ((1 - sigma)^2 var + sigma^2) for normal values."""
    draw = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(400, 2, 3, 4, 4, generator=draw) + 1
    predict, text = gaussian_predictor(x), {"text": torch.zeros(400, 1, 1)}
    for sigma in (1.0, 0.5, 0.1):
        error = (
            float(loss_grid(predict, flow_matching, x, text, [sigma], 1, seed=0).mean()) * sigma**2
        )
        expected = 4 * sigma**2 / (4 * (1 - sigma) ** 2 + sigma**2)
        assert error == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("motion", ["none", "noised", "zeros"])
def test_the_motion_half_is_what_was_asked_for(motion):
    x, text = _clips()
    seen = []

    def spy(latents, level, text):
        seen.append(latents)
        return torch.zeros_like(latents)

    d = {"d": torch.ones_like(x)} if motion == "noised" else {}
    loss_grid(spy, flow_matching, x, text, [0.5], 1, seed=0, motion=motion, **d)
    half = seen[0][:, 4:]
    assert seen[0].shape[1] == (4 if motion == "none" else 8)
    assert bool((half == 0).all()) == (motion != "noised")
    if motion == "noised":  # another noise than the appearance's
        assert not torch.allclose(half - 0.5, seen[0][:, :4] - 0.5 * x)
        assert half.mean() == pytest.approx(0.5, abs=0.15)
    wrong = {"motion": "none", "d": x} if motion == "noised" else {"motion": "noised"}
    with pytest.raises(ValueError, match="only then"):
        loss_grid(spy, flow_matching, x, text, [0.5], 1, seed=0, **wrong)


def _losses(gaps, clips=40, noises=2):
    """Losses of every curve that differ by a known share, system by system."""
    base = 1 + 0.1 * torch.rand(clips, noises, 5, generator=torch.Generator().manual_seed(0))
    found = {}
    for name, motion, form in permuted_loss.CURVES.values():
        found[f"{name}/{motion}/{form}"] = base
        found[f"{name}/{motion}/permuted"] = base * (1 + torch.tensor(gaps[name]))
        found[f"{name}/variance"] = torch.tensor([2.0])
    return found


def test_summary_of_losses_with_known_differences(tmp_path):
    gaps = {
        "base": [0.0, 0.0, 0.0, 0.04, 0.2],
        "control": [0.0, 0.0, 0.0, 0.0, 0.0],
        "videojam": [0.0, 0.0, 0.07, 0.2, 0.2],
    }
    config = permuted_loss.Config(out=tmp_path, num_times=5, clips=40)
    figures = permuted_loss.summarise(_losses(gaps), config)
    assert figures["t"] == [0, 20, 40, 60, 80]
    base, jam = (figures["curves"][name] for name in ("base", "VideoJAM"))
    assert base["relative"]["mean"] == pytest.approx(gaps["base"], abs=1e-6)
    assert base["relative"]["low"] == pytest.approx(gaps["base"], abs=1e-6)
    assert jam["first_relative"]["0.05"]["point"] == 40
    assert jam["first_relative"]["0.05"]["at"] == pytest.approx(20 + 20 * 5 / 7, rel=1e-4)
    assert base["first_relative"]["0.05"]["point"] == 80
    never = figures["curves"]["control"]["first_relative"]["0.1"]
    assert set(never.values()) == {None}
    # The excess is sigma^2 times the difference over the variance, here 2.
    level = base["loss_original"][3]
    assert base["excess"]["mean"][3] == pytest.approx(0.4**2 * 0.04 * level / 2, rel=1e-4)
    assert jam["told"]["mean"] == [0.5, 0.5, 1, 1, 1]
    assert jam["first_told"]["0.9"]["point"] == 40
    assert figures["earlier"]["VideoJAM before base"]["told"]["0.9"]["median"] == pytest.approx(20)
    sooner = figures["earlier"]["VideoJAM before base"]["relative"]["0.05"]
    expected = 60 + 20 / 16 - (20 + 20 * 5 / 7)
    assert [sooner[key] for key in ("median", "low", "high")] == pytest.approx([expected] * 3)


def test_crossings_of_synthetic_curves():
    x = torch.tensor([0.0, 10.0, 20.0])
    curves = torch.tensor([[0.0, 1.0, 1.0], [2.0, 0.0, 0.0], [0.0, 0.1, 0.2], [0.5, 0.5, 1.0]])
    places = crossings(x, curves, 0.5)
    assert places.tolist() == [5.0, 0.0, math.inf, 0.0]
    draw = torch.Generator().manual_seed(0)
    noisy = torch.tensor([0.02, 0.5, 1.0]) + 0.3 * torch.randn(200, 3, generator=draw)
    weights = resample_weights(200)
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights), dtype=torch.float64))
    resampled, mean = weights @ noisy.double(), noisy.double().mean(0)
    found = crossing(x, mean, resampled, 0.25)
    assert found.point == 10
    assert found.low < found.at < found.high
    # At this threshold the mean is there at once, but its band does not exclude zero.
    assert crossing(x, mean.abs() + 1e-3, resampled - mean, 1e-4).point is None
    assert earlier(x, resampled, resampled, 0.25) == (0, 0, 0, "")
    # Curves that do not reach it at all say so.
    never = torch.zeros_like(resampled)
    assert earlier(x, never, never, 0.25) == (0, 0, 0, "neither")
    assert earlier(x, resampled, never, 0.25).bound == ">="
    assert earlier(x, never, resampled, 0.25).bound == "<="
    curve = mean_band(noisy, weights)
    assert curve == band(mean, resampled)
    assert curve.error[0] == pytest.approx(0.3 / 200**0.5, rel=0.15)
    with pytest.raises(ValueError, match="expected a positive"):
        crossing(x, mean, resampled, 0.0)
    with pytest.raises(ValueError, match="expected at least 2"):
        resample_weights(1)


# --- continuation -----------------------------------------------------------------------------


def _sampling(**changes):
    return Sampling(
        num_frames=FRAMES, height=SIDE, width=SIDE, num_inference_steps=10, text_scale=2.0,
        motion_scale=1.0, **changes,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["base", "videojam"])
def test_continuing_from_step_0_is_plain_generation(models, name):
    from videojam.guidance.pipelines import inner_guidance

    pipe, joint = load_model(name, models / name, "cpu").pipe, name == "videojam"
    sampling, shape = _sampling(), LATENT
    noise = torch.stack([initial_noise(seed, shape, joint) for seed in (0, 1)])
    prompts = ["a red ball", "a green square"]
    found = continue_from(pipe, torch.randn_like(noise), noise, prompts, 0, sampling, joint)
    requests = list(zip(prompts, (0, 1), strict=True))
    if joint:
        with inner_guidance(pipe, sampling):
            whole = sample_latents(pipe, requests, sampling, 3.0, motion=True)
    else:
        whole = sample_latents(pipe, requests, sampling, 3.0, motion=False)
    # UniPC's schedule starts at 1 - 1e-6, so a millionth of the clip is left in the noise.
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("step", [1, 5, 9, 10])
@pytest.mark.parametrize("name", ["base", "videojam"])
def test_with_an_oracle_continuing_lands_on_the_data(models, monkeypatch, name, step):
    pipe, joint = load_model(name, models / name, "cpu").pipe, name == "videojam"
    draw = torch.Generator().manual_seed(step)
    clean, noise = torch.randn(2, 1, 32 if joint else 16, *LATENT[1:], generator=draw).unbind(0)
    levels = []

    def oracle(hidden_states, timestep, **rest):
        sigma = pipe.scheduler.sigmas[pipe.scheduler.step_index or 0]
        assert abs(float(timestep[0]) - 1000 * float(sigma)) <= 1
        levels.append(float(sigma))
        return ((hidden_states - clean) / sigma,)

    stock = pipe.scheduler
    monkeypatch.setattr(pipe.transformer, "forward", oracle)
    # Inner-Guidance's zeros for motion are no state of this oracle: text guidance alone.
    sampling = _sampling(mode="without_inner_guidance")
    found = continue_from(pipe, clean, noise, ["a red ball"], step, sampling, joint)
    torch.testing.assert_close(found, clean, rtol=1e-4, atol=1e-4)
    assert pipe.scheduler is stock
    expected = schedule(pipe, sampling)[step:-1]
    passes = torch.tensor(levels).view(-1, 2) if levels else torch.empty(0, 2)
    torch.testing.assert_close(passes, expected[:, None].expand(-1, 2))


def test_the_rest_of_a_run_is_the_same_run(models):
    """With a solver of order 1, whose steps remember nothing, going on from the middle is exact."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    pipe = load_model("videojam", models / "videojam", "cpu").pipe
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=2.0)
    sampling, noise = _sampling(), initial_noise(0, LATENT)[None]
    states = {}

    def watch(pipe, step, timestep, given):
        states[step + 1] = given["latents"].clone()
        return {}

    from videojam.guidance.pipelines import inner_guidance

    with inner_guidance(pipe, sampling):
        whole = pipe(
            "a red ball", negative_prompt="", num_frames=FRAMES, height=SIDE, width=SIDE,
            num_inference_steps=10, guidance_scale=3.0, latents=noise, output_type="latent",
            max_sequence_length=16, callback_on_step_end=watch,
        ).frames  # fmt: skip
    for step in (3, 7):
        # "clean" and "noise" both the state at this step: that is what noising makes of them.
        found = continue_from(
            pipe, states[step], states[step], ["a red ball"], step, sampling, True
        )
        torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["HunyuanVideo", "HunyuanVideo-1.5", "LTX-Video", "Motif-Video"])
def test_pipelines_that_set_a_schedule_of_their_own(name):
    """Levels and shift come from the pipeline's own call: with an oracle it lands on the data."""
    pipe = MODELS[name]()
    pipe.set_progress_bar_config(disable=True)
    family = family_of(pipe.transformer)
    frames, height, width = pixel_size(pipe, (2, 4, 4))
    sampling = Sampling(
        num_frames=frames, height=height, width=width, num_inference_steps=6, text_scale=0.0
    )
    clean, noise = torch.randn(2, 1, latent_channels(pipe.vae), 2, 4, 4).unbind(0)
    levels = []

    def oracle(*args, **given):
        hidden = (args[0] if args else given["hidden_states"]).float()
        level = given["timestep"].flatten()[0].float() / 1000
        levels.append(float(level))
        seen = family.layout.unpack(hidden, clean.shape[2:])[:, : clean.shape[1]]
        return (family.layout.pack((seen - clean) / level),)

    expected = schedule(pipe, sampling)
    pipe.transformer.forward = oracle
    found = continue_from(pipe, clean, noise, ["a red ball"], 2, sampling, False)
    torch.testing.assert_close(found, clean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torch.tensor(levels), expected[2:-1], rtol=1e-3, atol=1e-3)


def test_guidance_windows_stay_where_they_were():
    whole = _sampling(motion_stop=0.5, text_start=0.2)
    for step in range(10):
        rest = remaining(whole, step)
        for at in range(step, 10):
            assert rest.weights(at - step, 10 - step) == whole.weights(at, 10)
    with pytest.raises(ValueError, match="begins in the middle has no terms of the steps before"):
        remaining(_sampling(text_every=2), 3)


def test_steps_outside_of_the_schedule_and_odd_schedulers_are_refused(models):
    from diffusers import DDIMScheduler

    pipe = load_model("base", models / "base", "cpu").pipe
    z = torch.zeros(1, *LATENT)
    with pytest.raises(ValueError, match="from 0 to 10"):
        continue_from(pipe, z, z, ["a"], 11, _sampling(), False)
    pipe.scheduler = DDIMScheduler()
    with pytest.raises(ValueError, match="DDIMScheduler"):
        continue_from(pipe, z, z, ["a"], 1, _sampling(), False)


def test_agreement_of_flows_in_closed_form():
    flow = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    still = torch.zeros_like(flow)
    assert relative_end_point_error(flow, flow) == 0
    assert relative_end_point_error(still, flow) == pytest.approx(1)
    assert relative_end_point_error(-flow, flow) == pytest.approx(2)
    assert math.isnan(relative_end_point_error(flow, still))
    assert flow_correlation(3 * flow, flow) == pytest.approx(1)
    assert flow_correlation(-flow, flow) == pytest.approx(-1)
    assert flow_correlation(still, flow) == 0
    assert motion_share(2 * flow, flow) == pytest.approx(2)
    frames = torch.full((2, 4, 4, 3), 100, dtype=torch.uint8)
    assert psnr(frames + 10, frames) == pytest.approx(20 * math.log10(25.5))
    assert math.isinf(psnr(frames, frames))


@given(angle=st.floats(0, 2 * math.pi), noise=st.floats(0, 2), seed=st.integers(0, 99))
def test_correlation_does_not_depend_on_the_direction_of_motion(angle, noise, seed):
    """Both flows turned by any angle; the same pan with noise of its own in both."""
    random = torch.Generator().manual_seed(seed)
    pan = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
    a, b = (pan + noise * torch.randn(3, 2, 6, 6, generator=random) for _ in range(2))
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turned = (torch.einsum("ij,njhw->nihw", turn, flow) for flow in (a, b))
    found = flow_correlation(*turned)
    assert found == pytest.approx(flow_correlation(a, b), abs=1e-5)
    if noise <= 0.3:
        assert found > 0.9, "a pan that is reproduced is agreement, in any direction"


# --- representation ---------------------------------------------------------------------------


@pytest.mark.parametrize("background", ["black", "white"])
@pytest.mark.parametrize("sigma", [0.05, 0.15, 0.4])
def test_without_an_autoencoder_only_saturation_is_lost(sigma, background):
    flow = lab_clips(Lab(seed=5), [2])[1].flow[0]
    back = round_trip(flow, lambda pixels: pixels, sigma, background)
    limit = sigma * math.hypot(64, 64)
    length = flow.norm(dim=1, keepdim=True)
    expected = flow * (limit / length.clamp(min=1e-9)).clamp(max=1)
    torch.testing.assert_close(back, expected, rtol=1e-3, atol=1e-3)
    found = round_trip_errors(flow, back, sigma)
    moving = length[:, 0] >= 0.1
    lost = (length[:, 0] - limit).clamp(min=0)[moving]
    assert found["error_px"] == pytest.approx(float(lost.mean()), abs=1e-3)
    assert found["direction"] == pytest.approx(1, abs=1e-4)
    assert found["still_px"] < 0.1
    assert found["saturated"] == pytest.approx(float((length[:, 0] >= limit).sum() / moving.sum()))


def test_errors_of_a_flow_that_is_half_of_what_it_was():
    flow = torch.zeros(1, 2, 2, 2)
    flow[0, 0, 0] = 4.0  # half of the pixels move
    back = torch.full_like(flow, 0.0)
    back[0, 0] = 2.0  # and half as fast, everywhere
    found = round_trip_errors(flow, back, 0.15)
    assert found["error_px"] == 2
    assert found["relative"] == 0.5
    assert found["direction"] == pytest.approx(1)
    assert found["still_px"] == 2


def test_a_copy_of_the_video_is_its_own_motion_half(models, tmp_path):
    """And models tuned on it, or plainly, are made once."""
    from videojam.data import dataset, loader
    from videojam.data.prepare.prepare import samples_path

    tuning = Tuning(
        models / "base", Lab(frames=FRAMES, height=SIDE, width=SIDE), 4, 1, 2, 2, 1e-3, "fp32"
    )
    made = tuned_model(tmp_path, "copy", Representation(second="video"), tuning, "cpu")
    assert read_info(made).estimator == "none: a copy of the video"
    path = samples_path(tmp_path / "data" / "video")
    assert len(dataset.columns(path, ("key",))) == 5
    batch = loader.load_batch(path, [0, 1])
    assert torch.equal(batch.x, batch.d)
    plain = tuned_model(tmp_path, "plain", None, tuning, "cpu")
    assert not (plain / "videojam.json").exists()
    batch = loader.load_batch(samples_path(tmp_path / "data" / "black-0.15"), [0, 1])
    assert not torch.equal(batch.x, batch.d)
    before = (made / "videojam.json").stat().st_mtime_ns
    assert tuned_model(tmp_path, "copy", Representation(second="video"), tuning, "cpu") == made
    assert (made / "videojam.json").stat().st_mtime_ns == before


# --- the commands -----------------------------------------------------------------------------


def _results(out):
    assert (out / "plot.png").stat().st_size > 5000
    assert (out / "results.md").read_text().startswith("# ")
    return json.loads((out / "results.json").read_text())


def test_permuted_loss_by_command_and_again(models, tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "run.yaml").write_text("clips: 3\nnoises: 2\nnum_times: 3\nbatch_size: 4\n")
    command = ["evaluate", "permuted-loss", "--models", str(models), "--out", str(out)]
    main([*command, "--config", str(tmp_path / "run.yaml")])
    first = _results(out)
    assert first["settings"]["clips"] == 3
    assert [*first["figures"]["curves"]] == [*permuted_loss.CURVES]
    curve = first["figures"]["curves"]["VideoJAM"]["relative"]
    assert len(curve["mean"]) == 3
    rows = zip(curve["low"], curve["mean"], curve["high"], strict=True)
    assert all(low <= mean <= high for low, mean, high in rows)
    # Zeros and motion, and exact and estimated motion, are different inputs.
    means = [first["figures"]["curves"][k]["loss_original"] for k in permuted_loss.CURVES]
    assert len({tuple(mean) for mean in means}) == len(means)
    stamp = (out / "losses" / "base.safetensors").stat().st_mtime_ns
    main([*command, "--config", str(tmp_path / "run.yaml"), "--batch-size", "5"])
    assert _results(out)["figures"] == first["figures"]
    assert (out / "losses" / "base.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(SystemExit):
        main([*command, "--clips", "5"])
    assert "made with other settings (clips: 3 there, 5 now" in capsys.readouterr().err


def test_continuation_by_command(models, tmp_path):
    out = tmp_path / "out"
    main(["evaluate", "continuation", "--models", str(models), "--out", str(out), "--clips", "2",
          "--starts", "0", "60", "--num-inference-steps", "5", "--batch-size", "2"])  # fmt: skip
    figures = _results(out)["figures"]
    assert figures["starts"] == [0, 60, 100]
    assert figures["sigmas"][0] == pytest.approx(1, abs=1e-5)
    assert figures["sigmas"][-1] == 0
    curves = figures["curves"]
    assert [*curves] == [*continuation.CURVES]
    # The motion that the joint model starts from is the answer: without it the end differs.
    joint, zeros = (curves[name]["correlation"]["mean"] for name in [*curves][2:])
    assert joint != zeros
    assert curves["base"]["psnr"]["mean"] != curves["VideoJAM"]["psnr"]["mean"]
    assert len(list(out.glob("strip-*.png"))) == 2
    # Nothing is continued again, there is only the drawing to do.
    kept = {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    config = continuation.Config(
        models=models, out=out, clips=2, starts=(0, 60), num_inference_steps=5
    )
    assert continuation.run(config) == figures
    assert {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()} == kept
    # What is out of range says so before anything is written.
    for wrong in ({"motion_stop": 50}, {"starts": ()}, {"starts": (0, 30, 50)}):
        with pytest.raises(ValueError):
            replace(config, out=tmp_path / "new", **wrong)


def test_representation_by_command(models, tmp_path):
    out = tmp_path / "out"
    main(["evaluate", "representation", "--models", str(models), "--out", str(out), "--prompts",
          "2", "--seeds-per-prompt", "1", "--num-inference-steps", "2", "--batch-size", "2",
          "--round-trip-clips", "3", "--trained", "black, 0.15", "copy of the video",
          "--train-clips", "4", "--train-steps", "2", "--train-batch-size", "2",
          "--precision", "fp32"])  # fmt: skip
    figures = _results(out)["figures"]
    trips = figures["round_trip"]
    assert trips["colours alone"]["black, 0.4"]["relative"]["mean"] < 1e-3
    assert trips["autoencoder"]["black, 0.4"]["relative"]["mean"] > 0.1
    assert [*figures["means"]] == ["black, 0.15", "copy of the video", "control", "true clips"]
    assert "copy of the video - control" in figures["differences"]
    assert (out / "coherence.png").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (lambda out: permuted_loss.Config(out=out, clips=1), "clips is 1, expected at least 2"),
        (lambda out: permuted_loss.Config(out=out, thresholds=(0.0,)), "expected positive"),
        (lambda out: continuation.Config(out=out, starts=(20, 60)), "growing numbers from 0"),
        (lambda out: continuation.Config(out=out, clips=1), "at least 2 clips"),
        (lambda out: representation.Config(out=out, trained=("red",)), "no representation 'red'"),
        (lambda out: representation.Config(out=out, seed=0), "training clips"),
        (lambda out: representation.Config(out=out, motion_stop=50), "motion_stop are 0.0, 50"),
        (
            lambda out: permuted_loss.run(permuted_loss.Config(out=out, models=out)),
            "base is no diffusers folder",
        ),
    ],
)
def test_bad_settings_say_so(tmp_path, config, message):
    with pytest.raises(ValueError, match=message):
        config(tmp_path)


def test_the_list_of_experiments_and_bad_names(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "--help"])
    assert stopped.value.code == 0
    listed = capsys.readouterr().out
    for name in ("comparison", "permuted-loss", "continuation", "ablations", "sweeps",
                 "representation", "agreement"):  # fmt: skip
        assert f"\n  {name} " in listed
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "permuted-los"])
    assert stopped.value.code == 2
    assert "did you mean 'permuted-loss'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", "permuted-loss", "--help"])
    assert "--quick" in capsys.readouterr().out


def test_a_stop_that_was_asked_for_exits_with_143(monkeypatch, tmp_path):
    from videojam.training.loop import Stopped

    def stop(config):
        raise Stopped("saved; the same command goes on")

    monkeypatch.setattr(permuted_loss, "run", stop)
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "permuted-loss", "--out", str(tmp_path)])
    assert stopped.value.code == 143
