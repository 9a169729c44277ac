"""Simulated raters in Chromium answer a whole study by keyboard; what is stored and reported.

    python benchmarks/study_raters.py --name study_raters
    python benchmarks/study_raters.py --name study_raters_killed --kills 20 --offline-seconds 60

Every rater is a browser profile of its own. Attentive raters always find the intact clip, prefer
the second system with a planted probability per pair, and give a repeat the same answer with
another. Planted bad raters click at random or always take one side.
With --kills the server dies by SIGKILL at random moments and is started again; with
--offline-seconds one rater's network is cut for as long.
"""

import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, async_playwright

from record import record
from videojam.media.video import write_video
from videojam.study.analysis.answers import read_answers
from videojam.study.analysis.report import write_report
from videojam.study.invite import invitations
from videojam.study.new import Design, new_study
from videojam.study.plan import Exclusion, Plan, Stopping
from videojam.study.stopping import final_interval
from videojam.study.store import Store
from videojam.study.trials import intact_side

SYSTEMS = ("base", "joint")


@dataclass(frozen=True, kw_only=True)
class Raters:
    """How many, of what kind."""

    name: str = "study_raters"
    raters: int = 20
    bad: int = 4
    prompts: int = 64
    trials: int = 60
    preference: float = 0.7
    consistency: float = 0.9
    "Probability of the same answer to a repeat."
    kills: int = 0
    offline_seconds: float = 0
    seconds: float = 1.1
    "Of thought, from the first frame on."
    port: int = 8790
    chromium: Path = Path("/usr/bin/chromium")
    seed: int = 0


class Server:
    """The study's server, which can be killed and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.start()

    def start(self) -> None:
        # As `videojam study serve`, without what the command line loads for other commands.
        code = (
            "from pathlib import Path; from videojam.study.server.serve import serve; "
            f"serve(Path({str(self.folder)!r}), '127.0.0.1', {self.port})"
        )
        self.process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
        while self.process.poll() is None:  # however long a crowded machine takes
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("the server does not start")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    close = kill


class Mind:
    """What a simulated rater answers."""

    def __init__(self, plan: Plan, number: int, kind: str, size: Raters) -> None:
        self.plan, self.kind, self.size = plan, kind, size
        self.trials, self.given = plan.raters[number], {}
        self.rng = random.Random(f"{size.seed} {number}")

    def side(self, place: int) -> str:
        trial = self.trials[place]
        if self.kind == "clicks":
            return self.rng.choice(["left", "right"])
        if self.kind == "one side":
            return "left"
        if side := intact_side(self.plan, trial):
            return side
        film = self.plan.films[trial.film]
        if trial.repeats is None:
            first = (film.first == SYSTEMS[1]) == (self.rng.random() < self.size.preference)
        else:
            first = self.given[trial.repeats] == (self.rng.random() < self.size.consistency)
        self.given[place] = first
        return "left" if first != trial.swapped else "right"


# In the page: wait for a trial after the last one that was seen to its end, or for the thanks.
_NEXT = """async (last) => {
  const text = (id) => document.getElementById(id).textContent;
  for (;;) {
    if (!document.getElementById("trial").hidden) {
      const number = parseInt(text("progress-text"));
      const playing = text("frame") !== "" && window.studyPlayer.seen;
      const fresh = !document.querySelector("#questions [aria-pressed=true]");
      if (number > last && playing && fresh) return number;
    } else if (text("message-text").includes("everything is saved")) return null;
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
}"""


_STARTED = "!document.getElementById('trial')?.hidden"


async def rate(page: Page, link: str, mind: Mind, log: dict[str, Any]) -> None:
    """Answer everything by keyboard; log what was pressed and what was acknowledged."""

    async def acknowledged(response: Any) -> None:
        if response.url.endswith("/api/votes") and response.status == 200:
            log["acknowledged"].append(json.loads(response.request.post_data)["trial"])

    page.on("response", acknowledged)
    page.on("pageerror", lambda error: log["errors"].append(str(error)))
    while True:
        try:
            await page.goto(link)
            break
        except PlaywrightError:  # the server is just being killed
            await asyncio.sleep(0.5)
    await page.locator("#agree").click(timeout=120_000)
    last = 0
    while True:
        number = await page.evaluate(_NEXT, last)
        if number is None:
            return
        last, began = number, time.monotonic()
        side = mind.side(number - 1)
        await asyncio.sleep(mind.size.seconds)
        log["pressed"][number - 1] = side
        await page.keyboard.press("1" if side == "left" else "2")
        await page.keyboard.press("Enter")
        if mind.trials[number - 1].kind == "practice":
            await page.keyboard.press("Enter")
        log["took"].append(time.monotonic() - began)


async def started(page: Page) -> bool:
    """Whether its first trial is shown; a page that is just being loaded has none."""
    try:
        return await page.evaluate(_STARTED)
    except PlaywrightError:
        return False


async def disturb(server: Server, size: Raters, pages: list[Page], done: asyncio.Event) -> int:
    """Kill the server, cut one rater off; gives how often it was killed."""
    rng, kills = random.Random(size.seed), 0
    while not all([await started(page) for page in pages]):
        await asyncio.sleep(0.5)

    async def cut() -> None:
        await asyncio.sleep(5)
        await pages[0].context.set_offline(True)
        await asyncio.sleep(size.offline_seconds)
        await pages[0].context.set_offline(False)

    cutting = asyncio.create_task(cut()) if size.offline_seconds else None
    while kills < size.kills and not done.is_set():
        await asyncio.sleep(rng.uniform(2, 8))
        server.kill()
        kills += 1
        await asyncio.sleep(rng.uniform(0, 1.5))
        await asyncio.to_thread(server.start)
    if cutting:
        await cutting
    return kills


async def run(size: Raters, plan: Plan, folder: Path, kinds: list[str]) -> dict[str, Any]:
    """All raters at once; gives their logs."""
    links = invitations(folder, f"http://127.0.0.1:{size.port}", range(size.raters), 1.0)
    logs = [{"pressed": {}, "acknowledged": [], "took": [], "errors": []} for _ in links]
    with closing(Server(folder, size.port)) as server:
        seconds, kills = await in_chromium(size, server, links, plan, kinds, logs)
    return {"logs": logs, "seconds": seconds, "kills": kills}


async def in_chromium(
    size: Raters, server: Server, links: list[str], plan: Plan, kinds: list[str], logs: list[dict]
) -> tuple[float, int]:
    """Seconds that it took, and how often the server was killed."""
    async with async_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = await driver.chromium.launch(executable_path=str(size.chromium), args=options)
        small = {"width": 320, "height": 240}  # twenty pages paint without a GPU
        pages = [await (await browser.new_context(viewport=small)).new_page() for _ in links]
        done, began = asyncio.Event(), time.monotonic()
        minds = [Mind(plan, number, kind, size) for number, kind in enumerate(kinds)]
        work = [
            asyncio.create_task(rate(*each)) for each in zip(pages, links, minds, logs, strict=True)
        ]
        disturbing = asyncio.create_task(disturb(server, size, pages, done))
        while not all(task.done() for task in work):
            finished, _ = await asyncio.wait(work, timeout=20)
            for task in finished:
                task.result()
            print(
                round(time.monotonic() - began),
                sum(len(log["pressed"]) for log in logs),
                flush=True,
            )
        took = time.monotonic() - began
        done.set()
        kills = await disturbing
        await browser.close()
    return took, kills


def clips(folder: Path, prompts: int) -> dict[str, Path]:
    """Two systems' small clips, 0.5 s each."""
    for place, system in enumerate(SYSTEMS):
        for number in range(prompts):
            clip = torch.full((8, 48, 64, 3), 40 + 3 * (number % 40), dtype=torch.uint8)
            for k in range(8):
                at = (7 * number + (3 + 2 * place) * k) % 52
                clip[k, 16:28, at : at + 12] = 235
            write_video(folder / system / f"a bright square, number {number}.mp4", clip, 16.0)
    return {system: folder / system for system in SYSTEMS}


def figures(size: Raters, plan: Plan, folder: Path, kinds: list[str], ran: dict) -> dict[str, Any]:
    """What was stored against what was pressed, and what the report says."""
    store = Store(folder)
    stored = {(each.vote.rater, each.vote.trial): each.vote for each in store.votes()}
    votes = store.votes()
    rows = len(votes)
    store.close()
    pressed = {
        (n, t): side for n, log in enumerate(ran["logs"]) for t, side in log["pressed"].items()
    }
    acknowledged = {(n, t) for n, log in enumerate(ran["logs"]) for t in log["acknowledged"]}
    found = write_report(folder, folder / "report")
    (row,) = found["comparisons"]
    left_out = {each["rater"]: each["reasons"] for each in found["raters"] if each["reasons"]}
    bad = {number for number, kind in enumerate(kinds) if kind != "attentive"}
    answers = [a for a in read_answers(plan, votes) if a.rater not in left_out]
    fixed = final_interval(plan, answers, "motion", SYSTEMS[1], SYSTEMS[0])
    low, high = 1 - row["interval"]["high"], 1 - row["interval"]["low"]
    pairs = [t for trials in plan.raters[: size.raters] for t in trials if t.kind == "pair"]
    firsts = sum((plan.films[t.film].first == SYSTEMS[0]) != t.swapped for t in pairs)
    return {
        "raters": size.raters,
        "answers_pressed": len(pressed),
        "votes_stored": rows,
        "lost": len(pressed.keys() - stored.keys()),
        "acknowledged_but_not_stored": len(acknowledged - stored.keys()),
        "doubled": rows - len(stored),
        "changed": sum(
            stored[key].answers != {"motion": side}
            for key, side in pressed.items()
            if key in stored
        ),
        "server_killed": ran["kills"],
        "rater_offline_seconds": size.offline_seconds,
        "page_errors": sum(len(log["errors"]) for log in ran["logs"]),
        "seconds": round(ran["seconds"], 1),
        "share_of_pairs_with_first_system_left": round(firsts / len(pairs), 4),
        "planted_preference": size.preference,
        "share": round(1 - row["share_of_a"], 4),
        "interval": [round(low, 4), round(high, 4)],
        "interval_kind": row["interval_kind"],
        "interval_level": row["interval"]["level"],
        "interval_covers": low <= size.preference <= high,
        "fixed_interval": [round(fixed.low, 4), round(fixed.high, 4), fixed.level],
        "fixed_interval_covers": fixed.low <= size.preference <= fixed.high,
        "planted_consistency": size.consistency,
        "repeats_alike": [found["repeats_alike"], found["repeats"]],
        "krippendorff_alpha": found["agreement"]["motion"],
        "bad_planted": sorted(bad),
        "left_out": left_out,
        "left_out_are_the_planted": left_out.keys() == bad,
    }


def main(size: Raters) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "study"
        design = Design(
            questions=("motion=Which moves better?",),
            trials=size.trials,
            # More than there will be: the study must not end before everybody is done.
            votes_per_pair=2 + size.raters * (size.trials - 16) // size.prompts,
            spare=0.2,
            exclusion=Exclusion(min_median_seconds=1.0),
            stopping=Stopping(enabled=False),
        )
        plan = new_study(folder, clips(Path(root) / "clips", size.prompts), design)
        wrong = ["clicks", "one side"]
        kinds = ["attentive"] * (size.raters - size.bad)
        kinds += [wrong[k % len(wrong)] for k in range(size.bad)]
        ran = asyncio.run(run(size, plan, folder, kinds))
        result = figures(size, plan, folder, kinds, ran)
    print(record(size.name, result).read_text())


if __name__ == "__main__":
    main(tyro.cli(Raters))
