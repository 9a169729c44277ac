"""The demo with tiny models: what it writes, that it resumes, and that its page needs nothing."""

import dataclasses
import json
import socket
from html.parser import HTMLParser
from pathlib import Path

import av
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from videojam.cli.main import main
from videojam.embedded.demo import Demo, run_demo
from videojam.embedded.demo_page import MEANING, MODELS
from videojam.lab.clips import Lab, lab_scene
from videojam.lab.judge import Judgement
from videojam.lab.scene import KINDS
from videojam.lab.scenes import SCENES
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling
from videojam.sampling.samples import sample_name

DEMO = Demo(sampling=Sampling(num_inference_steps=2))
CHROMIUM = Path("/usr/bin/chromium")


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
    assert "4 captions, 0 of them done before" in said
    assert f"open {out / 'index.html'} in a browser" in said
    return out


@pytest.fixture(scope="module")
def samples(demo):
    return json.loads((demo / "metrics.json").read_text())


def test_there_is_a_caption_of_every_kind_of_motion(samples):
    assert [SCENES[name][0] for name in Demo().types] == list(KINDS)
    assert [sample["kind"] for sample in samples] == list(KINDS)
    lab = Lab(frames=9, height=32, width=32, types=Demo().types, seed=Demo().scene_seed)
    assert [s["prompt"] for s in samples] == [lab_scene(lab, k)[0].caption for k in range(4)]


def test_videos_and_gif_are_whole_and_large_enough_to_see(demo):
    files = sorted(demo.glob("*.mp4"))
    assert len(files) == 4
    for path in files:
        with av.open(str(path)) as container:
            assert container.streams.video[0].average_rate == 16
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 9
        assert frames[0].shape == (256 + 8 + 48, 4 * (256 + 8), 3)
    with Image.open(demo / "all.gif") as gif:
        assert gif.n_frames == 9
        assert gif.size[0] == 4 * (128 + 8)
        assert gif.size[1] > 4 * 128


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
    rows = iter(page.rows)
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
    assert "single samples" in text
    assert "docs/results.md" in text
    assert "2 steps; text scale 5, motion scale 3" in text
    assert "9 frames of 32 x 32 pixels at 16 per second" in text
    assert samples[0]["versions"]["torch"] in text
    assert samples[0]["model_fingerprints"]["videojam"][:12] in text


def test_page_loads_nothing_from_anywhere(page, demo):
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "base", "form"}
    assert sum(tag == "video" for tag, _ in page.tags) == 4
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
    times = {path: path.stat().st_mtime_ns for path in before}
    lost = min(kept.glob("*.json"))
    lost.unlink()  # as if stopped before this one was done
    console = Console(record=True, width=100)
    run_demo(demo, DEMO, lab_models, console)
    assert "4 captions, 3 of them done before" in console.export_text()
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
              "--sampling.num-inference-steps", "3"])  # fmt: skip
    assert "made with other sampling; give another folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["demo", "--out", str(demo), "--models", str(lab_models / "start")])
    assert "no videojam.json" in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 375])
def test_page_plays_in_a_browser_on_a_desktop_and_on_a_phone(browser, demo, scheme, width):
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    complaints, requests = [], []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    address = (demo / "index.html").resolve().as_uri()
    tab.goto(address)
    videos = tab.locator("video")
    assert videos.count() == 4
    for video in (videos.nth(index) for index in range(4)):
        video.scroll_into_view_if_needed()  # those out of sight are not played
        element = video.element_handle()
        tab.wait_for_function("v => v.readyState >= 3 && !v.paused", arg=element)
        at = video.evaluate("v => v.currentTime")
        tab.wait_for_function("([v, at]) => v.currentTime != at", arg=[element, at])
        assert video.evaluate("v => [v.videoWidth, v.videoHeight, v.error]") == [1056, 312, None]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert [url for url in requests if not url.startswith("data:")] == [address]
    assert complaints == []
    tab.close()
