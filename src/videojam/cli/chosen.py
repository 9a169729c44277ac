"""Commands that have commands of their own: which one the first word names."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Chosen(NamedTuple):
    """One of them, found on the command line."""

    name: str
    config: type
    run: Callable[[Any], Any]
    options: list[str]
    "What is left of the command line."


def pick(
    options: list[str], about: Mapping[str, str], command: str, kind: str, note: str
) -> tuple[str, list[str]]:
    """The name that the first word is, and the rest.

    about: name -> what it does, a line each. kind: what the names are called, in messages. note:
    printed under the list. Prints the list and exits without a word, or for --help. ValueError
    for another word, with the nearest name.
    """
    if not options or options[0] in ("-h", "--help"):
        width = max(map(len, about)) + 1
        lines = (f"  {name:<{width}} {what}" for name, what in about.items())
        print(f"usage: videojam {command} {kind.upper()} [options]\n\n" + "\n".join(lines))
        print(f"\n`videojam {command} {kind.upper()} --help` lists the options{note}")
        raise SystemExit(0 if options else 2)
    name, *rest = options
    if name not in about:
        near = difflib.get_close_matches(name, about, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"no {kind} {name!r}{hint}; there are {', '.join(about)}")
    return name, rest
