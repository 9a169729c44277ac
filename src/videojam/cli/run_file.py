"""--config run.yaml: the options of a command from a file, read strictly.

The file's keys are the options' names, nested as the config classes are. Its values go in front
of the command line's, which therefore wins. An unknown key is an error that names the nearest
right one: a misspelt setting must not silently be its default.
"""

import dataclasses
import difflib
import typing
from pathlib import Path
from typing import Any


def with_run_file(arguments: type, options: list[str]) -> list[str]:
    """`options` without --config FILE, and with the file's values as options in front."""
    if "--config" not in options:
        return options
    import yaml

    at = options.index("--config")
    if at + 1 == len(options):
        raise ValueError("--config needs a file: --config run.yaml")
    path = Path(options[at + 1])
    if not path.is_file():
        raise ValueError(f"--config {path} does not exist")
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected `name: value` lines")
    other_options = options[:at] + options[at + 2 :]
    named = {option.partition("=")[0].replace("_", "-") for option in other_options}
    return [
        token
        for name, tokens in _options(arguments, content, "", path)
        if f"--{name}" not in named
        for token in (f"--{name}", *tokens)
    ] + other_options


def _options(
    arguments: type, content: dict[str, Any], prefix: str, path: Path
) -> list[tuple[str, list[str]]]:
    """(option name, its values) of every key; the switch of a boolean carries its value."""
    known = _settings(arguments)
    found: list[tuple[str, list[str]]] = []
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise ValueError(
                f"{path}: unknown setting {prefix + str(key)!r}; did you mean {near[0]!r}? "
                f"Known: {', '.join(known)}"
            )
        option = prefix + name.replace("_", "-")
        if dataclasses.is_dataclass(known[name]) and isinstance(value, dict):
            found += _options(typing.cast(type, known[name]), value, f"{option}.", path)
        elif isinstance(value, bool):
            found.append((option if value else _negated(option), []))
        elif isinstance(value, list):
            found.append((option, [str(item) for item in value]))
        else:
            found.append((option, [str(value)]))
    return found


def _settings(arguments: type) -> dict[str, Any]:
    """Name -> type of every setting; a config class that tyro flattens is flat here too."""
    hints = typing.get_type_hints(arguments, include_extras=True)
    known: dict[str, Any] = {}
    for field in dataclasses.fields(arguments):
        hint, *notes = (
            typing.get_args(hints[field.name])
            if _annotated(hints[field.name])
            else (hints[field.name],)
        )
        if any(getattr(note, "name", None) == "" for note in notes):
            known |= _settings(hint)
        else:
            known[field.name] = hint
    return known


def _annotated(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Annotated


def _negated(option: str) -> str:
    prefix, dot, name = option.rpartition(".")
    return f"{prefix}{dot}no-{name}"
