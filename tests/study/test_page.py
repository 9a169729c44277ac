"""The page in a real browser: by keyboard alone, without network for a while, without a server."""

import json
import random
import threading
import time

import pytest
import uvicorn
from small_study import BITS, BLOCK, SYSTEMS, preferred_side

from videojam.study.invite import invitations
from videojam.study.server.app import make_app
from videojam.study.serverless import add_file, export
from videojam.study.store import Store

_AT = "at => parseInt(document.getElementById('progress-text').textContent) == at"
_SEEN = """() => !document.getElementById("trial").hidden && window.studyPlayer?.seen
  && !document.querySelector("#questions [aria-pressed=true]")"""


@pytest.fixture
def address(study):
    server = uvicorn.Server(uvicorn.Config(make_app(study[0]), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def until(page, what, *values, seconds=60):
    """The policy forbids eval, and so page.wait_for_function."""
    end = time.monotonic() + seconds
    while not page.evaluate(what, *values):
        assert time.monotonic() < end, what
        time.sleep(0.03)


def answer(page, plan, place, rng):
    """Wait for trial `place`, answer it by keyboard; gives the side."""
    until(
        page, f"() => parseInt(document.getElementById('progress-text').textContent) == {place + 1}"
    )
    until(page, _SEEN)
    trial = plan.raters[0][place]
    side = preferred_side(plan, trial, SYSTEMS[1], 0.8, rng)
    page.keyboard.press("ArrowLeft" if side == "left" else "2")
    page.keyboard.press("Enter")
    if trial.kind == "practice":
        assert "Right: clip" in page.locator("#feedback").inner_text()
        page.keyboard.press("Enter")
    return side


def opened(browser, address, **options):
    page = browser.new_context(viewport={"width": 400, "height": 700}, **options).new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(address)
    page.locator("#agree").click()
    return page


def test_a_whole_study_by_keyboard_with_a_gap_in_the_network(browser, address, study):
    folder, plan = study
    (link,) = invitations(folder, address, [0], 1.0)
    page, rng, sides = opened(browser, link), random.Random(0), []
    for place in range(4):
        sides.append(answer(page, plan, place, rng))
    page.context.set_offline(True)
    for place in range(4, 8):  # fetched before they were needed
        sides.append(answer(page, plan, place, rng))
    until(page, "() => document.getElementById('queue').textContent.startsWith('4 answers wait')")
    page.context.set_offline(False)
    sides.append(answer(page, plan, 8, rng))
    page.goto("about:blank")
    page.goto(link)  # the same link goes on where the rater was
    for place in range(9, len(plan.raters[0])):
        sides.append(answer(page, plan, place, rng))
    until(page, "() => document.body.innerText.includes('everything is saved')")
    assert page.complaints == []
    page.context.close()
    store = Store(folder)
    votes = [stored.vote for stored in store.votes()]
    store.close()
    assert sorted(vote.trial for vote in votes) == [*range(len(plan.raters[0]))]
    assert [vote.answers["motion"] for vote in sorted(votes, key=lambda v: v.trial)] == sides


def test_both_halves_are_of_one_frame(browser, address, study):
    """Playing, slowly, and step by step, the canvas has the film's halves, on their sides."""
    folder, plan = study
    (link,) = invitations(folder, address, [0], 1.0)
    page = opened(browser, link)
    rng = random.Random(0)
    place = next(k for k, trial in enumerate(plan.raters[0]) if trial.kind == "pair")
    for before in range(place):
        answer(page, plan, before, rng)
    until(
        page, f"() => parseInt(document.getElementById('progress-text').textContent) == {place + 1}"
    )
    until(page, _SEEN)
    for keys in ("", "s", ".", ".", ",", " "):
        for key in keys:
            page.keyboard.press(key)
        for _ in range(6):
            left, right = page.evaluate(_NUMBERS, [112, 48, BITS, BLOCK])
            assert left == right  # both systems have the same numbers at the same rate
    page.keyboard.press(" ")
    at = page.evaluate("studyPlayer.index")
    page.keyboard.press(".")
    until(page, f"() => studyPlayer.index == {(at + 1) % 6}")
    assert page.evaluate(_NUMBERS, [112, 48, BITS, BLOCK]) == [(at + 1) % 6] * 2
    page.context.close()


_NUMBERS = """([width, height, bits, block]) => {
  const canvas = document.getElementById("stage"), context = canvas.getContext("2d");
  const layout = stageLayout(width, height, canvas.parentElement.clientWidth, innerHeight * 0.56);
  const sharp = canvas.width / layout.width;
  return layout.places.map(([x, y]) => {
    let value = 0;
    for (let bit = 0; bit < bits; bit += 1) {
      const at = [(x + (bit + 0.5) * block) * sharp, (y + 0.5 * block) * sharp].map(Math.round);
      if (context.getImageData(...at, 1, 1).data[0] > 128) value += 1 << bit;
    }
    return value;
  });
}"""


def test_answers_wait_for_the_clips_and_can_be_taken_back(browser, address, study):
    (link,) = invitations(study[0], address, [1], 1.0)
    page = opened(browser, link)
    until(page, "() => !document.getElementById('trial').hidden")
    page.evaluate("studyPlayer.video.pause()")
    if not page.evaluate("studyPlayer.seen"):
        page.keyboard.press("1")
        assert "Watch the clips to their end" in page.locator("#feedback").inner_text()
    page.evaluate("studyPlayer.video.play()")
    until(page, "studyPlayer.seen")
    page.keyboard.press("1")
    assert page.locator("#next").is_enabled()
    page.keyboard.press("Backspace")
    assert page.locator("#next").is_disabled()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.context.close()


def test_a_page_without_a_server_gives_a_file_that_the_report_reads(browser, study, tmp_path):
    folder, plan = study
    (path,) = export(folder, tmp_path / "pages", [0])
    page, rng = opened(browser, path.resolve().as_uri()), random.Random(0)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    sides = [answer(page, plan, place, rng) for place in range(4)]
    page.reload()  # kept by the browser
    sides += [answer(page, plan, place, rng) for place in range(4, len(plan.raters[0]))]
    until(page, "() => document.body.innerText.includes('send it back')")
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "votes.json")
    assert page.complaints == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
    page.context.close()
    store = Store(folder)
    assert add_file(folder, store, tmp_path / "votes.json") == len(sides)
    assert [stored.vote.answers["motion"] for stored in store.votes()] == sides
    store.close()
    text = (tmp_path / "votes.json").read_text()
    assert json.loads(text)["format"] == "videojam study votes 1"


def test_wrong_links_say_so(browser, address):
    for wrong, said in (("", "needs a link"), ("#x.y", "not valid")):
        page = browser.new_page()
        page.goto(f"{address}/{wrong}")
        until(page, f"() => document.body.innerText.includes('{said}')")
        page.close()
