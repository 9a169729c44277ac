"""Where the base of an adapter is: how a model names it, and how it is found again.

Models are passed on, so what they say must hold elsewhere. A base from the hub is named by its id
and commit. A folder is named relative to the model's own folder, never from the root of the disk:
what the machine of whoever trained it is like is nobody's business. A run knows its base's full
path in its own config.json, so an adapter that still lies in its run always finds it.
"""

import json
import os
import re
from pathlib import Path

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_SNAPSHOT = re.compile(r"models--([^/]+?)--([^/]+)/snapshots/([0-9a-f]{40}|[^/]+)/?$")
_EMBEDDED = "embedded:"


def is_hub_id(name: str) -> bool:
    """True for owner/name."""
    return _HUB_ID.fullmatch(name) is not None


def portable(base: str, revision: str | None, folder: Path) -> tuple[str, str | None]:
    """(name, revision) of a base for a model in `folder`: a hub id, or a relative path."""
    if not base:
        return "", None
    if not Path(base).exists():
        return base, revision or cached_revision(base)
    full = Path(base).resolve()
    found = _SNAPSHOT.search(full.as_posix())
    if found:
        return f"{found[1]}/{found[2]}", found[3]
    if full.parent.name.startswith("embedded-"):
        return f"{_EMBEDDED}{full.name}", None
    here = folder.resolve()
    if os.path.commonpath([full, here]) == here.root:
        return full.name, None
    return Path(os.path.relpath(full, here)).as_posix(), None


def cached_revision(base: str, revision: str | None = None) -> str | None:
    """The commit of a hub model that is on this machine; None if there is none."""
    from huggingface_hub import try_to_load_from_cache

    if not is_hub_id(base):
        return None
    path = try_to_load_from_cache(base, "model_index.json", revision=revision or "main")
    return Path(path).parent.name if isinstance(path, str) else None


def located(base: str, folder: Path) -> str:
    """What a model in `folder` calls its base, as a path on this machine or a hub id.

    A path is tried relative to the model, then in the config.json of the run that it lies in, then
    as it is. What is not found is returned as it is.
    """
    if base.startswith(_EMBEDDED):
        from videojam.embedded.shipped import NAMES, embedded

        name = base.removeprefix(_EMBEDDED)
        return str(embedded(name)) if name in NAMES else base
    if not base:
        return base
    candidates = [folder / base, *_of_run(folder, base), Path(base)]
    for path in candidates:
        if path.is_dir():
            return str(path.resolve())
    return base


def _of_run(folder: Path, base: str) -> list[Path]:
    """The base that the run around an adapter was started with, if it has that name."""
    try:
        config = json.loads((folder.resolve().parent / "config.json").read_text())
        path = Path(config["data"]["base"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [path] if path.name == Path(base).name else []
