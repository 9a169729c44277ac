"""Attacks on the study's interface, and what came of each; random input.

    python benchmarks/study_attacks.py --cases 10000

The application runs in this process (Starlette's test client); an answer of 500 or more counts as
a failure.
"""

import json
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from record import record
from study_raters import SYSTEMS, clips
from videojam.study.links import Link, read_secrets, token
from videojam.study.new import Design, new_study
from videojam.study.plan import Plan
from videojam.study.server.app import make_app
from videojam.study.store import Store

GOOD = {"trial": 1, "answers": {"motion": "left"}, "seconds": 2.0}
JSON = {"content-type": "application/json"}
INJECTION = "left'); DROP TABLE votes; --"


@dataclass(frozen=True, kw_only=True)
class Attacks:
    """How many random inputs."""

    cases: int = 10_000


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def attacks(client: TestClient, plan: Plan, folder: Path) -> dict[str, int | list[int]]:
    """Attack -> status codes."""
    secret, now = read_secrets(folder), int(time.time())
    mine = Link(plan.study, 0, now + 1000, 100)
    good, other = bearer(token(secret, mine)), bearer(token(secret, mine._replace(rater=1)))

    def vote(body: Any, headers: dict = good) -> int:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return client.post("/api/votes", content=text, headers=headers | JSON).status_code

    shown = {plan.films[t.film].name for t in plan.raters[0]}
    foreign = next(film.name for film in plan.films if film.name not in shown)
    paths = (
        "/films/../plan.json",
        "/films/..%2fsecret.json",
        "/films/%2e%2e%2fvotes.sqlite",
        "/films/..%5c..%5cplan.json",
        "/films/%00",
        "/films//etc/passwd",
        "/secret.json",
    )
    return {
        "path traversal": [client.get(path, headers=good).status_code for path in paths],
        "film of another rater": client.get(f"/films/{foreign}", headers=good).status_code,
        "forged link": client.get("/api/study", headers=bearer("WyJ4IiwwXQ.AAAA")).status_code,
        "link for more trials, old signature": client.get(
            "/api/study",
            headers=bearer(token(secret, mine._replace(trials=999)).split(".")[0] + "."
                           + token(secret, mine).split(".")[1]),
        ).status_code,
        "expired link": vote(GOOD, bearer(token(secret, mine._replace(expires=now - 1)))),
        "vote": vote(GOOD),
        "the same vote again": [vote(GOOD) for _ in range(3)],
        "another answer": vote({**GOOD, "answers": {"motion": "right"}}),
        "vote for another rater": vote({**GOOD, "rater": 1}),
        "vote without consent": vote(GOOD, other),
        "SQL in an answer": vote({**GOOD, "answers": {"motion": INJECTION}}),
        "SQL in a question": vote({**GOOD, "answers": {INJECTION: "left"}}),
        "SQL as a trial": vote({**GOOD, "trial": INJECTION}),
        "SQL as a link": client.get("/api/study", headers=bearer(INJECTION)).status_code,
        "SQL as a film": client.get(f"/films/{INJECTION}", headers=good).status_code,
        "a body of 20 kB": vote(b"x" * 20_000),
        "nested lists": vote(b"[" * 8000),
        "a number of 6000 digits": vote(b'{"trial": ' + b"9" * 6000 + b"}"),
        "a lone surrogate": vote(b'{"trial": 1, "answers": {"\\ud800": "left"}, "seconds": 1}'),
        "owner's page with a rater's link": client.get("/api/admin", headers=good).status_code,
        "owner's page with a guess": client.get("/api/admin", headers=bearer("a")).status_code,
        "script in a prompt, as text": int(
            "<script>" in client.get("/api/study", headers=good).text
            and "<script>alert" not in client.get("/").text
        ),
    }  # fmt: skip


def fuzz(client: TestClient, links: list[dict[str, str]], cases: int) -> dict[str, int]:
    """Status codes of random requests; raises at the first of 500 or more."""
    codes: Counter[int] = Counter()
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
    anything = st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=5)
        ),
        max_leaves=10,
    )
    votes = st.fixed_dictionaries(
        {
            "trial": anything | st.integers(-2, 30),
            "answers": anything | st.dictionaries(
                st.sampled_from(["motion", "x"]), st.sampled_from(["left", "right", "tie", ""])
            ),
            "seconds": anything | st.floats(-1, 100),
        }
    )  # fmt: skip
    posts = st.sampled_from(["/api/votes", "/api/join", "/api/consent", "/api/admin/pause"])
    gets = st.sampled_from(["/api/study", "/api/admin", "/films/", "/", "/admin", "/api/"])

    @settings(max_examples=cases, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.booleans(), posts, gets, votes | anything | st.binary(max_size=300),
           st.sampled_from(links) | st.text(max_size=60), st.text(max_size=30))  # fmt: skip
    def one(posting: bool, post: str, get: str, body: Any, link: Any, text: str) -> None:
        headers = (
            link if isinstance(link, dict) else {"authorization": link.encode("utf-8", "replace")}
        )
        if posting:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = client.post(post, content=content, headers=headers | JSON)
        else:
            answer = client.get(get + text.encode("utf-8", "replace").hex()[:20], headers=headers)
        codes[answer.status_code] += 1
        assert answer.status_code < 500, (post, get, body, answer.text)

    one()
    return {str(code): count for code, count in sorted(codes.items())}


def main(args: Attacks) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "study"
        systems = clips(Path(root) / "clips", 16)
        for at in systems.values():
            first = at / "a bright square, number 0.mp4"
            rows = [
                {"file": p.name, "prompt": "<script>alert(1)</script>" if p == first else p.stem}
                for p in sorted(at.glob("*.mp4"))
            ]
            (at / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        design = Design(questions=("motion=Which?",), trials=28, title="<script>alert(1)</script>")
        plan = new_study(folder, systems, design)
        assert {*plan.systems} == {*SYSTEMS}
        secret = read_secrets(folder)
        link = Link(plan.study, 0, int(time.time()) + 10_000, 100)
        links = [bearer(token(secret, link)), bearer(secret.admin)]
        with TestClient(make_app(folder, rate=1e9), raise_server_exceptions=False) as client:
            client.post("/api/consent", json={}, headers=links[0])
            figures: dict[str, Any] = {"attacks": attacks(client, plan, folder)}
            store = Store(folder)
            assert figures["attacks"]["vote"] == 200, "an honest one, or nothing was attacked"
            figures["votes after the attacks"] = [list(s.vote[:3]) for s in store.votes()]
            store.close()
            figures["random requests"] = fuzz(client, links, args.cases)
    print(record("study_attacks", figures).read_text())


if __name__ == "__main__":
    main(tyro.cli(Attacks))
