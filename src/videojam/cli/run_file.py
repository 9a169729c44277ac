"""--config run.yaml: the options of a command from a file, read strictly.

The file's keys are the options' names, nested as the config classes are. Its values go in front
of the command line's, which therefore wins. An unknown key is an error that names the nearest
right one: a misspelt setting must not silently be its default.
"""

import dataclasses
import difflib
import typing
from pathlib import Path
from typing import Any, NamedTuple

from videojam.records.text_files import read_text

HELP = "--config FILE: options from a YAML file, as name: value lines; the command line wins."


class Setting(NamedTuple):
    """One option of a command. appends: given again for every value, like --prompt."""

    hint: Any
    appends: bool


def with_run_file(arguments: type, options: list[str]) -> list[str]:
    """`options` without --config FILE, and with the file's values as options in front.

    A text that begins with a dash is joined to its option, so that it is not taken for one.
    """
    options = _with_dashes_joined(arguments, options)
    path, others = _config_option(options)
    if path is None:
        return options
    import yaml

    try:
        content = yaml.safe_load(read_text(path))
    except ValueError as error:
        raise ValueError(f"--config {error}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected `name: value` lines")
    named = {_name(option) for option in others}
    return [
        token
        for name, tokens in _options(arguments, content, "", path)
        if name not in named
        for token in tokens
    ] + others


def _config_option(options: list[str]) -> tuple[Path | None, list[str]]:
    for at, option in enumerate(options):
        if option.startswith("--config="):
            return Path(option.removeprefix("--config=")), options[:at] + options[at + 1 :]
        if option == "--config":
            if at + 1 == len(options):
                raise ValueError("--config needs a file: --config run.yaml")
            return Path(options[at + 1]), options[:at] + options[at + 2 :]
    return None, options


def _with_dashes_joined(arguments: type, options: list[str]) -> list[str]:
    """--negative-prompt "-blurry" -> --negative-prompt=-blurry."""
    known = _flat(arguments, "")
    joined: list[str] = []
    for option in options:
        before = joined[-1] if joined else ""
        setting = (
            known.get(_name(before)) if before.startswith("--") and "=" not in before else None
        )
        is_value = option.startswith("-") and _name(option) not in {*known, "config", "-h", "help"}
        if setting is not None and is_value and _is_text(setting.hint):
            joined[-1] = f"{before}={option}"
        else:
            joined.append(option)
    return joined


def _options(
    arguments: type, content: dict[str, Any], prefix: str, path: Path
) -> list[tuple[str, list[str]]]:
    """(option name, its tokens) of every key that has a value."""
    known = _settings(arguments)
    found: list[tuple[str, list[str]]] = []
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"{path}: unknown setting {prefix + str(key)!r}; {hint}Known: {', '.join(known)}"
            )
        option = prefix + name.replace("_", "-")
        setting = known[name]
        if dataclasses.is_dataclass(setting.hint) and isinstance(value, dict):
            found += _options(typing.cast(type, setting.hint), value, f"{option}.", path)
        elif isinstance(value, dict):
            raise ValueError(f"{path}: {prefix + str(key)!r} holds names, expected a value")
        else:
            found.append((option, _tokens(option, setting, value)))
    return found


def _tokens(option: str, setting: Setting, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{option if value else _negated(option)}"]
    if setting.appends:
        return [f"--{option}={item}" for item in _leaves(value)]
    if isinstance(value, list):  # sizes: [[480, 832], [832, 480]] is --sizes 480 832 832 480
        return [f"--{option}", *map(str, _leaves(value))]
    text = str(value)
    return [f"--{option}={text}"] if text.startswith("-") else [f"--{option}", text]


def _leaves(value: Any) -> list[Any]:
    return (
        [leaf for item in value for leaf in _leaves(item)] if isinstance(value, list) else [value]
    )


def _flat(arguments: type, prefix: str) -> dict[str, Setting]:
    """Every option by its full name."""
    found: dict[str, Setting] = {}
    for name, setting in _settings(arguments).items():
        option = prefix + name.replace("_", "-")
        found[option] = setting
        if dataclasses.is_dataclass(setting.hint):
            found |= _flat(typing.cast(type, setting.hint), f"{option}.")
    return found


def _settings(arguments: type) -> dict[str, Setting]:
    """Name -> setting; a config class that tyro flattens is flat here too."""
    import tyro

    hints = typing.get_type_hints(arguments, include_extras=True)
    known: dict[str, Setting] = {}
    for field in dataclasses.fields(arguments):
        hint, *notes = (
            typing.get_args(hints[field.name])
            if _annotated(hints[field.name])
            else (hints[field.name],)
        )
        if any(getattr(note, "name", None) == "" for note in notes):
            known |= _settings(hint)
        else:
            appends = any(note == tyro.conf.UseAppendAction for note in notes)
            known[field.name] = Setting(hint, appends)
    return known


def _is_text(hint: Any) -> bool:
    return hint is str or any(_is_text(part) for part in typing.get_args(hint))


def _annotated(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Annotated


def _name(option: str) -> str:
    return option.partition("=")[0].removeprefix("--").replace("_", "-")


def _negated(option: str) -> str:
    prefix, dot, name = option.rpartition(".")
    return f"{prefix}{dot}no-{name}"
