"""A study without a server: a folder per rater, whose page keeps votes and gives a signed file.

    RATER-000/index.html     page, script, trials of this rater: nothing else is needed
    RATER-000/films/...      or all in index.html, with one_file

The rater opens index.html, answers, saves a file and sends it back; `add_file` reads it. The
signature binds the votes to this study and rater: a damaged or altered file is refused. Its key is
in the rater's own page, so it is no proof against that rater.
"""

import base64
import hashlib
import hmac
import json
import shutil
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from videojam.records.atomic import replacing, write_text
from videojam.study.links import rater_key, read_secrets, signed
from videojam.study.plan import FILMS, Plan, read_plan
from videojam.study.preregistration import preregistration_hash
from videojam.study.store import Store, Vote
from videojam.study.trials import check_answers, page_study, page_trials
from videojam.study.vote_format import VoteIn

FORMAT = "videojam study votes 1"
SCRIPTS = ("player.js", "outbox.js", "backend.js", "study.js")
_MAX_FILE_BYTES = 20_000_000


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    study: str
    rater: int
    votes: list[VoteIn]


def export(folder: Path, out: Path, raters: Iterable[int], one_file: bool = False) -> list[Path]:
    """Write the folders; gives the pages. ValueError for a rater the plan has no place for."""
    plan, secret = read_plan(folder), read_secrets(folder)
    preregistration_hash(folder)
    pages = []
    for rater in raters:
        if not 0 <= rater < len(plan.raters):
            raise ValueError(f"no place for rater {rater}; there are 0 to {len(plan.raters) - 1}")
        to = out / f"rater-{rater:03d}"
        films = {trial["film"]: "" for trial in page_trials(plan, rater)}
        for name in films:
            source = folder / FILMS / f"{name}.mp4"
            if one_file:
                encoded = base64.b64encode(source.read_bytes()).decode()
                films[name] = f"data:video/mp4;base64,{encoded}"
            else:
                with replacing(to / FILMS / source.name) as part:
                    shutil.copyfile(source, part)
                films[name] = f"{FILMS}/{source.name}"
        data = {
            **page_study(plan),
            "rater": rater,
            "trials": page_trials(plan, rater),
            "films": films,
            "key": rater_key(secret, plan.study, rater),
        }
        write_text(to / "index.html", self_contained(data))
        pages.append(to / "index.html")
    return pages


def self_contained(data: dict[str, Any]) -> str:
    """The served page with style, scripts and data inside; its policy allows no others."""
    page = files("videojam.study") / "page"
    script = "\n".join((page / name).read_text("utf-8") for name in SCRIPTS)
    style = (page / "study.css").read_text("utf-8")
    digests = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (script, style)
    ]
    policy = (
        f"default-src 'none'; script-src 'sha256-{digests[0]}'; style-src 'sha256-{digests[1]}'; "
        "media-src 'self' file: data: blob:; img-src data:; base-uri 'none'; form-action 'none'"
    )
    # "<" inside a string of JSON: no text can end the element.
    content = json.dumps(data).replace("<", "\\u003c")
    lines = (page / "study.html").read_text("utf-8").splitlines(keepends=True)
    head = [line for line in lines if "<script" not in line and 'rel="stylesheet"' not in line]
    text = "".join(head)
    text = text.replace(
        "<title>", f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<title>', 1
    ).replace("</head>", f"<style>{style}</style>\n</head>", 1)
    inside = (
        f'<script type="application/json" id="study-data">{content}</script>\n'
        f"<script>{script}</script>\n</body>"
    )
    return text.replace("</body>", inside, 1)


def add_file(folder: Path, store: Store, path: Path) -> int:
    """Keep the votes of a rater's file; gives how many it has. The same file again is harmless.

    Raises ValueError, and keeps nothing, for a file that is damaged, forged, of another study, or
    that has an answer which was not asked for; also if another answer was kept before.
    """
    plan, content = read_plan(folder), _read(folder, path)
    done = {
        stored.vote.trial: stored.vote.answers
        for stored in store.votes()
        if stored.vote.rater == content.rater
    }
    for vote in content.votes:
        if vote.trial >= len(plan.raters[content.rater]):
            raise ValueError(f"{path} has an answer to trial {vote.trial}, which was not asked")
        check_answers(plan, vote.answers)
        if done.get(vote.trial, vote.answers) != vote.answers:
            raise ValueError(
                f"{path} answers trial {vote.trial} of rater {content.rater} otherwise than a vote "
                "that was kept before; one link and one file went to two people?"
            )
    store.join(content.rater, "file")
    store.consent(content.rater)
    for vote in content.votes:
        store.add(Vote(content.rater, vote.trial, vote.answers, vote.seconds))
    return len(content.votes)


def _read(folder: Path, path: Path) -> _Content:
    plan: Plan = read_plan(folder)
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ValueError(f"{path} has more than {_MAX_FILE_BYTES} bytes; no file of votes has")
    try:
        outer = json.loads(path.read_text("utf-8"))
        text, signature = outer["text"], outer["signature"]
        if outer["format"] != FORMAT or not (isinstance(text, str) and isinstance(signature, str)):
            raise ValueError(f"format {FORMAT!r} expected")
        content = _Content.model_validate_json(text)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ValueError(f"{path} is no file of votes: {str(error)[:200]}") from error
    if content.study != plan.study or not 0 <= content.rater < len(plan.raters):
        raise ValueError(f"{path} is of study {content.study!r}, expected {plan.study!r}")
    key = rater_key(read_secrets(folder), plan.study, content.rater)
    if not hmac.compare_digest(signature.encode(), signed(key, text).encode()):
        raise ValueError(f"{path} was altered or damaged: its signature does not fit")
    return content
