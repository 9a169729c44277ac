"""The interface: what it gives, and what it refuses."""

import asyncio
import json
import re
import shutil
import sqlite3
import time
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_study import SYSTEMS
from starlette.testclient import TestClient

from videojam.study.invite import invitations
from videojam.study.links import Link, read_secrets, token
from videojam.study.plan import read_plan
from videojam.study.server.app import make_app
from videojam.study.server.guards import Bucket, RateLimit
from videojam.study.store import Store
from videojam.study.trials import intact_side

AS_JSON = {"content-type": "application/json"}  # without it a body is not looked at
GOOD = {"trial": 1, "answers": {"motion": "left"}, "seconds": 2.5}


@pytest.fixture
def client(study):
    with TestClient(make_app(study[0], rate=1e9), raise_server_exceptions=False) as client:
        yield client


def link_of(made, rater=0, **changed):
    study, link = made, Link(made[1].study, rater, int(time.time()) + 1000, 100)
    link = link._replace(**changed)
    return {"authorization": f"Bearer {token(read_secrets(study[0]), link)}"}


def owner(study):
    return {"authorization": f"Bearer {read_secrets(study[0]).admin}"}


def agreed(client, study):
    """Headers of a rater who has agreed."""
    headers = link_of(study)
    assert client.post("/api/join", json={}, headers=headers).status_code == 200
    assert client.post("/api/consent", json={}, headers=headers).status_code == 200
    return headers


@pytest.fixture
def rater(client, study):
    return agreed(client, study)


class Served(NamedTuple):
    """One server for all tests that change nothing."""

    client: TestClient
    study: tuple
    rater: dict


@contextmanager
def serving(made, folder):
    study = shutil.copytree(made[0], folder / "study"), made[1]
    with TestClient(make_app(study[0], rate=1e9), raise_server_exceptions=False) as client:
        yield Served(client, study, agreed(client, study))


@pytest.fixture(scope="module")
def served(made, tmp_path_factory):
    with serving(made, tmp_path_factory.mktemp("served")) as one:
        yield one


@pytest.fixture(scope="module")
def fuzzed(made, tmp_path_factory):
    """Another one, for requests that may change something."""
    with serving(made, tmp_path_factory.mktemp("fuzzed")) as one:
        yield one


def test_a_raters_way(client, study, rater):
    seen = client.get("/api/study", headers=rater).json()
    assert seen["consented"]
    assert seen["done"] == []
    assert len(seen["trials"]) == len(study[1].raters[0])
    film = client.get(f"/films/{seen['trials'][0]['film']}", headers=rater)
    assert film.headers["content-type"] == "video/mp4"
    assert client.post("/api/votes", json=GOOD, headers=rater).json() == {
        "trial": 1, "state": "open"}  # fmt: skip
    assert client.get("/api/study", headers=rater).json()["done"] == [1]


def test_saying_a_vote_again_is_harmless_and_another_answer_refused(client, study, rater):
    for _ in range(3):
        assert client.post("/api/votes", json=GOOD, headers=rater).status_code == 200
    other = {**GOOD, "answers": {"motion": "right"}}
    assert client.post("/api/votes", json=other, headers=rater).status_code == 409
    store = Store(study[0])
    assert [stored.vote.answers for stored in store.votes()] == [{"motion": "left"}]
    store.close()


def test_a_vote_is_on_disk_when_it_is_acknowledged(client, study, rater):
    client.post("/api/votes", json=GOOD, headers=rater)
    with sqlite3.connect(study[0] / "votes.sqlite") as other:
        assert other.execute("SELECT rater, trial FROM votes").fetchall() == [(0, 1)]


def test_a_rater_learns_no_kind_and_no_system(served):
    client, study, rater = served
    answers = [client.get("/api/study", headers=rater)]
    answers += [client.get(path) for path in ("/", "/study.js", "/admin", "/admin.js")]
    films = {trial["film"] for trial in answers[0].json()["trials"]}
    answers += [client.get(f"/films/{name}", headers=rater) for name in films]
    for answer in answers:
        whole = answer.content + repr(answer.headers).encode()
        for word in (*SYSTEMS, "frozen", "shuffled", "intact"):
            assert word.encode() not in whole, (answer.url, word)
    practice = [trial for trial in answers[0].json()["trials"] if "practice" in trial]
    assert len(practice) == 1  # alone says what is right
    assert practice[0]["practice"]["side"] == intact_side(study[1], study[1].raters[0][0])
    keys = {frozenset(t) for t in answers[0].json()["trials"] if "practice" not in t}
    assert len(keys) == 1
    # The order in a film says nothing either: each system is first in about half.
    firsts = [film.first for film in study[1].films if film.first in SYSTEMS]
    assert {*firsts} == {*SYSTEMS}


@pytest.mark.parametrize("what", [
    {"trial": 999}, {"trial": -1}, {"trial": "1"}, {"trial": 1.5}, {"trial": True},
    {"answers": {}}, {"answers": {"motion": "up"}}, {"answers": {"other": "left"}},
    {"answers": {"motion": "left", "x": "left"}}, {"answers": {"motion": "tie"}},
    {"answers": {"motion": "bad"}}, {"answers": "left"}, {"answers": {"motion": ["left"]}},
    {"seconds": -1}, {"seconds": "2"}, {"seconds": None}, {"rater": 5}, {"extra": 1},
    {"answers": {"motion": "\ud800"}}, {"answers": {"\ud800": "left"}},
    {"answers": {"motion": "left'; DROP TABLE votes; --"}},
])  # fmt: skip
def test_votes_that_are_refused(served, what):
    client, _study, rater = served
    answer = client.post(
        "/api/votes", content=json.dumps({**GOOD, **what}), headers=rater | AS_JSON
    )
    assert answer.status_code in (403, 422)
    assert client.get("/api/study", headers=rater).json()["done"] == []


@pytest.mark.parametrize("body", [
    b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"trial": NaN}', b'{"seconds": Infinity}',
    b"[" * 5000, b'{"trial": ' + b"9" * 6000 + b"}", b'{"trial": 1e400}',
])  # fmt: skip
def test_bodies_that_are_no_votes(served, body):
    client, _study, rater = served
    assert client.post("/api/votes", content=body, headers=rater | AS_JSON).status_code in (
        400,
        422,
    )


def test_no_vote_without_consent_and_not_beyond_the_link(client, study):
    headers = link_of(study, 1)
    assert client.post("/api/votes", json=GOOD, headers=headers).status_code == 403
    short = link_of(study, 1, trials=1)
    client.post("/api/consent", json={}, headers=short)
    assert len(client.get("/api/study", headers=short).json()["trials"]) == 1
    assert client.post("/api/votes", json=GOOD, headers=short).status_code == 403
    film = study[1].films[study[1].raters[1][5].film].name
    shown = {study[1].films[t.film].name for t in study[1].raters[1][:1]}
    if film not in shown:
        assert client.get(f"/films/{film}", headers=short).status_code == 404


@pytest.mark.parametrize("path", ["/api/study", "/films/x", "/api/admin"])
@pytest.mark.parametrize("header", [None, "", "Bearer ", "Bearer x.y", "Bearer é", "Basic YTpi"])
def test_nothing_without_a_valid_link(served, path, header):
    client, _study, _rater = served
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    assert client.get(path, headers=headers).status_code == 401


def test_forged_expired_and_foreign_links(served):
    client, study, rater = served
    for wrong in (
        link_of(study, expires=int(time.time()) - 1),
        link_of(study, study="other"),
        {"authorization": link_of(study)["authorization"][:-1] + "~"},
    ):
        assert client.get("/api/study", headers=wrong).status_code == 401
        assert client.post("/api/votes", json=GOOD, headers=wrong).status_code == 401
    for rater in (-2, len(study[1].raters), 10**9):
        assert client.get("/api/study", headers=link_of(study, rater)).status_code == 403


def test_a_rater_cannot_see_others_or_the_owners_page(client, study, rater):
    assert client.get("/api/admin", headers=rater).status_code == 401
    assert client.post("/api/admin/pause", json={"paused": True}, headers=rater).status_code == 401
    assert client.get("/api/study", headers=owner(study)).status_code == 401
    mine = {study[1].films[trial.film].name for trial in study[1].raters[0]}
    foreign = next(film.name for film in study[1].films if film.name not in mine)
    assert client.get(f"/films/{foreign}", headers=rater).status_code == 404


@pytest.mark.parametrize("path", [
    "/films/../plan.json", "/films/..%2fplan.json", "/films/%2e%2e/secret.json",
    "/films/..%5cplan.json", "/films//etc/passwd", "/films/%00", "/..%2f..%2fetc/passwd",
    "/plan.json", "/secret.json", "/votes.sqlite", "/films/", "/page/study.js",
])  # fmt: skip
def test_no_path_reaches_the_file_system(served, path):
    client, study, rater = served
    answer = client.get(path, headers=rater)
    assert answer.status_code in (401, 404)
    assert study[1].study.encode() not in answer.content


def test_ranges_of_a_film(served):
    client, study, rater = served
    name = study[1].films[study[1].raters[0][0].film].name
    whole = client.get(f"/films/{name}", headers=rater).content
    part = client.get(f"/films/{name}", headers={**rater, "range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    beyond = client.get(f"/films/{name}", headers={**rater, "range": "bytes=99999999-"})
    assert beyond.status_code == 416
    odd = client.get(f"/films/{name}", headers={**rater, "range": "bytes=x-y,,"})
    assert odd.status_code in (200, 400, 416)


def test_open_links_make_raters_until_all_places_are_taken(client, study):
    opened = link_of(study, -1)
    assert client.get("/api/study", headers=opened).status_code == 403
    links = set()
    for _ in study[1].raters:
        links.add(client.post("/api/join", json={}, headers=opened).json()["link"])
    assert len(links) == len(study[1].raters)
    full = client.post("/api/join", json={}, headers=opened)
    assert full.status_code == 409
    assert "all places are taken" in full.json()["detail"]


def test_pausing(client, study, rater):
    pause = {"headers": owner(study), "json": {"paused": True}}
    assert client.post("/api/admin/pause", **pause).json() == {"state": "paused"}
    assert client.get("/api/study", headers=rater).json()["state"] == "paused"
    assert client.post("/api/join", json={}, headers=link_of(study, -1)).status_code == 409
    assert client.post("/api/votes", json=GOOD, headers=rater).json()["state"] == "paused"
    client.post("/api/admin/pause", headers=owner(study), json={"paused": False})
    assert client.get("/api/study", headers=rater).json()["state"] == "open"


def test_the_owner_sees_counts(client, study, rater):
    client.post("/api/votes", json=GOOD, headers=rater)
    seen = client.get("/api/admin", headers=owner(study)).json()
    assert seen["systems"] == [*SYSTEMS]
    assert [(each["rater"], each["done"], each["consented"]) for each in seen["raters"]] == [
        (0, 1, True)
    ]
    assert seen["interval"] is None


def test_headers_on_every_answer(served):
    client, _study, _rater = served
    for path in ("/", "/study.js", "/admin", "/none", "/api/study"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_pages_have_no_script_inside(served):
    client, _study, _rater = served
    for path in ("/", "/admin"):
        text = client.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)", text)
        assert not re.search(r"\son\w+=|style=|javascript:", text)
        for address in re.findall(r'(?:src|href)="([^"]+)"', text):
            assert address.startswith("data:") or client.get(f"/{address}").status_code == 200


def test_large_bodies(served):
    client, _study, rater = served
    answer = client.post("/api/votes", content=b"x" * 20_000, headers=rater | AS_JSON)
    assert answer.status_code == 413
    parts = (b"x" * 1000 for _ in range(100))  # without a length
    assert client.post("/api/votes", content=parts, headers=rater | AS_JSON).status_code == 413


def test_a_body_that_does_not_come(study):
    from videojam.study.server.guards import BoundedBody

    sent = []

    async def late():
        await asyncio.sleep(0.3)
        return {"type": "http.request", "body": b"{}"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": []}
    asyncio.run(BoundedBody(send, seconds=0.01)(scope, late, send))
    assert sent[0]["status"] == 408


def test_made_up_links_do_not_help_against_the_limit():
    let_through = []

    async def app(scope, receive, send):
        let_through.append(scope)

    async def ignore(message=None):
        pass

    async def ask():
        guard = RateLimit(app, rate=0.0, burst=1)
        for k in range(60):
            headers = [(b"authorization", f"Bearer {k}".encode())]
            await guard({"type": "http", "client": ("1.2.3.4", 1), "headers": headers},
                        ignore, ignore)  # fmt: skip

    asyncio.run(ask())
    assert len(let_through) == 40, "so many of one address, whatever their links"


def test_too_many_requests(study):
    with TestClient(make_app(study[0], rate=0.001)) as client:
        app_burst = round(6 * 0.001)
        assert app_burst == 0
        assert client.get("/").status_code == 429
    now = [0.0]
    bucket = Bucket(2.0, 3, clock=lambda: now[0])
    assert [bucket.take("a") for _ in range(4)] == [True, True, True, False]
    assert bucket.take("b")
    now[0] = 0.5
    assert [bucket.take("a") for _ in range(2)] == [True, False]


def test_loopback_answers_to_its_own_names_only(study):
    app = make_app(study[0], hosts=["127.0.0.1", "localhost"])
    with TestClient(app, base_url="http://localhost:8000") as client:
        assert client.get("/").status_code == 200
        assert client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_a_changed_plan_is_not_served(study):
    plan = study[0] / "plan.json"
    plan.write_text(plan.read_text().replace('"ties": false', '"ties": true'))
    read_plan(study[0])
    with pytest.raises(ValueError, match="were changed after they were written"):
        make_app(study[0])


def test_the_stopping_rule_ends_the_study(study):
    folder, _ = study
    store = Store(folder)
    store.join(0, "invited")
    store.finish("early")
    store.close()
    with TestClient(make_app(folder, rate=1e9)) as client:
        headers = link_of(study)
        client.post("/api/consent", json={}, headers=headers)
        assert client.post("/api/votes", json=GOOD, headers=headers).json()["state"] == "finished"
        assert client.post("/api/join", json={}, headers=link_of(study, -1)).status_code == 409
    store = Store(folder)
    assert [stored.late for stored in store.votes()] == [True]
    store.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
VOTES = st.fixed_dictionaries(
    {"trial": JSON | st.integers(-2, 20), "answers": JSON | st.dictionaries(
        st.sampled_from(["motion", "text"]), st.sampled_from(["left", "right", "tie", "x"])),
     "seconds": JSON | st.floats(0, 100)},
    optional={"more": JSON},
)  # fmt: skip
PATHS = st.sampled_from(["/api/votes", "/api/join", "/api/consent", "/api/admin/pause"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(PATHS, VOTES | JSON, st.text(max_size=40))
def test_no_input_is_an_error_of_the_server(fuzzed, path, body, text):
    client, study, rater = fuzzed
    for headers in (rater, owner(study), {"authorization": text.encode("utf-8", "replace")}):
        answer = client.post(path, content=json.dumps(body), headers=headers | AS_JSON)
        assert answer.status_code < 500
    for method in ("GET", "PUT", "HEAD"):
        name = text.encode("utf-8", "replace").hex()
        assert client.request(method, f"/films/{name}", headers=rater).status_code < 500


def test_invitations_open_the_page(client, study):
    (link,) = invitations(study[0], "http://testserver", [2], 1.0)
    headers = {"authorization": f"Bearer {link.partition('#')[2]}"}
    assert client.post("/api/join", json={}, headers=headers).status_code == 200
    assert client.get("/api/study", headers=headers).json()["rater"] == 2
