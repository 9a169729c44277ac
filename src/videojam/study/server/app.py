"""The study's interface: what a rater and the owner may ask, and nothing else.

A rater's requests carry a link, the owner's the password, both in the Authorization header. Nothing
of a request becomes part of a path: a film is looked up among those of the rater's trials.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.middleware.trustedhost import TrustedHostMiddleware

from videojam.study.links import (
    OPEN,
    Link,
    Secrets,
    is_admin,
    read_secrets,
    read_token,
    token,
)
from videojam.study.plan import FILMS, Plan, read_plan
from videojam.study.preregistration import preregistration_hash
from videojam.study.server.guards import BoundedBody, RateLimit, SecurityHeaders
from videojam.study.server.live import live_counts, planned_end
from videojam.study.serverless import SCRIPTS
from videojam.study.store import Store, Vote
from videojam.study.trials import check_answers, page_study, page_trials
from videojam.study.vote_format import VoteIn

PAGES = {
    "/": ("study.html", "text/html"),
    "/admin": ("admin.html", "text/html"),
    "/study.css": ("study.css", "text/css"),
    "/admin.js": ("admin.js", "text/javascript"),
    **{f"/{name}": (name, "text/javascript") for name in SCRIPTS},
}
_LOOK_EVERY = 20  # votes between two looks at the stopping rule


class PauseIn(BaseModel):
    """What the owner asks for."""

    model_config = ConfigDict(extra="forbid", strict=True)
    paused: bool


class Refused(BaseModel):
    """Why a request was refused."""

    detail: str | list[str]


_REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Refused} for code in (400, 408, 413, 422, 429)
}


def make_app(folder: Path, hosts: list[str] | None = None, rate: float = 20.0) -> FastAPI:
    """The application of a study folder. hosts: names under which it answers; None for any.

    Raises ValueError if plan or pre-registration are not those under which votes were given.
    """
    plan, secret, store = read_plan(folder), read_secrets(folder), Store(folder)
    store.pin(preregistration_hash(folder))

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        store.close()

    app = FastAPI(
        lifespan=life, responses=_REFUSALS, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.add_exception_handler(RequestValidationError, _not_as_expected)
    _add_pages(app)
    _add_rater(app, folder / FILMS, plan, secret, store)
    _add_admin(app, plan, secret, store)
    # The last one added stands first: headers are on refusals too.
    app.add_middleware(BoundedBody)
    app.add_middleware(RateLimit, rate=rate, burst=round(6 * rate))
    if hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.add_middleware(SecurityHeaders)
    return app


def _not_as_expected(request: Any, error: Any) -> JSONResponse:
    """What is wrong, without repeating the input, which may be no text at all."""
    where = [".".join(ascii(part)[:40] for part in each["loc"]) for each in error.errors()[:5]]
    return JSONResponse({"detail": [f"not as expected: {place}" for place in where]}, 422)


def _add_pages(app: FastAPI) -> None:
    folder = files("videojam.study") / "page"

    def serve(name: str, kind: str) -> Callable[[], Response]:
        content = (folder / name).read_bytes()
        return lambda: Response(content, media_type=kind)

    for path, (name, kind) in PAGES.items():
        app.get(path, include_in_schema=False)(serve(name, kind))


def _bearer(authorization: Annotated[str, Header()] = "") -> str:
    return authorization.removeprefix("Bearer ")


def _add_rater(app: FastAPI, films: Path, plan: Plan, secret: Secrets, store: Store) -> None:
    looked = [0]  # votes at the last look at the stopping rule

    def link_of(text: Annotated[str, Depends(_bearer)]) -> Link:
        link = read_token(secret, text, plan.study)
        if link is None:
            raise HTTPException(401, "this link is not valid, or no longer; ask for a new one")
        return link

    def rater_of(link: Annotated[Link, Depends(link_of)]) -> Link:
        if not 0 <= link.rater < len(plan.raters):
            raise HTTPException(403, "this link makes raters; join with it first")
        return link

    def consented(link: Annotated[Link, Depends(rater_of)]) -> Link:
        rater = store.rater(link.rater)
        if rater is None or rater.consented is None:
            raise HTTPException(403, "no answers before consent")
        return link

    @app.post("/api/join", responses={401: {}, 409: {}})
    def join(link: Annotated[Link, Depends(link_of)]) -> dict[str, Any]:
        """A link of one's own for an open link; for an invitation, itself."""
        if link.rater == OPEN:
            if store.state != "open":
                raise HTTPException(409, f"the study is {store.state}")
            rater = store.join_next(len(plan.raters), "open")
            if rater is None:
                raise HTTPException(409, "all places are taken; thank you")
            link = link._replace(rater=rater)
        else:
            rater_of(link)
            store.join(link.rater, "invited")
        return {"link": token(secret, link)}

    @app.get("/api/study", responses={401: {}, 403: {}})
    def study(link: Annotated[Link, Depends(rater_of)]) -> dict[str, Any]:
        """The study, the rater's trials, and which of them are answered."""
        rater = store.rater(link.rater)
        return {
            **page_study(plan),
            "rater": link.rater,
            "state": store.state,
            "consented": bool(rater and rater.consented),
            "trials": page_trials(plan, link.rater, link.trials),
            "done": store.done(link.rater),
        }

    @app.post("/api/consent", responses={401: {}, 403: {}})
    def consent(link: Annotated[Link, Depends(rater_of)]) -> dict[str, bool]:
        """The rater agrees to take part."""
        store.join(link.rater, "invited")
        store.consent(link.rater)
        return {"consented": True}

    @app.post("/api/votes", responses={401: {}, 403: {}, 409: {}})
    def vote(
        given: VoteIn, link: Annotated[Link, Depends(consented)], later: BackgroundTasks
    ) -> dict[str, Any]:
        """Keep a vote. The answer is sent after it is on disk; the same vote again is harmless."""
        if given.trial >= min(link.trials, len(plan.raters[link.rater])):
            raise HTTPException(403, "this link does not go so far")
        try:
            check_answers(plan, given.answers)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        kept = store.add(Vote(link.rater, given.trial, given.answers, given.seconds))
        if kept.answers != given.answers:
            raise HTTPException(409, "this trial has an answer already, which stays")
        if store.num_votes() - looked[0] >= _LOOK_EVERY:
            looked[0] = store.num_votes()
            later.add_task(_look, plan, store)
        return {"trial": given.trial, "state": store.state}

    @app.get("/films/{name}", responses={401: {}, 403: {}, 404: {}})
    def film(name: str, link: Annotated[Link, Depends(rater_of)]) -> FileResponse:
        """A film of one of the rater's trials; ranges of bytes too."""
        mine = {plan.films[trial.film].name for trial in plan.raters[link.rater][: link.trials]}
        if name not in mine:
            raise HTTPException(404, "no such film")
        headers = {"cache-control": "private, max-age=86400"}
        return FileResponse(films / f"{name}.mp4", media_type="video/mp4", headers=headers)


def _add_admin(app: FastAPI, plan: Plan, secret: Secrets, store: Store) -> None:
    async def owner(text: Annotated[str, Depends(_bearer)]) -> None:
        if not is_admin(secret, text):
            await asyncio.sleep(0.2)  # guessing takes time
            raise HTTPException(401, "not the owner's password")

    @app.get("/api/admin", dependencies=[Depends(owner)], responses={401: {}})
    def status() -> dict[str, Any]:
        """Live counts and intervals."""
        return live_counts(plan, store)

    @app.post("/api/admin/pause", dependencies=[Depends(owner)], responses={401: {}, 409: {}})
    def pause(asked: PauseIn) -> dict[str, str]:
        """Pause or go on: no new rater joins and pages wait; votes that come are kept."""
        if not store.set_paused(asked.paused):
            raise HTTPException(409, "the study has ended")
        return {"state": store.state}


def _look(plan: Plan, store: Store) -> None:
    """End the study if it is time; after the answer was sent."""
    why = None if store.state == "finished" else planned_end(plan, store)
    if why:
        store.finish(why)
