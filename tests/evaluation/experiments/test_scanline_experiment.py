"""The scanline experiment: models, training that resumes, sampling in pairs, and its statistics."""

import json
import math
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videojam.evaluation.experiments.scanline import (
    compared,
    experiment,
    fit,
    gain_map,
    map_report,
    trials,
    triple,
)
from videojam.evaluation.experiments.scanline.bench import Bench, label
from videojam.evaluation.experiments.scanline.compared import Scope
from videojam.evaluation.experiments.scanline.fit import Batch, Speed
from videojam.evaluation.experiments.scanline.model import (
    NULL_TEXT,
    Sizes,
    base_transformer,
    latents,
    pixel_scale,
    text,
    to_frames,
)
from videojam.evaluation.experiments.scanline.sample import Sampler, steps_for
from videojam.evaluation.experiments.scanline.settings import Recipe, Triple
from videojam.evaluation.experiments.scanline.statistics import over_seeds
from videojam.joint.latents import split
from videojam.joint.noising import flow_matching
from videojam.joint.widen import widen
from videojam.lab.scanline.clips import draw
from videojam.lab.scanline.world import World
from videojam.motion.color import rgb_to_flow
from videojam.objective import joint_loss
from videojam.records.lock import held
from videojam.sampling.pipeline import Sampling

SMALL = Sizes(layers=1, heads=2, head_dim=16, feed_forward=32, text_width=8)
RECIPE = Recipe(batch=4, base_steps=6, tune_steps=4)
LITTLE = Triple(world=World(frames=4, width=24), sizes=SMALL, recipe=RECIPE, seed=3)
SPEED = Speed(compile=False, checkpoint_every=2)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A trained triple; do not write into it."""
    folder = tmp_path_factory.mktemp("scanline")
    triple.train(LITTLE, folder, SPEED)
    return folder


def weights(folder, role, of=LITTLE):
    return triple.load(of, role, folder).state_dict()


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [World(), World(kind="scroll"), World(background=0.2)])
def test_latents_have_unit_variance_and_come_back(world):
    clips = draw(world, 0, range(256))
    found = latents(world, clips)
    assert float(found.x.square().mean()) == pytest.approx(1, abs=0.08)
    torch.testing.assert_close(to_frames(world, found.x), clips.frames)
    assert found.d.shape == found.x.shape
    assert float(found.d.min()) == -1
    assert float(found.d.max()) <= 1
    sigma = world.saturation_px / (1 + world.width**2) ** 0.5
    back = rgb_to_flow((found.d.transpose(1, 2) + 1) / 2, sigma)
    torch.testing.assert_close(back[:, :-1], clips.flow, atol=1e-4, rtol=1e-4)
    assert pixel_scale(world) > 0


def test_every_word_changes_the_text_and_bodies_have_places():
    plain = torch.zeros(1, 2, 3, dtype=torch.long)
    base = text(SMALL, plain)["encoder_hidden_states"]
    assert base.shape == (1, 2, SMALL.text_width)
    assert not torch.equal(base[:, 0], base[:, 1]), "red on the left is not red on the right"
    for body in range(2):
        for word in range(3):
            other = plain.clone()
            other[0, body, word] = 1
            changed = text(SMALL, other)["encoder_hidden_states"] != base
            assert changed[0, body].any()
            assert not changed[0, 1 - body].any()
    null = text(SMALL, torch.full_like(plain, NULL_TEXT))["encoder_hidden_states"]
    assert not torch.equal(null, base)


def test_weights_are_those_of_the_seed_and_leave_torch_as_it_was():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    one, same, other = (base_transformer(SMALL, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert equal(one, same)
    assert not equal(one, other)


# --- training -------------------------------------------------------------------------------------


def test_control_and_joint_model_see_the_same():
    control, joint = (Batch(LITTLE, role, 5) for role in ("control", "joint"))
    for name in ("sigma", "captions"):
        assert torch.equal(getattr(control, name), getattr(joint, name))
    assert torch.equal(control.noise.x, joint.noise.x)
    assert torch.equal(control.clean.x, joint.clean.x)
    base = Batch(LITTLE, "base", 5)
    assert not torch.equal(base.clean.x, joint.clean.x), "clips that the base has not seen"
    assert torch.equal(joint.sigma_d, joint.sigma)
    all_dropped = replace(LITTLE, recipe=replace(RECIPE, text_dropout=1.0, motion_dropout=1.0))
    batch = Batch(all_dropped, "joint", 0)
    assert bool((batch.captions == NULL_TEXT).all())
    assert bool(batch.drop_motion.all())


def test_noise_levels_drawn_apart_are_of_the_motion_alone():
    changed = replace(LITTLE, recipe=replace(RECIPE, batch=64, noise_apart=0.5))
    batch = Batch(changed, "joint", 0)
    plain = Batch(replace(LITTLE, recipe=replace(RECIPE, batch=64)), "joint", 0)
    assert torch.equal(batch.sigma, plain.sigma)
    assert 0.3 < float((batch.sigma_d != batch.sigma).float().mean()) < 0.7
    assert torch.equal(batch.noise.d, plain.noise.d)

    def motion_given(latents, level, text):
        seen["latents"], seen["level"] = latents, level
        return latents

    seen = {}
    x, d = batch.clean.x, batch.clean.d
    loss = joint_loss(
        motion_given, x, d, {}, level=flow_matching(batch.sigma), noise_x=batch.noise.x,
        noise_d=batch.noise.d, level_d=flow_matching(batch.sigma_d),
    )  # fmt: skip
    own = batch.sigma_d.view(-1, 1, 1, 1, 1)
    noised = (1 - own) * d + own * batch.noise.d
    torch.testing.assert_close(split(seen["latents"]).d, noised)
    assert torch.equal(seen["level"].time, flow_matching(batch.sigma).time), "told the other"
    torch.testing.assert_close(loss.motion, (noised - (batch.noise.d - d)).square().mean())


def test_saturation_scales_the_motion_video_alone():
    clips = draw(LITTLE.world, 0, range(16))
    plain, half = (latents(LITTLE.world, clips, s) for s in (1.0, 0.5))
    assert torch.equal(plain.x, half.x)
    brightness = [(1 + one.d.amax(1)).mean() for one in (plain, half)]
    assert brightness[1] > 1.3 * brightness[0]


@pytest.mark.parametrize("field", ["noise_apart", "saturation"])
def test_younger_settings_rename_no_model_unless_they_are_used(field):
    changed = replace(LITTLE, recipe=replace(RECIPE, **{field: 0.5}))
    assert field not in LITTLE.settings("joint")["recipe"]
    assert changed.name("joint") != LITTLE.name("joint")
    assert changed.name("control") == LITTLE.name("control")


def test_a_run_that_is_killed_goes_on_as_if_nothing_had_been(models, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    drawn = fit.Batch

    def killed(of, role, step):
        if step == 3 and not killed.over:
            killed.over = True
            raise Killed
        return drawn(of, role, step)

    for _ in ("base", "control", "joint"):
        killed.over = False
        monkeypatch.setattr(fit, "Batch", killed)
        with pytest.raises(Killed):
            triple.train(LITTLE, tmp_path, SPEED)
    triple.train(LITTLE, tmp_path, SPEED)
    for role in ("base", "control", "joint"):
        assert equal(weights(tmp_path, role), weights(models, role)), role
        names = [folder / LITTLE.name(role) / "metrics.jsonl" for folder in (tmp_path, models)]
        logs = [[json.loads(line) for line in name.read_text().splitlines()] for name in names]
        assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]]
    assert not [*tmp_path.rglob("checkpoints")]


def test_the_joint_model_starts_as_its_base_and_all_roles_learn(models):
    base, control, joint = (weights(models, role) for role in ("base", "control", "joint"))
    assert not equal(base, control)
    wide = joint["patch_embedding.weight"]
    assert wide.shape[1] == 6
    assert bool(wide[:, 3:].any()), "the motion input is learnt"
    assert not torch.equal(wide[:, :3], base["patch_embedding.weight"])


@pytest.mark.parametrize(
    "change",
    [
        {"projection_rate": 1.0}, {"projections_first": 2}, {"motion_weight": 0.3},
        {"motion_decay": 0.5}, {"motion_dropout": 0.9}, {"tune_rate": 1e-4}, {"text_dropout": 0.9},
    ],
)  # fmt: skip
def test_every_setting_of_fine_tuning_has_its_effect_and_shares_the_base(models, tmp_path, change):
    other = replace(LITTLE, recipe=replace(RECIPE, **change))
    assert other.name("base") == LITTLE.name("base")
    assert other.name("joint") != LITTLE.name("joint")
    shared = {"tune_rate", "text_dropout"} & {*change}
    assert (other.name("control") != LITTLE.name("control")) == bool(shared)
    model = triple._start(LITTLE, "joint", models)
    fit.fit(model, other, "joint", tmp_path, SPEED)
    assert not equal(model.state_dict(), weights(models, "joint"))


def test_projections_alone_first_leave_the_rest_as_it_was(models, tmp_path):
    first = replace(LITTLE, recipe=replace(RECIPE, projections_first=4, weight_decay=0.0))
    model = triple._start(LITTLE, "joint", models)
    fit.fit(model, first, "joint", tmp_path, SPEED)
    base = widen(triple.load(LITTLE, "base", models), latent_channels=3).state_dict()
    changed = {name for name, value in model.state_dict().items() if not value.equal(base[name])}
    assert changed == {"patch_embedding.weight", "patch_embedding.bias",
                       "proj_out.weight", "proj_out.bias"}  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"world": World(frames=5, width=24)}, {"sizes": Sizes()}]
)
def test_models_of_other_settings_have_folders_of_their_own(change):
    other = replace(LITTLE, **change)
    for role in ("base", "control", "joint"):
        assert other.name(role) != LITTLE.name(role)


def test_a_model_that_others_train_is_left_to_them(models, tmp_path):
    folder = tmp_path / LITTLE.name("base")
    with held(folder) as mine:
        assert mine
        with held(folder) as second:
            assert not second
        assert not triple._train_free(LITTLE, "base", tmp_path, SPEED)
    assert not triple._train_free(LITTLE, "joint", tmp_path, SPEED), "its base is not there"
    with pytest.raises(ValueError, match="train the triple"):
        triple.load(LITTLE, "joint", tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run(models, tmp_path):
    model = triple.load(LITTLE, "base", models)
    with torch.no_grad():
        model.proj_out.bias.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="step 1"):
        fit.fit(model, LITTLE, "control", tmp_path, SPEED)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 0}, "batch"),
        ({"text_dropout": 1.5}, "text_dropout"),
        ({"tune_rate": 0.0}, "tune_rate"),
        ({"projection_rate": 0.0}, "projection_rate"),
        ({"projections_first": 9999}, "projections_first"),
    ],
)
def test_recipes_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**change)


def test_a_line_that_patches_do_not_fill_is_refused():
    with pytest.raises(ValueError, match="multiple of the patch"):
        Triple(world=World(width=50))


# --- sampling -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samplers(models):
    return {
        role: Sampler.of(triple.load(LITTLE, role, models), LITTLE, role, SPEED)
        for role in ("control", "joint")
    }


def setting(**changes):
    return Sampling(**{"num_inference_steps": 4, "text_scale": 1.0, "motion_scale": 2.0} | changes)


def test_a_sample_does_not_depend_on_those_beside_it(samplers):
    captions = draw(LITTLE.world, 0, range(5)).captions
    for sampler in samplers.values():
        noise = sampler.noise(range(5), 7)
        together = sampler.frames(captions, noise, setting())
        alone = sampler.frames(captions[3:4], sampler.noise(range(3, 4), 7), setting())
        torch.testing.assert_close(together[3:4], alone, atol=0.05, rtol=0)  # bf16, another place
        assert together.shape == (5, 4, 1, 24, 3)
    assert torch.equal(samplers["joint"].noise(range(2), 7)[:, :3],
                       samplers["control"].noise(range(2), 7))  # fmt: skip


def test_every_scale_has_its_effect(samplers):
    captions = draw(LITTLE.world, 0, range(2)).captions
    for role, names in (("control", ["text_scale"]), ("joint", ["text_scale", "motion_scale"])):
        noise = samplers[role].noise(range(2), 7)
        with_it = samplers[role].latents(captions, noise, setting())
        for name in names:
            without = samplers[role].latents(captions, noise, setting(**{name: 0.0}))
            assert not torch.equal(with_it, without), (role, name)


def test_passes_are_those_that_the_transformer_makes(samplers):
    captions = draw(LITTLE.world, 0, range(2)).captions
    for sampling in (setting(), setting(text_scale=0.0), setting(motion_scale=0.0)):
        for role, sampler in samplers.items():
            calls = []
            module = sampler.pipe.transformer.patch_embedding
            handle = module.register_forward_hook(lambda *_, calls=calls: calls.append(1))
            sampler.latents(captions, sampler.noise(range(2), 7), sampling)
            handle.remove()
            assert len(calls) == sampling.passes(4, role == "joint"), (role, sampling)
    assert steps_for(setting(), False, 80) == 40
    assert setting().passes(40) == 100
    assert steps_for(setting(), True, 100) == 40


def test_a_clip_continued_from_late_is_the_clip(samplers):
    clips = draw(LITTLE.world, 0, range(2))
    clean = latents(LITTLE.world, clips).x
    sampler = samplers["control"]
    noise = sampler.noise(range(2), 7)
    off = []
    for step in (0, 2, 3):
        level = (1.0, 0.5, 0.25)[(0, 2, 3).index(step)]
        start = (1 - level) * clean + level * noise
        final = sampler.latents(clips.captions, start, setting(text_scale=0.0), step)
        off.append(float((final - clean).abs().mean()))
    assert off == sorted(off, reverse=True)
    assert off[2] < off[0]


def test_labels_tell_settings_apart():
    settings = [setting(), setting(text_scale=0.0), setting(motion_scale=0.0),
                setting(motion_stop=1.0), setting(mode="without_flow"),
                setting(num_inference_steps=5), setting(text_every=2), setting(motion_every=2),
                setting(text_every=2, reuse="extrapolate"), setting(settled_cosine=0.9),
                setting(text_term="apg"), setting(text_stop=0.5)]  # fmt: skip
    assert len({label(one) for one in settings}) == len(settings)


# --- statistics and the whole ---------------------------------------------------------------------


@given(st.floats(-2, 2), st.integers(0, 20))
def test_the_mean_over_seeds_gives_each_seed_the_same_weight(shift, seed):
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(4, 20, generator=random, dtype=torch.float64) + shift
    values[0, 5:] = torch.nan  # fewer prompts have this score
    found = over_seeds(values, resamples=20)
    assert found.over_seeds.mean == pytest.approx(float(values.nanmean(1).mean()))
    assert found.hierarchical.mean == pytest.approx(found.over_seeds.mean)
    assert found.hierarchical.low <= found.hierarchical.high
    moved = over_seeds(values + 1, resamples=20)
    assert moved.hierarchical.low == pytest.approx(found.hierarchical.low + 1)


def test_intervals_of_few_seeds_cover_what_is_true():
    """Training seeds differ by 1, prompts by 1: the t interval covers 95 %, the other fewer."""
    random = torch.Generator().manual_seed(0)
    covered = torch.zeros(2)
    for _ in range(200):
        of_seed = torch.randn(5, 1, generator=random)
        found = over_seeds(of_seed + torch.randn(5, 30, generator=random), resamples=100)
        for place, interval in enumerate((found.over_seeds, found.hierarchical)):
            covered[place] += interval.low <= 0 <= interval.high
    assert 0.90 < covered[0] / 200 <= 0.99
    assert covered[1] < covered[0]


def test_one_seed_has_no_interval_over_seeds():
    found = over_seeds(torch.randn(1, 10))
    assert found.over_seeds is None
    assert over_seeds(torch.full((2, 4), torch.nan)).hierarchical is None


def tiny(out, **changes):
    scope = Scope(
        prompts=6, development=4, steps=4, text_scales=(0.0, 1.5), motion_scales=(3.0,),
        motion_stops=(0.5,), loss_clips=4, continued_clips=4,
    )  # fmt: skip
    recipe = Recipe(batch=4, base_steps=4, tune_steps=3)
    return experiment.Config(
        out=out, quick=True, seeds=2, compile=False, recipe=recipe, scope=scope, **changes
    )


def test_scales_are_best_for_all_seeds_together_not_for_the_first_one():
    """Of the first model w1 = 8 is the best by little, of the second one it is a cliff."""
    lawful = {1.5: (0.5, 0.5), 5.0: (0.6, 0.6), 8.0: (0.61, 0.1)}
    asked = []

    class Of(Bench):
        def __init__(self, seed):
            self.seed = seed

        def scores(self, role, sampling, stream, count):
            asked.append((role, stream, count))
            value = lawful[sampling.text_scale][self.seed] - 0.01 * abs(sampling.motion_scale - 3)
            return {"lawful": torch.full((count,), value)}

    scope = Scope(development=5, text_scales=(1.5, 5.0, 8.0), motion_scales=(1.0, 3.0, 5.0))
    chosen = compared.choose([Of(0), Of(1)], scope)
    assert {*chosen} == {*compared.ROLES}
    assert {own.text_scale for own in chosen.values()} == {5.0}
    assert {name: own.motion_scale for name, own in chosen.items() if own.motion_scale} == {
        compared.GUIDED: 3.0
    }
    assert {*asked} == {(role, "development", 5) for role in ("base", "control", "joint")}
    (alone,) = compared.choose([Of(0)], scope, [compared.CONTROL]).values()
    assert alone.text_scale == 8.0


def test_the_whole_experiment_resumes_and_says_the_same_again(tmp_path):
    figures = experiment.run(tiny(tmp_path / "a"))
    written = json.loads((tmp_path / "a" / "results.json").read_text())
    assert written["figures"] == json.loads(json.dumps(figures))
    assert figures["training_seeds"] == [0, 1]
    assert {"control", "joint", "joint + Inner-Guidance"} < {*figures["means"]}
    text = (tmp_path / "a" / "results.md").read_text()
    assert "lawful" in text
    measured = {path.parent.relative_to(tmp_path / "a") for path in tmp_path.rglob("*w1*")}
    assert measured == {
        Path(f"seed-{seed}/{stream}")
        for seed in (0, 1)
        for stream in ("development-4", "held-out-6")
    }, "scales are chosen by captions of both seeds that nothing is compared on"
    for name in ("plot.png", "sweeps.png", "clips-seed-0.png", "clips-seed-1.png"):
        assert (tmp_path / "a" / name).stat().st_size > 1000
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*.safetensors")}
    assert experiment.run(tiny(tmp_path / "a")) == figures
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "nothing was done twice"
    with pytest.raises(ValueError, match=r"was made with other settings \(background: "):
        experiment.run(tiny(tmp_path / "a", background=0.5))


def test_scrolling_has_the_same_figures(tmp_path):
    figures = experiment.run(tiny(tmp_path, kind="scroll"))
    assert {*figures["means"]["control"]} == {"lawful", "asked_speed"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"seeds": 0}, "seeds"), ({"width": 50}, "patch"), ({"radius": 99.0}, "radius")],
)
def test_experiments_that_cannot_be_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(out=tmp_path, **changes)
    with pytest.raises(ValueError, match="at least one of each"):
        Scope(motion_scales=())


def test_the_map_resumes_and_says_the_same_again(tmp_path):
    config = gain_map.Config(
        out=tmp_path, quick=True, compile=False, sizes=SMALL, recipe=Recipe(batch=2),
        scope=Scope(
            prompts=8, development=4, steps=2, text_scales=(1.5,), motion_scales=(3.0,),
            motion_stops=(0.5,), loss_clips=2, continued_clips=2,
        ),
    )  # fmt: skip

    figures = gain_map.run(config)
    sets = [(row["set"], row["seed"]) for row in figures["cells"]]
    assert sets == [("found", 0), ("found", 0), ("tested", 1)]
    for row in figures["cells"]:
        both, joint, inner = (
            row["gains"][k]["mean"] for k in ("both", "joint training", "Inner-Guidance")
        )
        assert both == pytest.approx(joint + inner, abs=1e-6)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert gain_map.run(config) == figures
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "nothing was done twice"
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_trials_differ_from_the_recipe_in_one_thing_and_share_the_base(tmp_path, monkeypatch):
    chosen_by, choose = [], compared.choose

    def noted(benches, *given):
        chosen_by.append({bench.triple.seed for bench in benches})
        return choose(benches, *given)

    monkeypatch.setattr(compared, "choose", noted)
    scope = Scope(
        prompts=4, development=2, steps=2, text_scales=(1.5,), motion_scales=(3.0,),
        motion_stops=(0.5,), loss_clips=2, continued_clips=2,
    )  # fmt: skip
    config = trials.Config(
        out=tmp_path, seeds=2, compile=False, sizes=SMALL, scope=scope,
        recipe=Recipe(batch=2, base_steps=2, tune_steps=8),
        variants=("motion loss weighs 3", "projections alone for an eighth"),
    )  # fmt: skip
    figures = trials.run(config)
    assert [*figures] == [trials.AS_IT_IS, *config.variants]
    assert set(figures[trials.AS_IT_IS]["joint"]["per_seed"]) == {0.0}
    names = [folder.name for folder in (tmp_path / "models").iterdir()]
    assert sum("-base-" in name for name in names) == 2
    assert sum("-joint-" in name for name in names) == 6
    assert not any("-control-" in name for name in names)
    assert trials.run(config) == figures
    developed = {path.parents[1].name for path in tmp_path.rglob("development-2/*.safetensors")}
    plain = {config.triple(trials.AS_IT_IS, seed).name("joint") for seed in range(2)}
    assert developed == plain, "scales are those of the recipe as it is"
    assert chosen_by == [{0, 1}, {0, 1}], "of all seeds, in both runs"
    assert "joint: w1 = 1.5, w2 = 0;" in (tmp_path / "results.md").read_text()
    for name, changes in trials.VARIANTS.items():
        recipe = config.triple(name, 0).recipe
        differing = {k for k in changes if getattr(recipe, k) != getattr(config.recipe, k)}
        assert differing == {*changes}, "every variant is another recipe"
    with pytest.raises(ValueError, match="no variant"):
        replace(config, variants=("no such",))


def test_trials_of_one_training_have_intervals_over_captions_those_of_several_over_trainings():
    plain = torch.rand(64, generator=torch.Generator().manual_seed(0))
    better = plain + 0.1 + 0.02 * torch.randn(64, generator=torch.Generator().manual_seed(1))
    one = {trials.AS_IT_IS: {0: {"joint": plain}}, "v": {0: {"joint": better}}}
    found = trials.summarise(one)["v"]["joint"]["difference"]
    assert found["num_clusters"] == 64
    assert 0.09 < found["low"] < 0.1 + 1e-2
    assert found["low"] < float((better - plain).mean()) < found["high"] < 0.11
    two = {name: seeds | {1: seeds[0]} for name, seeds in one.items()}
    assert trials.summarise(two)["v"]["joint"]["difference"]["num_clusters"] == 2
    loss = {name: {0: {"loss": torch.tensor([0.5])}} for name in one}
    assert trials.summarise(loss)["v"]["loss"]["difference"] is None


def test_motion_counts_as_learnt_at_half_its_first_loss():
    rows = [{"step": 20 * k, "motion": m} for k, m in enumerate((1.2, 0.9, 0.6, 0.59, 0.2), 1)]
    assert trials.learnt_at(rows) == 80
    assert math.isnan(trials.learnt_at(rows[:3]))


def test_a_number_that_is_the_same_in_all_cells_foretells_nothing():
    def row(which, early, late, gain):
        numbers = {"early": early, "late": late, "noticed_at": 1.0}
        return {"set": which, "noticing": numbers, "gains": {"both": {"mean": gain}}}

    rows = [row("found", 1.0, late, gain) for late, gain in ((1, 3.0), (2, 2.0), (3, 1.0))]
    rows += [row("tested", 1.0, late, gain) for late, gain in ((4, 0.0), (5, -1.0))]
    rows = [r | {"noticing": {k: float(v) for k, v in r["noticing"].items()}} for r in rows]
    rows = [r | {"moving": -r["noticing"]["late"]} for r in rows]
    found = map_report.foretold(rows, "both")
    assert found["best"] == "late", "as good as what moves, which is beside the question"
    for which in ("found", "tested"):
        assert found["rank_correlation"][which]["late"] == pytest.approx(-1)
        assert found["rank_correlation"][which]["moving"] == pytest.approx(1)
    assert found["tested"]["error"] == pytest.approx(0, abs=1e-9)


def test_what_a_knob_does_is_the_mean_over_pairs_that_differ_in_it_alone():
    """Of a gain that is a sum of what each knob does, and a product of two of them."""

    def row(which, knobs, gain):
        return {
            "set": which,
            "kind": "bounce",
            "seed": 0,
            **knobs,
            "gains": {"both": {"mean": gain}},
        }

    rows = []
    for radius, background, base, tune in product((1, 3), (0.5, 1.5), (10, 20), (5,)):
        knobs = {"radius": radius, "background": background, "base_steps": base, "tune_steps": tune}
        rows.append(row("found", knobs, 2 * radius + background * base))
    far = {"radius": 9, "background": 9.0, "base_steps": 9, "tune_steps": 9}
    found = map_report.effects([*rows, row("tested", far, 1e6)], "both")
    assert [*found] == ["radius", "background", "base_steps"], "one knob was not turned"
    assert (found["radius"]["from"], found["radius"]["to"]) == (1, 3)
    assert tuple(found["radius"]["gain"].values())[:3] == pytest.approx((4, 4, 4))
    assert found["background"]["gain"]["mean"] == pytest.approx(15)  # 10 or 20 times 1
    margin = 3.1824 * math.sqrt(100 / 3) / 2  # Student's t, four pairs of 10, 10, 20, 20
    assert found["background"]["gain"]["high"] == pytest.approx(15 + margin, abs=0.01)
    assert found["base_steps"]["gain"]["mean"] == pytest.approx(10)  # 10 times 0.5 or 1.5
    missing = [r for r in rows if (r["radius"], r["background"]) != (1, 0.5)]
    assert map_report.effects(missing, "both")["radius"]["gain"]["num_values"] == 2


def test_the_tested_cells_were_not_used_to_find_anything():
    config = gain_map.Config(out=Path("unused"))
    assert not {*gain_map.FOUND} & {*gain_map.TESTED}
    triples = config.triples()
    names = {which: {t.name("base") for (w, *_), t in triples.items() if w == which}
             for which in ("found", "tested")}  # fmt: skip
    assert len(names["found"]) == 8, "two lengths of fine-tuning share a base"
    assert not names["found"] & names["tested"]
    bases = [config.triple(cell, 0).name("base") for cell in gain_map.FOUND]
    assert all(a != b for a, b in pairwise(bases)), "processes side by side need not wait"
    assert {t.seed for (w, *_), t in triples.items() if w == "found"} == {0}
    assert {t.seed for (w, *_), t in triples.items() if w == "tested"} == {1}
