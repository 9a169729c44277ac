"""The study's page in Chromium: are both clips on the same frame, what does it weigh, is it usable.

    python benchmarks/study_page.py --axe node_modules/axe-core/axe.min.js --shots runs/shots

Clips carry their frame number as black and white blocks. At every repaint of a minute, the blocks
of both halves are read from the canvas; a pair of numbers that belongs to no moment of the film is
out of step, by as many frames as it lies from the nearest that does. axe-core (npm) looks for what
bars people from using the page; its script is put into the page by the debugger, past the policy.
"""

import tempfile
import threading
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import tyro
import uvicorn
from playwright.sync_api import Page, sync_playwright

from record import record
from videojam.media.video import write_video
from videojam.study.film import shown_at
from videojam.study.invite import invitations
from videojam.study.links import read_secrets
from videojam.study.new import Design, new_study
from videojam.study.plan import Plan
from videojam.study.server.app import make_app

BITS, BLOCK = 6, 24
SIZE = (144, 192)  # height, width
CASES = {"same rate": ((48, 16.0), (48, 16.0)), "different": ((48, 16.0), (60, 24.0))}
_SAMPLE = """async ([seconds, width, height, bits, block]) => {
  const canvas = document.getElementById("stage"), context = canvas.getContext("2d");
  const room = [canvas.parentElement.clientWidth, window.innerHeight * 0.56];
  const layout = stageLayout(width, height, ...room), sharp = canvas.width / layout.width;
  const number = ([x, y]) => {
    let value = 0;
    for (let bit = 0; bit < bits; bit += 1) {
      const at = [(x + (bit + 0.5) * block) * sharp, (y + 0.5 * block) * sharp].map(Math.round);
      if (context.getImageData(...at, 1, 1).data[0] > 128) value += 1 << bit;
    }
    return value;
  };
  const samples = [], end = performance.now() + 1000 * seconds;
  while (performance.now() < end) {
    await new Promise(requestAnimationFrame);
    samples.push(layout.places.map(number));
  }
  return samples;
}"""


@dataclass(frozen=True, kw_only=True)
class PageCheck:
    """How long, and with what."""

    seconds: float = 60
    axe: Path | None = None
    shots: Path | None = None
    "Folder for screenshots."
    port: int = 8795
    chromium: Path = Path("/usr/bin/chromium")


def numbered(frames: int) -> torch.Tensor:
    """Frame k shows k."""
    clip = torch.full((frames, *SIZE, 3), 90, dtype=torch.uint8)
    for k in range(frames):
        for bit in range(BITS):
            clip[k, :BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (k >> bit & 1)
        at = 4 * k % (SIZE[1] - 20)
        clip[k, 60:100, at : at + 20] = 230
    return clip


def make(folder: Path, rates: tuple, questions: tuple[str, ...]) -> Plan:
    systems = {}
    for name, (frames, fps) in zip(("one", "two"), rates, strict=True):
        systems[name] = folder / "clips" / name
        for k in range(6):
            write_video(
                systems[name] / f"a bar slides to the right, {k}.mp4", numbered(frames), fps
            )
    design = Design(trials=14, catches=3, repeats=2, practice=1, questions=questions, ties=True)
    return new_study(folder / "study", systems, replace(design, both_bad=True))


def wait(page: Page, what: str, seconds: float = 60) -> None:
    """page.wait_for_function would need eval, which the policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(what):
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.05)


def to_first_pair(page: Page, plan: Plan, questions: int) -> int:
    """Answer what comes before the first trial about a pair; gives its number."""
    for place, trial in enumerate(plan.raters[0]):
        wait(page, f"parseInt(document.getElementById('progress-text').textContent) == {place + 1}")
        wait(page, "!document.querySelector('#questions [aria-pressed=true]') && studyPlayer.seen")
        if trial.kind == "pair":
            return place
        for _ in range(questions):
            page.keyboard.press("1")
        page.keyboard.press("Enter")
        if trial.kind == "practice":
            page.keyboard.press("Enter")
    raise AssertionError("no pair")


def out_of_step(samples: list[list[int]], plan: Plan, place: int, rates: tuple) -> dict[str, Any]:
    """How far pairs of numbers are from the film's moments."""
    trial = plan.raters[0][place]
    film = plan.films[trial.film]
    by_name = {
        name: shown_at([k / fps for k in range(frames)], [t / 1000 for t in film.times_ms[:-1]])
        for name, (frames, fps) in zip(("one", "two"), rates, strict=True)
    }
    first, second = by_name[film.first], by_name[film.second]
    legal = (
        {*zip(second, first, strict=True)} if trial.swapped else {*zip(first, second, strict=True)}
    )
    worst = max(min(max(abs(a - i), abs(b - j)) for i, j in legal) for a, b in map(tuple, samples))
    changes = sum(before != after for before, after in pairwise(samples))
    return {"repaints": len(samples), "frames_shown": changes, "largest_difference_frames": worst}


def visit(page: Page, link: str) -> dict[str, Any]:
    """Open, agree, and see how long and how much until the first frame."""
    weights: list[int] = []
    page.on("response", lambda answer: weights.append(int(answer.headers["content-length"])))
    began = time.monotonic()
    page.goto(link)
    page.locator("#agree").wait_for()
    opened, weight = time.monotonic() - began, sum(weights)
    page.click("#agree")
    began = time.monotonic()
    wait(page, "(window.studyPlayer?.drawn ?? 0) > 0")
    return {
        "page_bytes": weight,
        "seconds_to_consent": round(opened, 2),
        "seconds_from_consent_to_first_frame": round(time.monotonic() - began, 2),
    }


def serious(page: Page, axe: Path | None) -> list[str] | None:
    """What axe finds, with how bad it is."""
    if axe is None:
        return None
    page.evaluate(axe.read_text())
    found = page.evaluate("async () => (await axe.run()).violations.map(v => [v.impact, v.id])")
    return [f"{impact}: {name}" for impact, name in found]


def check(case: str, args: PageCheck, port: int) -> dict[str, Any]:
    rates, figures = CASES[case], {}
    questions = ("motion=Which moves better?",) if case == "same rate" else ()
    count = 1 if questions else 3
    with tempfile.TemporaryDirectory() as root, sync_playwright() as driver:
        plan = make(Path(root), rates, questions)
        folder = Path(root) / "study"
        server = uvicorn.Server(
            uvicorn.Config(make_app(folder), port=port, log_level="warning", server_header=False)
        )
        threading.Thread(target=server.run, daemon=True).start()
        while not server.started:
            time.sleep(0.1)
        (link,) = invitations(folder, f"http://127.0.0.1:{port}", [0], 1.0)
        browser = driver.chromium.launch(
            executable_path=str(args.chromium), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 900, "height": 700})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        figures |= visit(page, link)
        shots = args.shots / case.replace(" ", "-") if args.shots else None
        place = to_first_pair(page, plan, count)
        size = [SIZE[1], SIZE[0], BITS, BLOCK]
        for speed in ("full", "quarter"):
            samples = page.evaluate(_SAMPLE, [args.seconds, *size])
            figures[speed] = out_of_step(samples, plan, place, rates)
            print(case, speed, figures[speed], flush=True)
            page.keyboard.press("s")
        page.keyboard.press("s")
        page.keyboard.press(" ")
        stepped = []
        for _ in range(12):
            at = page.evaluate("studyPlayer.index")
            page.keyboard.press(".")
            frames = len(plan.films[plan.raters[0][place].film].times_ms) - 1
            wait(page, f"studyPlayer.index == {(at + 1) % frames}")
            stepped += page.evaluate(_SAMPLE, [0.05, *size])
        figures["single steps"] = out_of_step(stepped, plan, place, rates)
        figures["axe, trial"] = serious(page, args.axe)
        if shots:
            page.screenshot(path=f"{shots}-wide.png")
            page.set_viewport_size({"width": 390, "height": 844})
            page.screenshot(path=f"{shots}-phone.png", full_page=True)
            page.emulate_media(color_scheme="dark")
            page.screenshot(path=f"{shots}-phone-dark.png", full_page=True)
            figures["axe, phone, dark"] = serious(page, args.axe)
        figures["sideways_scrolling"] = page.evaluate(
            "document.documentElement.scrollWidth > window.innerWidth"
        )
        page.close()
        page = browser.new_page(viewport={"width": 900, "height": 700})
        page.goto(f"http://127.0.0.1:{port}/admin")
        page.fill("#password", read_secrets(folder).admin)
        page.keyboard.press("Enter")
        page.locator("#raters tr").first.wait_for()
        figures["axe, admin"] = serious(page, args.axe)
        if shots:
            page.screenshot(path=f"{shots}-admin.png")
        browser.close()
        server.should_exit = True
        figures["complaints_of_the_browser"] = complaints
    return figures


def main(args: PageCheck) -> None:
    torch.set_num_threads(1)
    if args.shots:
        args.shots.mkdir(parents=True, exist_ok=True)
    figures = {case: check(case, args, args.port + k) for k, case in enumerate(CASES)}
    print(record("study_page", {"seconds": args.seconds, **figures}).read_text())


if __name__ == "__main__":
    main(tyro.cli(PageCheck))
