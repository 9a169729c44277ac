"""The demo with tiny models: what it writes, that it resumes, and that its page needs nothing."""

import dataclasses
import json
import socket
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from videojam.cli.main import main
from videojam.demo.demo import Demo, run_demo
from videojam.demo.line import LABELS, Line
from videojam.demo.page import MEANING, MODELS
from videojam.demo.recorded import RECORDED, recorded, verdict
from videojam.demo.scenes import Scenes, drawn_types
from videojam.embedded import line as embedded_line
from videojam.embedded.line import line_models
from videojam.evaluation.experiments.scanline.settings import Triple
from videojam.evaluation.experiments.scanline.triple import load as load_line
from videojam.evaluation.report.tables import show
from videojam.evaluation.statistics.bootstrap import Interval
from videojam.lab.clips import Lab, lab_scene
from videojam.lab.judge import Judgement
from videojam.lab.scanline.clips import draw
from videojam.lab.scanline.judge import judge as judge_line
from videojam.lab.scanline.world import caption_text, picture
from videojam.lab.scene import KINDS
from videojam.lab.scenes import SCENES
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling
from videojam.sampling.samples import sample_name

SEEDS = (0, 3)
DEMO = Demo(
    line=Line(captions=2, seeds=SEEDS, num_inference_steps=2),
    scenes=Scenes(seeds=SEEDS, sampling=Sampling(num_inference_steps=2)),
)


@pytest.fixture(scope="module")
def demo(lab_models, tmp_path_factory):
    """The demo's folder, made where every connection is refused."""
    out = tmp_path_factory.mktemp("demo") / "out"

    def refuse(*arguments, **keywords):
        raise AssertionError(f"a connection was tried: {arguments}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket.socket, "connect_ex", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        console = Console(record=True, width=60)
        assert run_demo(out, DEMO, lab_models, console) == out / "index.html"
    said = console.export_text()
    assert "the line: to be made" in said
    assert "8 samples, 0 of them done before" in " ".join(said.split())
    assert f"open {out / 'index.html'} in a browser" in said
    return out


@pytest.fixture(scope="module")
def samples(demo):
    return json.loads((demo / "metrics.json").read_text())["scenes"]


@pytest.fixture(scope="module")
def line(demo):
    return json.loads((demo / "metrics.json").read_text())["line"]


def test_there_is_a_drawn_type_of_every_kind_of_motion_and_every_noise(samples):
    types = drawn_types(Scenes().scene_seed)
    assert drawn_types(0, ("hoop", "fan")) == ("hoop", "fan")  # of types that a model knows
    assert [SCENES[name][0] for name in types] == list(KINDS)
    assert len({drawn_types(seed) for seed in range(20)}) > 15  # drawn, not fixed
    lab = Lab(frames=9, height=32, width=32, types=types, seed=Scenes().scene_seed)
    asked = [(lab_scene(lab, k)[0].caption, seed) for k in range(4) for seed in SEEDS]
    assert [(sample["prompt"], sample["seed"]) for sample in samples] == asked


def test_the_line_is_sampled_as_it_was_measured(line):
    measured = recorded()["line"].setting
    for name, sampling in line["systems"].items():
        scales = measured["scales"][name]
        assert {key: sampling[key] for key in scales} == scales
        assert sampling["num_inference_steps"] == 2
        assert sampling["motion_stop"] == measured["motion_stop"]
    world = Triple().world
    captions = draw(world, Triple().seed, range(2), "demo").captions
    assert line["captions"] == [caption_text(caption) for caption in captions]
    assert line["seeds"] == list(SEEDS)


def test_pictures_of_the_line_are_the_clips_that_were_judged(demo, line):
    kept = load_file(demo / "samples" / "line.safetensors")
    world = Triple().world
    captions = draw(world, Triple().seed, range(2), "demo").captions.repeat(len(SEEDS), 1, 1)
    assert set(line["lawful"]) == {*LABELS} - {"example", "motion"}
    for name, lawful in line["lawful"].items():
        assert kept[name].shape == (4, world.frames, 1, world.width, 3)
        own = judge_line(world, kept[name], captions).lawful
        assert torch.equal(torch.tensor(lawful), own.view(len(SEEDS), 2))
    example = draw(world, Triple().seed, range(2), "demo")
    assert torch.equal(kept["example"], example.frames)
    with Image.open(demo / "line.png") as strip:
        wide, tall = 6 * world.width + 8, 10 * world.frames + 8
        assert strip.size == (len(LABELS) * wide, 4 * tall)
        shown = torch.from_numpy(np.array(strip))
    # A row of pictures for each caption and seed: those that the numbers below them are of.
    for row, (caption, place) in enumerate((c, s) for c in range(2) for s in range(len(SEEDS))):
        for column, name in enumerate([*LABELS][1:-1], start=1):
            one = shown[row * tall + 4 :: 10, column * wide + 4 :: 6][: world.frames, : world.width]
            assert torch.equal(one, picture(kept[name][place * 2 + caption, :, 0]))


def test_embedded_models_of_the_line_are_those_of_the_recipe():
    assert {path.stem for path in embedded_line._PACKED.iterdir()} == {
        Triple().name(role) for role in ("base", "control", "joint")
    }
    for role in ("base", "control", "joint"):
        load_line(Triple(), role, line_models())


def test_what_the_page_says_was_measured_is_what_the_results_say():
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    if not benchmarks.is_dir():
        pytest.skip("the results are in the repository, not in the package")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(benchmarks)
        import demo_record

    assert json.loads(RECORDED.read_text()) == demo_record.demo_record()


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.1, 0.2, "better"), (-0.2, -0.1, "worse"), (-0.1, 0.2, "no difference seen"),
     (0.0, 0.2, "no difference seen"), (-0.2, 0.0, "no difference seen")],
)  # fmt: skip
def test_a_difference_counts_where_its_interval_lies_on_one_side(low, high, word):
    assert verdict(Interval((low + high) / 2, low, high, 5, 5)) == word


def test_videos_and_gif_are_whole_and_large_enough_to_see(demo):
    files = sorted(demo.glob("*.mp4"))
    assert len(files) == 8
    for path in files:
        with av.open(str(path)) as container:
            assert container.streams.video[0].average_rate == 16
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 9
        assert frames[0].shape == (256 + 8 + 48, 4 * (256 + 8), 3)
    with Image.open(demo / "all.gif") as gif:
        assert gif.n_frames == 9
        assert gif.size[0] == 4 * (128 + 8)
        assert gif.size[1] > 8 * 128


def test_models_sample_from_the_same_noise_with_the_settings_of_the_sidecar(
    demo, samples, lab_models
):
    name = sample_name(samples[0]["prompt"], samples[0]["seed"])
    kept = load_file(demo / "samples" / f"{name}.safetensors")
    sampling = Sampling(**samples[0]["sampling"])
    assert sampling.num_inference_steps == 2
    pair = (samples[0]["prompt"], samples[0]["seed"])
    for name in ("base", "control"):
        pipe = DiffusionPipeline.from_pretrained(lab_models / name)
        assert torch.equal(next(base_videos(pipe, [pair], sampling)), kept[name])
    clip = next(VideoJAM.from_pretrained(lab_models / "videojam").clips([pair], sampling))
    assert torch.equal(clip.video, kept["videojam"])
    assert torch.equal(clip.motion, kept["motion"])
    assert torch.equal(clip.flow.half(), kept["flow"])
    assert not torch.equal(kept["base"], kept["control"])


class Page(HTMLParser):
    """Tags with their attributes, and the cells of tables row by row."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.text, self._in_cell = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.text.append(data)
        if self._in_cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def page(demo):
    return Page((demo / "index.html").read_text("utf-8"))


def test_page_shows_the_figures_of_metrics_json(page, samples):
    assert set(MEANING) == {field.name for field in dataclasses.fields(Judgement)}
    rows = iter(page.rows[1 + 5 :])  # after the table of what was measured
    for sample in samples:
        assert next(rows) == ["", *MODELS.values()]
        for metric in MEANING:
            name, *shown = next(rows)
            assert name == metric
            for text, model in zip(shown, MODELS, strict=True):
                value = sample["metrics"][model][metric]
                assert text == ("–" if value is None else f"{value:.2f}")  # noqa: RUF001
    assert next(rows, None) is None


def test_page_says_what_it_is_and_how_it_was_made(page, samples):
    text = " ".join(" ".join(page.text).split())
    assert all(sample["prompt"] in text for sample in samples)
    assert "Nobody chose the captions" in text
    assert "docs/results.md" in text
    for own in recorded().values():
        assert own.over in text
        for difference in own.differences.values():
            assert verdict(difference) in text
    assert "2 steps; text scale 5, motion scale 3" in text
    assert "9 frames of 32 x 32 pixels at 16 per second" in text
    assert samples[0]["versions"]["torch"] in text
    assert samples[0]["model_fingerprints"]["videojam"][:12] in text


def test_page_shows_what_was_measured(page):
    own = recorded()
    head, *rows, difference = page.rows[:6]
    assert head == ["", "clips of one line: lawful", "scenes: coherence"]
    for cells, system in zip(rows, own["line"].systems, strict=True):
        assert cells[1:] == [show(own[name].systems[system]) for name in ("line", "scenes")]
    pair = "joint + Inner-Guidance - control"
    assert difference[1:] == [show(own[n].differences[pair], True) for n in ("line", "scenes")]


def test_page_shows_every_clip_of_the_line_with_its_share(page, demo, line):
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 1 + 2 * len(SEEDS) * len(LABELS)
    text = " ".join(" ".join(page.text).split())
    for name, lawful in line["lawful"].items():
        for value in (value for row in lawful for value in row):
            assert f"{LABELS[name]} {value:.2f}" in text


def test_page_loads_nothing_from_anywhere(page, demo):
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "base", "form"}
    assert sum(tag == "video" for tag, _ in page.tags) == 8
    for _, attributes in page.tags:
        for key in ("src", "href", "poster", "srcset", "data"):
            assert attributes.get(key, "data:").startswith("data:")
        assert not any(key.startswith("on") for key in attributes)
    style = (demo / "index.html").read_text("utf-8")
    assert "url(" not in style
    assert "@import" not in style


def test_same_command_again_samples_what_is_missing_alone(demo, lab_models):
    kept = demo / "samples"
    before = {path: path.read_bytes() for path in kept.glob("*.safetensors")}
    assert len(before) == 9
    times = {path: path.stat().st_mtime_ns for path in before}
    lost = min(path for path in kept.glob("*.json") if path.stem != "line")
    lost.unlink()  # as if stopped before this one was done
    console = Console(record=True, width=100)
    run_demo(demo, DEMO, lab_models, console)
    said = " ".join(console.export_text().split())
    assert "the line: done before; scenes: 8 samples, 7 of them done before" in said
    changed = [path for path in before if path.stat().st_mtime_ns != times[path]]
    assert changed == [lost.with_suffix(".safetensors")]
    assert all(path.read_bytes() == content for path, content in before.items())
    pages = (demo / "index.html").read_text()
    run_demo(demo, DEMO, lab_models, Console(quiet=True))
    assert (demo / "index.html").read_text() == pages
    assert not list(demo.rglob("*.part"))


def test_samples_made_in_another_way_are_not_mixed_in(demo, lab_models, capsys):
    with pytest.raises(SystemExit):
        main(["demo", "--out", str(demo), "--models", str(lab_models),
              "--scenes.seeds", *map(str, SEEDS), "--scenes.sampling.num-inference-steps", "3",
              "--line.captions", "2", "--line.seeds", *map(str, SEEDS),
              "--line.num-inference-steps", "2"])  # fmt: skip
    assert "made with other sampling; give another folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["demo", "--out", str(demo), "--models", str(lab_models), "--line.captions", "3"])
    assert "line.json was made with other captions" in capsys.readouterr().err
    for wrong, said in (("--line.captions", "0 captions"), ("--scenes.types", "no scene type 'x'")):
        with pytest.raises(SystemExit):
            main(["demo", "--out", str(demo), wrong, {"--line.captions": "0"}.get(wrong, "x")])
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["demo", "--out", str(demo), "--models", str(lab_models / "start")])
    assert "no videojam.json" in capsys.readouterr().err


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 375])
def test_page_plays_in_a_browser_on_a_desktop_and_on_a_phone(browser, demo, scheme, width):
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab.set_default_timeout(120_000)  # a shared machine stalls
    complaints, requests = [], []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    address = (demo / "index.html").resolve().as_uri()
    tab.goto(address)
    videos = tab.locator("video")
    assert videos.count() == 8
    for video in (videos.nth(index) for index in (0, 3, 7)):
        video.scroll_into_view_if_needed()  # those out of sight are not played
        element = video.element_handle()
        tab.wait_for_function("v => v.readyState >= 3 && !v.paused", arg=element)
        at = video.evaluate("v => v.currentTime")
        tab.wait_for_function("([v, at]) => v.currentTime != at", arg=[element, at])
        assert video.evaluate("v => [v.videoWidth, v.videoHeight, v.error]") == [1056, 312, None]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    shown = tab.locator(".line img").first
    shown.scroll_into_view_if_needed()
    assert shown.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [48, 12]
    assert shown.bounding_box()["width"] > 90  # a third of a phone, a sixth of a desktop
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert [url for url in requests if not url.startswith("data:")] == [address]
    assert complaints == []
    tab.close()
