"""videojam study new | serve | invite | export | report: people decide."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from videojam.cli.chosen import Chosen, pick
from videojam.media.clip_sets import systems_of
from videojam.study.new import Design, new_study


@dataclass(frozen=True, kw_only=True, slots=True)
class NewArgs:
    """Make a study of two systems or more. Example:

        videojam study new --out runs/study --systems base=runs/base joint=runs/joint
        videojam study new --out runs/study --compared runs/compare

    A system is a folder of clips, as `videojam generate` writes it, or with a clips.jsonl, or with
    files named after their prompts. The same command again goes on where it was stopped.
    """

    out: Path
    "The study's folder."
    systems: tuple[str, ...] = ()
    "NAME=FOLDER of each; with --compared, names alone, of those to take."
    compared: Path | None = None
    "A finished comparison (`videojam evaluate compare`): its systems, all in one form."
    design: Annotated[Design, tyro.conf.arg(name="")] = Design()


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeArgs:
    """Serve the study until it is stopped; on this machine alone unless --host says otherwise."""

    out: Path
    "The study's folder."
    host: str = "127.0.0.1"
    "0.0.0.0 for every interface; put a proxy with TLS before it on an open network."
    port: int = 8000


@dataclass(frozen=True, kw_only=True, slots=True)
class InviteArgs:
    """Print links for raters, or one open link that makes raters."""

    out: Path
    "The study's folder."
    address: str = "http://127.0.0.1:8000"
    "Of the page, as raters reach it."
    raters: int | None = None
    "So many links, of the first places; one open link without."
    first: int = 0
    "The first place."
    days: float = 30.0
    "How long the links are valid."
    trials: int | None = None
    "How many trials a link allows; all without."


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportArgs:
    """Write pages that need no server, one folder per rater."""

    out: Path
    "The study's folder."
    to: Path
    "Where the folders go."
    raters: int
    "So many, of the first places."
    first: int = 0
    "The first place."
    one_file: bool = False
    "Put the films into the page: one file to send, a third larger."


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportArgs:
    """What raters said: results.json, tables.md, votes.csv and report.html in OUT/report."""

    out: Path
    "The study's folder."
    files: tuple[Path, ...] = ()
    "Files of votes that raters sent back, added first."


def new(args: NewArgs) -> None:
    """Make it, and say what to do next."""
    systems = _systems(args)
    plan = new_study(args.out, systems, args.design)
    pairs = sum(film.first in systems for film in plan.films)
    print(
        f"{pairs} pairs, {plan.planned_votes} votes, up to {len(plan.raters)} raters of "
        f"{len(plan.raters[0])} trials. Read {args.out / 'PREREGISTRATION.md'}, then:\n"
        f"  videojam study serve --out {args.out}\n"
        f"  videojam study invite --out {args.out} --raters {len(plan.raters)}"
    )


def _systems(args: NewArgs) -> dict[str, Path]:
    """Name -> folder. ValueError for a text of another form, or a name that was not compared."""
    if args.compared is not None:
        found = systems_of(args.compared)
        unknown = [name for name in args.systems if name not in found]
        if unknown:
            raise ValueError(
                f"systems has {unknown[0]!r}, expected some of those that were compared: "
                f"{', '.join(found)}"
            )
        return {name: found[name] for name in args.systems or found}
    systems: dict[str, Path] = {}
    for text in args.systems:
        name, separator, folder = text.partition("=")
        if not (name and separator and folder) or name in systems:
            raise ValueError(f"systems has {text!r}, expected NAME=FOLDER, each name once")
        systems[name] = Path(folder)
    return systems


def serve(args: ServeArgs) -> None:
    """Say where, and serve."""
    from videojam.study.links import SECRET_FILE
    from videojam.study.server.serve import serve as run

    shown = f"[{args.host}]" if ":" in args.host else args.host
    print(
        f"the study is at http://{shown}:{args.port}/, for those with a link (videojam study "
        f"invite); live counts at /admin, with the password in {args.out / SECRET_FILE}",
        flush=True,
    )
    run(args.out, args.host, args.port)


def invite(args: InviteArgs) -> None:
    """Print the links."""
    from videojam.study.invite import invitations

    raters = None if args.raters is None else range(args.first, args.first + args.raters)
    for link in invitations(args.out, args.address, raters, args.days, args.trials):
        print(link)


def export(args: ExportArgs) -> None:
    """Write the pages."""
    from videojam.study.serverless import export as write

    pages = write(args.out, args.to, range(args.first, args.first + args.raters), args.one_file)
    print(f"{len(pages)} pages in {args.to}; send each folder to one rater")


def report(args: ReportArgs) -> None:
    """Add files, write the report, print its conclusion."""
    from videojam.study.analysis.report import write_report
    from videojam.study.preregistration import preregistration_hash
    from videojam.study.serverless import add_file
    from videojam.study.store import Store

    if args.files:
        digest = preregistration_hash(args.out)
        store = Store(args.out)
        try:
            store.pin(digest)
            for path in args.files:
                print(f"{path}: {add_file(args.out, store, path)} votes")
        finally:
            store.close()
    found = write_report(args.out, args.out / "report")
    print(f"{found['conclusion']} See {args.out / 'report' / 'report.html'}")


ACTIONS: dict[str, tuple[type, Callable[[Any], None], str]] = {
    "new": (NewArgs, new, "pairs of clips, plan and pre-registration from folders of clips"),
    "serve": (ServeArgs, serve, "the page for raters, and one for the owner"),
    "invite": (InviteArgs, invite, "links for raters"),
    "export": (ExportArgs, export, "pages that need no server"),
    "report": (ReportArgs, report, "what raters said, and how sure that is"),
}


def choose(options: list[str]) -> Chosen:
    """The action that the first word names."""
    about = {name: what for name, (_, _, what) in ACTIONS.items()}
    name, rest = pick(options, about, "study", "action", ". Needs the `study` extra.")
    config, run, _ = ACTIONS[name]
    return Chosen(name, config, run, rest)
