"""A whole comparison: two models and a folder of clips with all that can be wrong with one."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from videojam.cli.main import main
from videojam.evaluation.clips import generate as generate_module
from videojam.evaluation.clips.compared import Compared
from videojam.evaluation.clips.generate import Sample, clip_path
from videojam.evaluation.clips.normalise import Form, normalise
from videojam.evaluation.clips.prompts import read_prompt_set
from videojam.evaluation.compare.config import Config
from videojam.evaluation.compare.cost import Rate, cost_of
from videojam.evaluation.compare.experiment import run
from videojam.evaluation.compare.work import Planned, Share
from videojam.joint.sizes import Size
from videojam.media.clip_sets import ClipKey, read_clip_set, systems_of
from videojam.media.video import write_video
from videojam.models.passes import pass_flops
from videojam.sampling.pipeline import Sampling

ROOT = Path(__file__).parents[3]
PROMPTS = 9
FORM = Form(fps=16.0, num_frames=9, height=32, width=32)


@pytest.fixture(scope="module")
def prompts():
    return read_prompt_set("videojam-128", PROMPTS).prompts


def moving(seed, frames=9, size=32, fps=16.0):
    """A square that goes right at 16 pixels a second."""
    clip = torch.full((frames, size, size, 3), 40, dtype=torch.uint8)
    for k in range(frames):
        x = round(4 + 16 * k / fps + seed)
        clip[k, 8:20, x : x + 8] = torch.tensor([200, 60 + 10 * seed, 50], dtype=torch.uint8)
    return clip


@pytest.fixture(scope="module")
def elsewhere(prompts, tmp_path_factory):
    """Clips by name: one is missing, one doubled, one shorter, one at 30 fps, one of no prompt."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for place, prompt in enumerate(prompts):
        name = prompt.text.rstrip(".").replace(" ", "_")
        if place == 1:
            continue
        fps, frames = (30.0, 17) if place == 4 else (16.0, 9)
        write_video(
            folder / f"{name}.mp4", moving(place, 6 if place == 3 else frames, fps=fps), fps
        )
        if place == 2:
            write_video(folder / f"{name}-0.mp4", moving(place), 16.0)
    write_video(folder / "holiday.mp4", moving(0), 16.0)
    return folder


@pytest.fixture(scope="module")
def config(lab_models, elsewhere):
    return Config(
        out=Path("unset"),
        systems=(
            f"base={lab_models / 'base'}",
            f"VideoJAM={lab_models / 'videojam'}",
            f"else where={elsewhere}",
        ),
        num_prompts=PROMPTS,
        primary="warp_error",
        num_inference_steps=2,
        device="cpu",
    )


@pytest.fixture(scope="module")
def done(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("compare") / "out"
    return out, run(replace(config, out=out))


def bits(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix == ".mp4" or path.name == "rows.jsonl"
    }


def test_what_is_wrong_with_clips_is_said(done, prompts):
    out, figures = done
    notes = "\n".join(figures["notes"])
    places = [prompt.number for prompt in prompts]
    assert "else where: 8 clips of" in notes
    assert "by names" in notes
    assert f"else where: missing prompt {places[1]}; left out of every pair" in notes
    assert f"else where, prompt {places[2]}: doubled" in notes
    assert f"else where, prompt {places[3]}: shorter, 6 of 9 frames" in notes
    assert "else where: 1 of 8 clips came at 30 frames a second and were converted" in notes
    assert "1 files are of no prompt (holiday.mp4)" in notes
    assert "no RAFT" in notes
    text = (out / "results.md").read_text()
    assert all(note in text for note in figures["notes"])


def test_all_clips_are_brought_to_one_form(done, prompts):
    out, figures = done
    assert figures["form"] == FORM.text()
    shown = out / "shown"
    assert len([*(shown / "base").glob("*.mp4")]) == PROMPTS
    for place, prompt in enumerate(prompts):
        folder = next(shown.glob("else_where-*"))
        path = folder / f"{prompt.number:04d}-0.mp4"
        assert path.is_file() == (place != 1)
        if place == 4:  # 30 frames a second became 16 at the same speed
            frames = normalise(path, FORM).frames
            same = (frames.int() - moving(place, fps=16.0).int()).abs().float().mean()
            assert same < 8


def test_a_study_takes_the_compared_systems_in_their_common_form(done, prompts, tmp_path, capsys):
    folders = systems_of(done[0])
    assert [*folders] == ["base", "VideoJAM", "else where"]
    sets = {name: read_clip_set(name, folder).clips for name, folder in folders.items()}
    assert [*sets["base"]] == sorted(ClipKey(p.text, 0) for p in prompts)
    assert ClipKey(prompts[1].text, 0) not in sets["else where"], "it was missing"
    key = ClipKey(prompts[4].text, 0)
    assert {path.name for path in (one[key] for one in sets.values())} == {
        f"{prompts[4].number:04d}-0.mp4"
    }
    some = ["--systems", "VideoJAM", "base", "--trials", "5", "--catches", "1", "--repeats", "1",
            "--practice", "1", "--votes-per-pair", "1"]  # fmt: skip
    main(["study", "new", "--out", str(tmp_path / "study"), "--compared", str(done[0]), *some])
    assert f"{PROMPTS} pairs" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["study", "new", "--out", str(tmp_path / "x"), "--compared", str(done[0]),
              "--systems", "nobody"])  # fmt: skip
    assert "base, VideoJAM, else where" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["study", "new", "--out", str(tmp_path / "x"), "--compared", str(tmp_path)])
    assert "finished `videojam evaluate compare`" in capsys.readouterr().err


def test_rows_are_paired_and_missing_clips_are_nan(done, prompts):
    out, figures = done
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 3 * PROMPTS
    gone = [r for r in rows if r["system"] == "else where" and r["prompt"] == prompts[1].number]
    assert all(value is None for value in gone[0]["values"].values())
    gap = figures["differences"]["VideoJAM - else where"]["warp_error"]
    assert (gap["num_values"], gap["num_clusters"]) == (8, 8)
    assert math.isfinite(gap["low"])
    assert figures["differences"]["VideoJAM - base"]["warp_error"]["num_values"] == PROMPTS
    # The primary comparison is fixed before anything is made.
    settings = json.loads((out / "settings.json").read_text())
    assert settings["primary_pair"] == ["VideoJAM", "base"]
    assert (
        "Primary, declared before: warp_error of VideoJAM - base"
        in (out / "results.md").read_text()
    )


def test_tables_are_laid_out_like_the_papers_and_say_what_nobody_measured(done):
    out, _ = done
    rows = [*csv.reader((out / "table_aggregates.csv").open())]
    assert rows[0] == [
        "whose", "system", "text_faithfulness", "quality", "motion_preference", "appearance",
        "motion",
    ]  # fmt: skip
    assert rows[1] == ["ours", "base", "", "", "", "", ""]
    assert [
        "paper",
        "Sora (Table 2, VideoJAM-bench)",
        "56.3",
        "51.7",
        "68.5",
        "75.4",
        "91.7",
    ] in rows
    tex = (out / "table_dimensions.tex").read_text()
    assert r"\multicolumn{4}{c}{Appearance Metrics} & \multicolumn{2}{c}{Motion Metrics}" in tex
    assert (
        r"Kling 1.5 (Table 5, VideoJAM-bench) & 58.5 & 60.4 & 93.9 & 96.5 & 99.2 & 64.8 \\" in tex
    )
    assert "VBench of our systems: none, not asked for" in (out / "results.md").read_text()


def test_a_killed_run_goes_on_to_the_same(config, done, tmp_path, monkeypatch):
    calls = []
    write = generate_module.write_video

    def dies(path, *arguments):
        calls.append(path)
        if len(calls) == 12:
            path.with_name(path.name + ".part").write_bytes(b"half")
            raise KeyboardInterrupt
        write(path, *arguments)

    out = tmp_path / "out"
    monkeypatch.setattr(generate_module, "write_video", dies)
    with pytest.raises(KeyboardInterrupt):
        run(replace(config, out=out))
    monkeypatch.setattr(generate_module, "write_video", write)
    kept = {path: path.stat().st_mtime_ns for path in (out / "clips" / "base").glob("*.mp4")}
    assert kept
    run(replace(config, out=out))
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert bits(out) == bits(done[0])


def test_two_processes_make_the_same(config, done, tmp_path):
    out = tmp_path / "out"
    options = [
        "--out", str(out), "--systems", *config.systems, "--num-prompts", str(PROMPTS),
        "--num-inference-steps", "2", "--device", "cpu", "--primary", "warp_error",
    ]  # fmt: skip
    surroundings = os.environ | {
        "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launch, "-m", "videojam.cli.main", "evaluate", "compare", *options]
    subprocess.run(command, check=True, env=surroundings, capture_output=True, timeout=600)
    assert bits(out) == bits(done[0])


def test_other_settings_are_refused_and_systems_may_be_added(config, done, lab_models):
    out = done[0]
    with pytest.raises(ValueError, match=r"was made with other .*; give another folder"):
        run(replace(config, out=out, num_inference_steps=3))
    with pytest.raises(ValueError, match=r"\(primary: "):
        run(replace(config, out=out, primary="sharpness"))
    with pytest.raises(ValueError, match="not given now"):
        run(replace(config, out=out, systems=config.systems[:2]))


def test_nothing_is_made_twice(config, done, monkeypatch):
    out = done[0]
    before = bits(out)
    monkeypatch.setattr(generate_module, "VideoJAM", None)
    monkeypatch.setattr("videojam.evaluation.compare.work.measure", None)
    run(replace(config, out=out))
    assert bits(out) == before


def test_the_cost_is_said_first_and_a_dry_run_makes_nothing(lab_models, tmp_path, capsys):
    main([
        "evaluate", "compare", "--out", str(tmp_path / "o"), "--dry-run", "--num-prompts", "4",
        "--systems", f"base={lab_models / 'base'}", f"jam={lab_models / 'videojam'}",
        "--num-inference-steps", "4", "--seeds", "0", "1", "--tflops", "1e-6",
    ])  # fmt: skip
    said = capsys.readouterr().out
    assert "4 prompts x 2 seeds" in said
    size = Size(FORM.num_frames, FORM.height, FORM.width)
    base, jam = (pass_flops(str(lab_models / one), size) for one in ("base", "videojam"))
    hours = [passes * flops / 1e6 / 3600 for passes, flops in ((64, base), (80, jam))]
    # Two branches, four steps; joint a third branch in the first half.
    for name, kind, passes, flops, took in (
        ("base", "plain", "8 | 64", base, hours[0]), ("jam", "joint", "10 | 80", jam, hours[1])
    ):  # fmt: skip
        row = f"| {name} | {kind} | 0 + 8 | {passes} | {flops / 1e12:.3g} | {took:.2g} |"
        assert row in said
    assert f"{sum(hours):.2g} h in all on 1 process(es), by arithmetic, at 1e-06 TFLOP/s" in said
    assert not (tmp_path / "o").exists()


def test_the_cost_is_of_what_is_still_to_be_made(lab_models):
    """All of three clips, one, none: of the total as of the row."""
    size = {"num_frames": FORM.num_frames, "height": FORM.height, "width": FORM.width}
    sampling = Sampling(num_inference_steps=2, **size)
    system = Compared(name="base", kind="plain", source=str(lab_models / "base"))
    flops = pass_flops(str(system.model), Size(**size))
    rate = Rate(flops, "stated", 1)  # a pass a second; two branches and two steps
    clips = {(f"prompt {k}", 0): None for k in range(3)}
    for todo in (3, 1, 0):
        missing = [*clips][:todo]
        said = cost_of([Planned(system, sampling, clips, None, missing)], 3, 1, rate)
        assert f"| {3 - todo} + {todo} | 4 | {4 * todo} |" in said
        assert f"{4 * todo / 3600:.2g} h in all" in said


def test_processes_share_every_clip_once():
    for count in (1, 2, 3):
        shares = [Share(index, count).of(range(7)) for index in range(count)]
        assert sorted(number for own in shares for number in own) == [*range(7)]
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_changed_clip_is_measured_again(config, done, elsewhere, prompts, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    rows = (out / "rows.jsonl").read_text()
    path = elsewhere / f"{prompts[5].text.rstrip('.').replace(' ', '_')}.mp4"
    old = path.read_bytes()
    try:
        write_video(path, moving(5).flip(0), 16.0)
        run(replace(config, out=out))
    finally:
        path.write_bytes(old)
    changed = [
        a != b
        for a, b in zip(
            rows.splitlines(), (out / "rows.jsonl").read_text().splitlines(), strict=True
        )
    ]
    assert sum(changed) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--systems", "a=embedded:base", "A=embedded:base"], "a name of its own"),
        (["--systems", "a=embedded:bse"], "no embedded model 'bse'"),
        (["--systems", "a"], r"expected NAME=SOURCE"),
        (["--systems", "a=embedded:base,motion_scal=3"], "did you mean 'motion_scale'"),
        (["--systems", "a=embedded:base,motion_scale=x"], "expected a number"),
        (["--systems", "a=/nowhere/at/all"], "is no folder, and not a hub id"),
        (["--primary", "beauty"], "no metric 'beauty'"),
        (["--subject", "sora"], "is none of base, control, VideoJAM"),
        (["--prompts", "nothing.txt"], "neither a file nor 'videojam-128'"),
        (["--seeds", "1", "1"], "expected different ones"),
        (["--num-prompts", "0"], "expected at least 1"),
        (["--tflops", "0"], "tflops is 0.0, expected a positive number"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "compare", "--out", str(tmp_path / "o"), *options])
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("width", [1280, 375])
def test_the_report_sorts_filters_plays_and_steps(browser, done, prompts, width):
    out, _ = done
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    value = {(r["system"], r["prompt"]): r["values"]["warp_error"] for r in rows}
    gap = {p.number: value["VideoJAM", p.number] - value["base", p.number] for p in prompts}
    tab = browser.new_page(viewport={"width": width, "height": 900})
    complaints, requests = [], []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.set_default_timeout(120_000)
    tab.goto((out / "index.html").resolve().as_uri())

    def numbers():
        return [int(n) for n in tab.locator("article").evaluate_all(
            "all => all.map(one => one.dataset.number)")]  # fmt: skip

    worst = sorted(gap, key=lambda n: -gap[n])  # more error is worse
    assert numbers() == worst
    tab.select_option("#order", "best")
    assert numbers() == worst[::-1]
    tab.select_option("#order", "number")
    assert numbers() == sorted(gap)
    physics = [p.number for p in prompts if p.tags["category"] == ("physics",)]
    tab.select_option("select[data-tag=category]", "physics")
    assert numbers() == physics
    assert tab.locator("#count").inner_text() == f"{len(physics)} of {PROMPTS} clips"
    tab.select_option("select[data-tag=category]", "")
    tab.fill("#words", prompts[1].text[:20].lower())
    assert numbers() == [prompts[1].number]
    assert tab.locator("article .none").inner_text() == "no clip"
    tab.fill("#words", "")
    tab.select_option("#pair", "1")  # against the clips from elsewhere, one of which is missing
    tab.select_option("#order", "worst")
    assert numbers()[-1] == prompts[1].number

    article = tab.locator("article").first
    ready = "a => [...a.querySelectorAll('video')].every(v => v.readyState >= 2)"
    tab.wait_for_function(ready, arg=article.element_handle())
    times = "a => [...a.querySelectorAll('video')].map(v => v.currentTime)"
    tab.locator("h1").click()  # keys are the field's while one has the focus
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    at = article.evaluate(times)
    assert len(at) == 4  # three systems, and the motion of one
    assert {round(t * 16 - 0.5) for t in at} == {2}
    assert article.locator("output").inner_text() == "frame 3 of 9"
    tab.keyboard.press("ArrowLeft")
    assert article.locator("output").inner_text() == "frame 2 of 9"
    tab.keyboard.press(" ")
    tab.wait_for_function("a => !a.querySelector('output').textContent.startsWith('frame 2 ')",
                          arg=article.element_handle())  # fmt: skip
    tab.keyboard.press(" ")
    stopped = article.evaluate(times)
    assert len({round(t * 16 - 0.5) for t in stopped}) == 1, "all are at one frame"
    tab.keyboard.press("j")
    assert tab.locator("article.current").get_attribute("data-number") == str(numbers()[1])
    tab.keyboard.press("m")
    assert not tab.locator("article .motion").first.is_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert all(url.startswith(("file:", "data:")) for url in requests)
    assert complaints == []
    if folder := os.environ.get("VIDEOJAM_SCREENSHOTS"):
        tab.keyboard.press("m")
        tab.evaluate("scrollTo(0, 0)")
        tab.screenshot(path=f"{folder}/compare-{width}.png", full_page=False)
        tab.locator("#summary-box summary").click()
        tab.locator("article").first.scroll_into_view_if_needed()
        tab.screenshot(path=f"{folder}/compare-{width}-card.png", full_page=False)
    tab.close()


def test_clip_paths_depend_on_prompt_and_seed_alone(tmp_path):
    one, other = (clip_path(tmp_path, Sample("a dog", seed, {})) for seed in (1, 2))
    assert one != other == clip_path(tmp_path, Sample("a dog", 2, {}))
