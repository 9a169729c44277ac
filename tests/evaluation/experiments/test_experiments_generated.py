"""Experiments on generated clips: what is kept, what is paired, what the tables say."""

import itertools
import json
import math
from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from diffusers import UniPCMultistepScheduler
from safetensors import safe_open

from videojam.evaluation.clips import shards, systems
from videojam.evaluation.clips.judged import (
    CEILING,
    LAB_METRICS,
    TRUE_CLIPS,
    Judged,
    Row,
    judge_clips,
    read_rows,
    scored_as_the_truth,
    true_clips,
    write_rows,
)
from videojam.evaluation.clips.systems import (
    System,
    clips_folder,
    generate_clips,
    lab_requests,
    load_joint,
)
from videojam.evaluation.experiments import ablations, comparison, generated, sweeps
from videojam.evaluation.experiments.agreement import experiment as agreement
from videojam.evaluation.experiments.agreement.bodies import body_correlation, named_colours
from videojam.evaluation.experiments.agreement.steps import clean_predictions, spread_steps
from videojam.evaluation.metrics.enlarged import EnlargedDIS
from videojam.evaluation.report.tables import (
    curve,
    difference,
    difference_table,
    differences,
    mean_of,
    show,
    summary,
)
from videojam.evaluation.statistics.bootstrap import Interval
from videojam.evaluation.statistics.set_distance import set_distance, set_distance_difference
from videojam.evaluation.statistics.student import t_interval, t_quantile
from videojam.joint.checkpoint import JointInfo, save_folder
from videojam.joint.widen import widen
from videojam.lab.clips import Lab, lab_scene
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.motion.flow import estimate_flow
from videojam.sampling.pipeline import Sampling

SIZES = SmallWan(
    num_layers=1, num_heads=2, head_dim=16, vae_width=8, vae_multipliers=(1, 1, 1), vae_patch=2,
    text_width=32, text_layers=1, text_length=32,
)  # fmt: skip
INFO = JointInfo(
    sigma=0.15, background="black", estimator="exact", fps=16.0, height=64, width=64, num_frames=9,
    base="base",
)  # fmt: skip
LAB = Lab(frames=9, height=64, width=64, seed=1000)
SHORT = Sampling(
    num_frames=9, height=32, width=32, num_inference_steps=2, batch_size=2, text_scale=2.0
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """base, control and videojam of random weights, the motion rows too, as after training."""
    root = tmp_path_factory.mktemp("models")
    for name, seed in (("base", 0), ("control", 1)):
        small_wan_pipeline(replace(SIZES, seed=seed)).save_pretrained(root / name)
    pipe = small_wan_pipeline(SIZES)
    transformer = widen(pipe.transformer)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        rows = transformer.patch_embedding.weight
        rows[:, 16:] = torch.randn(rows[:, 16:].shape, generator=random) * rows[:, :16].std()
        rows = transformer.proj_out.weight.view(4, 32, -1)
        rows[:, 16:] = torch.randn(rows[:, 16:].shape, generator=random) * rows[:, :16].std()
    pipe.register_modules(transformer=transformer)
    save_folder(pipe, root / "videojam", INFO)
    return root


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(systems, "SHARD_CLIPS", 2)


def system(models, name="videojam", precision="fp32", **changes):
    return System(
        name=name, folder=models / name, joint=name == "videojam",
        sampling=replace(SHORT, **changes), precision=precision,
    )  # fmt: skip


def samples(prompts=3, seeds=1):
    return [request.sample for request in lab_requests(LAB, prompts, seeds)]


def bits(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


# --- clips that are kept --------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["base", "videojam"])
def test_a_killed_run_goes_on_to_the_same_bits(models, tmp_path, monkeypatch, name, precision):
    chosen, requests = system(models, name, precision), samples(5)
    straight = [*generate_clips(chosen, requests, tmp_path / "straight")]
    assert len(straight) == 5
    assert straight[0].video.shape == (9, 32, 32, 3)
    assert straight[0].video.dtype == torch.uint8
    assert (straight[0].flow is None) == (name == "base")
    if name == "videojam":
        assert straight[0].flow.shape == (8, 2, 32, 32)

    write, calls = shards.save_file, itertools.count()

    def dies(results, path, **kwargs):
        if next(calls) == 1:
            path.write_bytes(b"half a sh")
            raise KeyboardInterrupt
        write(results, path, **kwargs)

    out = tmp_path / "killed"
    monkeypatch.setattr(shards, "save_file", dies)
    with pytest.raises(KeyboardInterrupt):
        generate_clips(chosen, requests, out)
    assert len(bits(out)) == 1, "one whole shard, and half of one under another name"
    first = (out / "shard-00000.safetensors").stat().st_mtime_ns
    generate_clips(chosen, requests, out)
    assert bits(out) == bits(tmp_path / "straight")
    assert (out / "shard-00000.safetensors").stat().st_mtime_ns == first, "the whole one stayed"


def test_what_is_there_needs_no_model(models, tmp_path, monkeypatch):
    made = [*generate_clips(system(models), samples(), tmp_path)]
    monkeypatch.setattr(systems, "load_joint", None)
    again = [*generate_clips(system(models), samples(), tmp_path)]
    for one, other in zip(made, again, strict=True):
        assert torch.equal(one.video, other.video)
        assert torch.equal(one.flow, other.flow)


def test_batch_size_may_change_when_a_run_goes_on(models, tmp_path):
    chosen, requests = system(models), samples(3)
    straight = [*generate_clips(chosen, requests, tmp_path)]
    (tmp_path / "shard-00000.safetensors").unlink()
    again = [*generate_clips(system(models, batch_size=1), requests, tmp_path)]
    for one, other in zip(straight, again, strict=True):
        assert int((one.video.int() - other.video.int()).abs().max()) <= 1


def test_a_lost_shard_is_made_again(models, tmp_path):
    chosen, requests = system(models), samples(4)
    generate_clips(chosen, requests, tmp_path)
    before = bits(tmp_path)
    (tmp_path / "shard-00001.safetensors").unlink()
    generate_clips(chosen, requests, tmp_path)
    assert bits(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_scale": 4.0}, r'another guidance \(\[\[1, \{"joint": 6.0.* there, .* now\)'),
        ({"num_inference_steps": 3}, "another guidance .* another sampling"),
        ({"negative_prompt": "still"}, "another sampling"),
    ],
)
def test_clips_of_other_settings_are_refused(models, tmp_path, changes, message):
    generate_clips(system(models), samples(), tmp_path)
    with pytest.raises(ValueError, match=message + ".*; give another folder, or remove this one"):
        generate_clips(system(models, **changes), samples(), tmp_path)


def test_clips_of_another_model_or_other_prompts_or_seeds_are_refused(models, tmp_path):
    chosen = system(models, "base")
    generate_clips(chosen, samples(), tmp_path)
    with pytest.raises(ValueError, match="made from another model"):
        generate_clips(replace(chosen, folder=models / "control"), samples(), tmp_path)
    with pytest.raises(ValueError, match="made from another precision"):
        generate_clips(replace(chosen, precision="bf16"), samples(), tmp_path)
    for other in (
        [("a dog", seed) for _, seed in samples()],
        [(prompt, seed + 1) for prompt, seed in samples()],
        samples()[:1],
    ):
        with pytest.raises(ValueError, match="another requests"):
            generate_clips(chosen, other, tmp_path)


def test_two_ways_to_say_one_guidance_share_their_clips(models, tmp_path):
    def folder(**changes):
        return clips_folder(tmp_path, system(models, **changes), samples())

    plain = folder(motion_scale=0.0)
    assert folder(motion_stop=0.0) == folder(mode="without_inner_guidance") == plain
    assert folder(motion_scale=0.0, batch_size=3) == plain, "no matter of the result"
    others = [
        folder(), folder(motion_scale=1.0), folder(motion_stop=1.0), folder(mode="without_flow"),
        folder(motion_scale=0.0, text_scale=1.0),
        clips_folder(tmp_path, system(models, motion_scale=0.0), samples(4)),
        clips_folder(tmp_path, system(models, motion_scale=0.0, precision="bf16"), samples()),
    ]  # fmt: skip
    assert len({plain, *others}) == 8
    # What a plain system ignores is no difference.
    base = clips_folder(tmp_path, system(models, "base"), samples())
    assert clips_folder(tmp_path, system(models, "base", motion_scale=1.0), samples()) == base


def test_models_are_what_they_are_said_to_be(models, tmp_path):
    with pytest.raises(ValueError, match=r"no videojam\.json"):
        generate_clips(replace(system(models, "base"), joint=True), samples(), tmp_path)
    with pytest.raises(ValueError, match="samples as a plain one; give a base model"):
        generate_clips(replace(system(models), joint=False), samples(), tmp_path)
    with pytest.raises(ValueError, match="has no num_frames, height, width; set the size"):
        System(name="x", folder=models / "base", joint=False, sampling=Sampling())


def test_bf16_is_near_fp32_and_not_equal(models, tmp_path):
    exact = [*generate_clips(system(models), samples(2), tmp_path / "a")]
    rounded = [*generate_clips(system(models, precision="bf16"), samples(2), tmp_path / "b")]
    for one, other in zip(exact, rounded, strict=True):
        gap = (one.video.float() - other.video.float()).abs()
        assert 0 < float(gap.mean()) < 2


# --- pairs ----------------------------------------------------------------------------------------


def test_all_systems_start_from_the_same_noise(models, tmp_path, monkeypatch):
    starts = []
    step = UniPCMultistepScheduler.step

    def observed(self, model_output, timestep, sample, *args, **kwargs):
        if self.step_index in (None, 0):
            starts.append(sample.clone())
        return step(self, model_output, timestep, sample, *args, **kwargs)

    monkeypatch.setattr(UniPCMultistepScheduler, "step", observed)
    monkeypatch.setattr(systems, "SHARD_CLIPS", 4)
    for name in ("base", "control", "videojam"):
        generate_clips(system(models, name, batch_size=4), samples(2, 2), tmp_path / name)
    base, control, joint = starts
    assert base.shape == (4, 16, 3, 4, 4)
    assert torch.equal(base, control)
    assert torch.equal(base, joint[:, :16])
    assert len({tuple(noise.flatten()[:4].tolist()) for noise in base}) == 4, "one per request"


def test_requests_are_captions_of_the_lab_with_seeds_of_their_own():
    few, many = lab_requests(LAB, 3, 2), lab_requests(LAB, 5, 3)
    assert {*few} < {*many}, "more of them leave those that were there"
    assert len({request.seed for request in many}) == 15
    scene = lab_scene(LAB, 2)[0]
    assert few[4] == (scene.caption, few[4].seed, 2, scene.kind, scene.type)
    other = lab_requests(replace(LAB, seed=2000), 3, 2)
    assert not {request.seed for request in other} & {request.seed for request in few}
    with pytest.raises(ValueError, match="0 prompts with 1 seeds each"):
        lab_requests(LAB, 0)


# --- judgement ------------------------------------------------------------------------------------


def test_what_a_scene_is_scored_on_is_told_by_its_true_clip():
    def judged(**values):
        scores = dict.fromkeys(("permanence", "rigidity", "contact", "law", "order"), 0.5)
        values = scores | {"motion": 1.0, "coherence": 0.5, "text": 1.0, "sharpness": 3.0} | values
        return Judged([Row("one", "basic", "pendulum", 7, 0, values)], torch.zeros(1, 2, 57))

    truth = judged(contact=math.nan)
    # Too broken to be measured: 0, not excused. What the scene does not have counts for nothing.
    broken = (
        scored_as_the_truth(judged(rigidity=math.nan, contact=1.0, motion=0.5), truth)
        .rows[0]
        .values
    )
    assert broken["rigidity"] == 0
    assert math.isnan(broken["contact"])
    assert broken["coherence"] == pytest.approx(0.5 * (0.5 + 0 + 0.5 + 0.5) / 4)
    assert (broken["text"], broken["sharpness"]) == (1, 3)
    again = scored_as_the_truth(truth, truth).rows[0].values
    assert again["coherence"] == 0.5 and math.isnan(again["contact"])


def test_rows_are_those_of_their_clips_and_come_back_from_the_file(tmp_path):
    requests = lab_requests(LAB, 4)
    judged = judge_clips("mine", LAB, requests, true_clips(LAB, range(4)))
    assert [row.prompt for row in judged.rows] == [0, 1, 2, 3]
    assert judged.features.shape == (4, 9, 57)
    assert {*LAB_METRICS, "warp_error", "dynamic_degree"} <= judged.rows[0].values.keys()
    shuffled = judge_clips("mine", LAB, requests[::-1], [*true_clips(LAB, range(4))][::-1])
    write_rows(tmp_path / "rows.jsonl", judged.rows)
    for row, other, back in zip(
        judged.rows, shuffled.rows[::-1], read_rows(tmp_path / "rows.jsonl"), strict=True
    ):
        assert row[:5] == other[:5] == back[:5]
        for name, value in row.values.items():
            for same in (other.values[name], back.values[name]):
                assert same == value or (math.isnan(same) and math.isnan(value))


def test_judging_in_processes_gives_the_same_rows():
    requests = lab_requests(LAB, 2)
    alone, spread = (
        judge_clips("mine", LAB, requests, true_clips(LAB, range(2)), workers) for workers in (0, 1)
    )
    assert repr(alone.rows) == repr(spread.rows)
    assert torch.equal(alone.features, spread.features)


def test_as_many_clips_as_requests():
    with pytest.raises(ValueError, match="zip"):
        judge_clips("mine", LAB, lab_requests(LAB, 3), true_clips(LAB, range(2)))


# --- tables ---------------------------------------------------------------------------------------


def rows_of(name, values, kind="basic"):
    """(prompt, seed) -> value."""
    return [Row(name, kind, "t", p, s, {"m": value}) for (p, s), value in values.items()]


NAN = math.nan
A = {(0, 0): 0.1, (0, 1): 0.3, (1, 0): 0.8, (1, 1): NAN, (2, 0): 0.6, (2, 1): 0.4}
B = {(0, 0): 0.0, (0, 1): 0.1, (1, 0): 0.5, (1, 1): 0.9, (2, 0): NAN, (2, 1): 0.4}


def test_means_are_over_clips_that_have_a_value():
    cell = mean_of(rows_of("a", A), "m")
    assert cell.mean == pytest.approx((0.1 + 0.3 + 0.8 + 0.6 + 0.4) / 5)
    assert (cell.num_values, cell.num_clusters) == (5, 3)


def test_differences_are_of_pairs_in_any_order():
    one, other = rows_of("a", A), rows_of("b", B)[::-1]
    cell = difference(one, other, "m")
    assert cell.mean == pytest.approx((0.1 + 0.2 + 0.3 + 0.0) / 4)
    assert (cell.num_values, cell.num_clusters) == (4, 3)
    with pytest.raises(ValueError, match=r"5 and 6 came, and only one of them has \[\(2, 1\)\]"):
        difference(one[:-1], other, "m")


def many(prompts, shift=0.0):
    return rows_of("a", {(p, 0): p / 10 + shift * (p % 3 > 0) for p in range(prompts)})


def test_a_metric_of_fewer_than_eight_prompts_has_no_interval():
    assert show(mean_of(many(7), "m")) == "0.300 [-]"
    assert math.isnan(difference(many(7), many(7, 0.1), "m").low)
    assert difference(many(7), many(7, 0.1), "m").p is None
    cell = mean_of(many(8), "m")
    assert cell.low < cell.mean < cell.high
    missing = rows_of("a", {(0, 0): NAN, (1, 0): NAN})
    assert mean_of(missing, "m") is None
    assert difference(missing, missing, "m") is None
    assert show(None) == "-"
    assert all(math.isnan(value) for (value,) in curve([None])), "which leaves a gap"


def test_groups_are_kinds():
    b = {(p + 3, s): value + 0.1 for (p, s), value in A.items()}
    systems = {
        "x": rows_of("x", A) + rows_of("x", b, "physics"),
        "y": rows_of("y", B) + rows_of("y", b, "physics"),
    }
    means = summary(systems, ["m"])
    assert means["x"]["physics"]["m"].mean == pytest.approx(means["x"]["basic"]["m"].mean + 0.1)
    assert means["x"]["all"]["m"].num_values == 10
    assert means["x"]["rotation"]["m"] is None
    gaps = differences(systems, [("x", "y")], ["m"])["x - y"]
    assert gaps["physics"]["m"].mean == 0
    alone = difference(rows_of("x", A), rows_of("y", B), "m")
    assert gaps["basic"]["m"][3:] == alone[3:]
    assert gaps["basic"]["m"].mean == alone.mean


def test_cells_show_what_they_are():
    assert show(Interval(0.44, 0.2, 0.8, 9, 9)) == "0.440 [0.200, 0.800]"
    assert show(Interval(44, 20, 80, 9, 9)) == "44.0 [20.0, 80.0]"
    assert show(difference(rows_of("a", A), rows_of("b", B), "m"), signed=True) == "+0.150 [-]"


def test_what_survives_holm_is_starred_and_the_primary_is_bold():
    sure = difference(many(20, 0.1), many(20), "m")
    chance = difference(many(20), many(20, 0.0), "m")
    assert (sure.p < 0.001, chance.p) == (True, 1.0)
    near = sure._replace(p=0.03)  # under 0.05 alone, not among three
    columns = {"a - b": {"x": sure, "y": near}, "c - b": {"x": chance, "y": sure}}
    table = difference_table(columns, ["x", "y"], ("x", "a - b"))
    (x, y), text = table.splitlines()[2:4], table.splitlines()[-1]
    assert x == f"| x | **{show(sure, signed=True)}** | {show(chance, signed=True)} |"
    assert y == f"| y | {show(near, signed=True)} | {show(sure, signed=True)} * |"
    assert "Primary, declared before: x of a - b (bold)" in text
    assert "over all 3" in text
    assert "all are exploratory" in difference_table(columns, ["x"])
    # The primary one is not among those that are corrected: 0.03 is the only p of its family.
    alone = difference_table({"a - b": {"x": chance, "y": near}}, ["x", "y"], ("x", "a - b"))
    assert alone.splitlines()[3] == f"| y | {show(near, signed=True)} * |"
    with pytest.raises(ValueError, match="is not in the table"):
        difference_table(columns, ["x"], ("z", "a - b"))


# --- distance of sets -----------------------------------------------------------------------------


def looks(prompts, seeds, shift, seed):
    """A judged set whose features are random, moved by `shift`."""
    n = prompts * seeds
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 3, 57, generator=random, dtype=torch.float64) + shift
    rows = [Row("x", "basic", "t", i // seeds, i % seeds, {}) for i in range(n)]
    return Judged(rows, features)


def test_set_distance_in_closed_form():
    """Energy distance of two points a apart: 2 a - 0 - 0, whatever each set repeats."""
    at = torch.zeros(4, 3, 57, dtype=torch.float64)
    one, other = (
        looks(4, 1, 0.0, 0)._replace(features=at),
        looks(4, 1, 0.0, 0)._replace(features=at + 2 / 57**0.5),
    )
    assert set_distance(one, other) == pytest.approx(4)
    assert set_distance(one, one) == pytest.approx(0)


def test_set_distance_is_unbiased_for_few_prompts():
    found = [set_distance(looks(6, 2, 0.0, s), looks(9, 1, 0.0, 50 + s)) for s in range(40)]
    assert abs(sum(found) / 40) < 0.05, "zero for the same distribution; a plug-in has 0.5 and more"
    assert set_distance(looks(20, 2, 0.3, 0), looks(30, 1, 0.0, 1)) > 0.2


def test_difference_of_distances_is_zero_for_the_same_and_sure_for_another():
    reference, near, far = looks(40, 1, 0.0, 1), looks(20, 2, 0.1, 0), looks(20, 2, 0.5, 2)
    assert set_distance_difference(near, near, reference)[:3] == (0, 0, 0)
    gap = set_distance_difference(far, near, reference)
    assert 0 < gap.low < gap.mean < gap.high
    back = set_distance_difference(near, far, reference)
    assert back.mean == pytest.approx(-gap.mean)
    with pytest.raises(ValueError, match="clips of 20 and 40 prompts"):
        set_distance_difference(near, reference, reference)
    few = looks(3, 1, 0.0, 3)
    assert set_distance_difference(few, few, reference) is None


def varying(prompts, within, seed):
    """Clips of 16 frames, each frame standard normal; within: correlation inside of a clip."""
    random = torch.Generator().manual_seed(seed)
    of_clip, of_frame = (
        torch.randn(prompts, frames, 57, generator=random, dtype=torch.float64)
        for frames in (1, 16)
    )
    features = within**0.5 * of_clip + (1 - within) ** 0.5 * of_frame
    return Judged([Row("x", "basic", "t", i, 0, {}) for i in range(prompts)], features)


def test_interval_covers_zero_where_only_the_variation_in_time_differs():
    """Equal marginals, correlation 0.95 against 0.80: no difference, and the interval says so.

    Simulated coverage of 95 % intervals: 93.8 % for 32 prompts (400 simulations), 92.5 % for 64
    (400), 97.3 % for 128 (150).
    """
    covered, means = [], []
    for seed in range(60):
        a, b, truth = (varying(32, c, 3 * seed + k) for k, c in enumerate((0.95, 0.8, 0.9)))
        gap = set_distance_difference(a, b, truth)
        covered.append(gap.low <= 0 <= gap.high)
        means.append(gap.mean)
    means = torch.tensor(means)
    assert sum(covered) / 60 >= 0.88
    assert abs(float(means.mean())) < 3 * float(means.std()) / 60**0.5


@pytest.mark.parametrize(
    ("degrees", "expected"), [(1, 12.7062), (4, 2.7764), (5, 2.5706), (10, 2.2281), (30, 2.0423)]
)
def test_quantiles_of_students_t(degrees, expected):
    assert t_quantile(degrees) == pytest.approx(expected, abs=1.5e-3)
    with pytest.raises(ValueError, match="at least 1"):
        t_quantile(0)


def test_interval_of_seeds_covers_the_mean_in_95_percent():
    draws = torch.randn(4000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = [t_interval(row) for row in draws]
    assert sum(i.low <= 0 <= i.high for i in found) / 4000 == pytest.approx(0.95, abs=0.012)
    assert t_interval(draws[0, :1]) is None


# --- steps ----------------------------------------------------------------------------------------


def test_clean_predictions_are_those_of_the_scheduler(models, monkeypatch):
    """UniPC turns every prediction into the clean latents itself, and keeps them."""
    chosen = system(models, num_inference_steps=4)
    jam = load_joint(chosen, "cpu")
    kept = {}
    step = UniPCMultistepScheduler.step

    def observed(self, *args, **kwargs):
        before = self.step_index or 0
        result = step(self, *args, **kwargs)
        kept[before] = self.model_outputs[-1].clone()
        return result

    monkeypatch.setattr(UniPCMultistepScheduler, "step", observed)
    with clean_predictions(jam.pipe, [0, 2, 3]) as clean:
        clips = [*jam.clips(samples(2), chosen.sampling)]
    assert {*clean} == {0, 2, 3}
    for at, value in clean.items():
        torch.testing.assert_close(value, kept[at], rtol=1e-5, atol=1e-5)
    # The last step goes all the way: what it predicts is what comes out.
    for clip, last in zip(clips, clean[3], strict=True):
        torch.testing.assert_close(clip.latents, last, rtol=1e-5, atol=1e-5)
    assert "step" not in vars(jam.pipe.scheduler), "left as it was"
    with (
        pytest.raises(ValueError, match="sees one call of the pipeline"),
        clean_predictions(jam.pipe, [0]),
    ):
        [*jam.clips(samples(4), chosen.sampling)]


def test_steps_are_spread_from_first_to_last():
    assert spread_steps(6, 50) == [0, 10, 20, 29, 39, 49]
    assert spread_steps(10, 3) == [0, 1, 2]
    assert spread_steps(1, 5) == [4]


def test_flows_are_compared_as_said():
    random = torch.Generator().manual_seed(0)
    flow = torch.randn(4, 2, 16, 16, generator=random)
    video = torch.randint(256, (5, 16, 16, 3), generator=random, dtype=torch.uint8)
    assert agreement.compare(flow, flow, video, "a red ball")[:3] == (0, 0, pytest.approx(1))
    error, relative, correlation, *_ = agreement.compare(-2 * flow, flow, video, "")
    assert error == pytest.approx(3 * float(flow.norm(dim=1).mean()), rel=1e-5)
    assert relative == pytest.approx(3, rel=1e-5)
    assert correlation == pytest.approx(-1)
    _, relative, correlation, *_ = agreement.compare(flow, torch.zeros_like(flow), video, "")
    assert math.isnan(relative)
    assert correlation == 0


def test_the_right_motion_explains_a_video_and_the_wrong_one_does_not():
    random = torch.Generator().manual_seed(0)
    row = torch.randint(256, (16, 24, 3), generator=random, dtype=torch.uint8)
    video = torch.stack([row[:, 4 - k : 20 - k] for k in range(5)])  # a pixel to the right each
    right = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(4, 2, 16, 16)
    assert agreement.compare(right, right, video, "")[3] == pytest.approx(0, abs=1e-6)
    assert agreement.compare(-right, right, video, "")[3] > 0.8
    assert agreement.compare(torch.zeros(4, 2, 16, 16), right, video, "")[3] == 1
    assert math.isnan(agreement.compare(right, right, video[:1].expand(5, 16, 16, 3), "")[3])


def test_bodies_go_where_their_own_flow_says_and_no_other():
    lab = Lab(seed=1000)
    clips = [*true_clips(lab, range(8))]
    colours = [named_colours(lab_scene(lab, number)[0].caption) for number in range(8)]
    own, other, back = [], [], []
    for at, (made, names) in enumerate(zip(clips, colours, strict=True)):
        own.append(body_correlation(made.video, made.flow, names))
        other.append(body_correlation(made.video, clips[at - 1].flow, names))
        back.append(body_correlation(made.video, -made.flow, names))
    assert min(own) > 0.8
    assert back == pytest.approx([-value for value in own])
    assert sum(map(abs, other)) / 8 < 0.5
    assert math.isnan(body_correlation(clips[0].video, clips[0].flow, ()))
    assert math.isnan(body_correlation(torch.zeros_like(clips[0].video), clips[0].flow, ("red",)))
    assert named_colours("two gears, cyan with a green dot") == ("green", "cyan")


def test_dis_is_nearer_to_the_exact_flow_on_enlarged_frames():
    lab = Lab(frames=9, seed=1000)
    clips = [*true_clips(lab, range(8))]

    def mean(estimator):
        flows = [estimate_flow(made.video, estimator) for made in clips]
        pairs = zip(clips, flows, strict=True)
        found = [agreement.compare(made.flow, flow, made.video, "")[:4] for made, flow in pairs]
        return torch.tensor(found).mean(0)

    fine, coarse = mean(EnlargedDIS(256)), mean(None)
    assert fine[2] > coarse[2] + 0.05
    assert fine[0] < coarse[0]
    clip = clips[0].video
    assert torch.equal(EnlargedDIS(64)(clip), estimate_flow(clip)), "large enough already"
    assert EnlargedDIS(100)(clip[:, :48, :]).shape == (8, 2, 48, 64)


# --- whole experiments ----------------------------------------------------------------------------


def little(experiment, models, out, **changes):
    return experiment.Config(
        **{"models": models, "out": out, "quick": True, "prompts": 3, "seed": 1000,
           "num_inference_steps": 2, "batch_size": 4} | changes
    )  # fmt: skip


def results(folder):
    assert (folder / "plot.png").stat().st_size > 5000
    assert (folder / "results.md").read_text().startswith("# ")
    return json.loads((folder / "results.json").read_text())


def test_comparison_ranks_true_clips_first_and_keeps_its_clips(models, tmp_path):
    config = little(comparison, models, tmp_path / "a")
    figures = comparison.run(config)
    content = results(tmp_path / "a")
    assert content["figures"] == figures
    assert content["settings"]["precision"] == "bf16", "worked out, and written down"
    means = {name: groups["all"] for name, groups in figures["means"].items()}
    assert [*means] == ["base", "control", comparison.JOINT, comparison.GUIDED, CEILING, TRUE_CLIPS]
    truth = means.pop(TRUE_CLIPS)
    assert truth["coherence"]["mean"] > 0.7
    for name, row in means.items():
        assert row["coherence"]["mean"] < truth["coherence"]["mean"], name
        distances = figures["appearance_distance"][TRUE_CLIPS]
        assert distances[name] > distances["other true clips"]
    assert figures["appearance_distance_differences"].keys() == figures["differences"].keys()
    rows = defaultdict(list)
    for row in read_rows(tmp_path / "a" / "rows.jsonl"):
        rows[row.system].append(row.values["coherence"])
    for name, row in means.items():
        assert row["coherence"]["mean"] == pytest.approx(sum(rows[name]) / 3)
    gap = figures["differences"]["VideoJAM - control"]["all"]["coherence"]
    pairs = zip(rows["VideoJAM"], rows["control"], strict=True)
    assert gap["mean"] == pytest.approx(sum(a - b for a, b in pairs) / 3)
    speed = figures["speeds"]["base"]["all"]
    assert speed["10 %"] <= speed["50 %"] <= speed["90 %"]

    before = bits_below(tmp_path / "a" / "clips")
    assert len(before) == 8, "two shards for each of four systems"
    assert comparison.run(config) == figures, "and again the same, from the clips there are"
    assert bits_below(tmp_path / "a" / "clips") == before
    with pytest.raises(ValueError, match=r"was made with other settings \(text_scale: "):
        comparison.run(replace(config, text_scale=1.0))


def bits_below(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


def test_ablations_and_sweeps_share_clips(models, tmp_path):
    shared = {"clips": tmp_path / "clips", "prompts": 2}
    figures = ablations.run(little(ablations, models, tmp_path / "a", **shared))
    results(tmp_path / "a")
    assert [*figures["means"]] == [*ablations.VARIANTS, TRUE_CLIPS]
    assert figures["differences"].keys() == figures["appearance_distance_differences"].keys()
    assert len([*(tmp_path / "clips").iterdir()]) == 5

    config = little(
        sweeps, models, tmp_path / "b", motion_scales=(0.0, 3.0), motion_stops=(0.0, 0.5, 1.0),
        **shared,
    )  # fmt: skip
    figures = sweeps.run(config)
    results(tmp_path / "b")
    assert len([*(tmp_path / "clips").iterdir()]) == 6, "only motion_stop 1 is new"
    means = figures["means"]
    assert means["motion_scale 0"] == means["motion_stop 0"]
    assert means["motion_scale 3"] == means["motion_stop 0.5"]
    assert "motion_stop 1 - motion_stop 0" in figures["differences"]


def test_agreement_over_the_steps(models, tmp_path):
    config = little(agreement, models, tmp_path, num_points=3, num_inference_steps=4, batch_size=2)
    figures = agreement.run(config)
    results(tmp_path)
    assert figures["steps"] == [0, 2, 3]
    for own in figures["systems"].values():
        # At the last step the clean prediction is the finished clip.
        assert own["error, own"][-1]["mean"] == pytest.approx(own["error, final"][-1]["mean"], 0.05)
    limit = figures["limits"][TRUE_CLIPS]
    assert limit["correlation"]["mean"] > 0.3
    assert limit["unexplained"]["mean"] < 0.8
    assert limit["correlation"]["mean"] > figures["limits"][CEILING]["correlation"]["mean"]
    before = bits_below(tmp_path)
    assert agreement.run(config) == figures
    assert bits_below(tmp_path) == before


def test_quick_is_small_and_never_grows(models, tmp_path):
    quick = generated.settle(
        generated.LabConfig(models=models, out=tmp_path / "a", quick=True, device="cpu")
    )
    assert (quick.prompts, quick.seeds_per_prompt, quick.num_inference_steps) == (32, 1, 20)
    small = generated.settle(little(comparison, models, tmp_path / "b"))
    assert (small.prompts, small.num_inference_steps) == (3, 2)
    with pytest.raises(ValueError, match="prompts is 1, expected at least 2"):
        little(comparison, models, tmp_path, prompts=1)


def test_shards_say_what_they_were_made_from(models, tmp_path):
    generate_clips(system(models), samples(1), tmp_path)
    with safe_open(tmp_path / "shard-00000.safetensors", framework="pt") as file:
        sources = json.loads(file.metadata()["made_from"])
    assert sources["requests"] == [[*samples(1)[0]]]
    assert sources["sampling"]["num_inference_steps"] == 2
    assert sources["guidance"][0] == [1, {"joint": 6.0, "no_text": -2.0, "no_motion": -3.0}]
