"""A model as its user names it -> a diffusers folder on this machine, and how its files are stored.

Names are folders, hub ids, or files and folders in the original layout of their authors, which
diffusers converts where it can (original.py). What is stored decides how it is loaded: files of one
variant alone (fp16) are found by their names, and every component keeps the type of its files.
"""

import importlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch

from videojam.joint.base import is_hub_id
from videojam.joint.info import INFO_FILE

INDEX_FILE = "model_index.json"
LORA_FILE = "pytorch_lora_weights.safetensors"
_HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "force_download", "proxies")
_WEIGHTS = re.compile(
    r"(?P<stem>diffusion_pytorch_model|model)(\.(?P<variant>[\w-]+?))?(-\d{5}-of-\d{5})?\.safetensors"
)
_TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


class Source(NamedTuple):
    """A diffusers folder or an adapter on this machine."""

    folder: Path
    variant: str | None
    "Of the file names, such as fp16; None for the plain ones."


def hub_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(those about finding and downloading, those about loading)."""
    hub = {key: options[key] for key in _HUB_OPTIONS if key in options}
    return hub, {key: value for key, value in options.items() if key not in hub}


def find_source(
    model: str | Path,
    *,
    subfolder: str | None = None,
    variant: str | None = None,
    absent: Collection[str] = (),
    **hub: Any,
) -> Source:
    """The folder of a model, downloaded if it is on the hub.

    absent: components that are not needed, so not downloaded. hub: revision, token, cache_dir, ...
    as diffusers takes them. Raises ValueError for a name that is neither a folder nor a model that
    the hub or its cache has.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        folder = path / subfolder if subfolder else path
        if not folder.is_dir():
            raise ValueError(f"{path} has no folder {subfolder}")
        names = [one.relative_to(folder).as_posix() for one in folder.glob("*/*")]
        return Source(folder, variant or only_variant(names, absent))
    if not is_hub_id(str(model)):
        raise ValueError(
            f"{model} is not a folder on this machine, nor the id of a model on the hub, which is "
            "owner/name"
        )
    return _from_hub(str(model), subfolder, variant, absent, hub)


def _from_hub(
    model: str, subfolder: str | None, variant: str | None, absent: Collection[str], hub: Any
) -> Source:
    from diffusers import DiffusionPipeline
    from huggingface_hub import list_repo_files, snapshot_download

    if isinstance(hub.get("token"), str) and not hub["token"]:
        del hub["token"]
    asked = {key: hub[key] for key in ("revision", "token") if key in hub}
    try:
        names: list[str] | None = None
        if not hub.get("local_files_only"):
            try:
                names = list_repo_files(model, **asked)
            except (OSError, ValueError):  # offline: what the cache has, or the error below
                names = None
        if names is None:  # the cache as it is, which may hold a part of the repository
            folder = _cached(model, subfolder, hub)
            return find_source(folder, subfolder=subfolder, variant=variant, absent=absent)
        if subfolder is not None or LORA_FILE in names:
            pattern = f"{subfolder}/*" if subfolder else None
            folder = Path(snapshot_download(model, allow_patterns=pattern, **hub))
            return find_source(folder, subfolder=subfolder, variant=variant, absent=absent)
        variant = variant or only_variant(names, absent)
        parts = {name: None for name in absent}
        kind = pipeline_class(DiffusionPipeline.load_config(model, **hub))
        folder = Path(kind.download(model, variant=variant, **hub, **parts))
        if INFO_FILE in names:
            snapshot_download(model, allow_patterns=INFO_FILE, **hub)
        return Source(folder, variant)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        revision = f" at revision {hub['revision']}" if hub.get("revision") else ""
        raise ValueError(
            f"{model}{revision} is neither a folder on this machine nor a model that the hub or "
            f"its cache here has ({reason}); check the name, the connection and, for gated "
            "models, the token"
        ) from error


def adapter_folder(model: str | Path) -> Path | None:
    """The folder of an adapter, of one on the hub with its videojam.json alone; None for others."""
    from huggingface_hub import hf_hub_download

    path = Path(model).expanduser()
    if path.is_dir() or not is_hub_id(str(model)):
        return path if (path / LORA_FILE).is_file() else None
    try:
        info = hf_hub_download(str(model), INFO_FILE)
    except (OSError, ValueError):  # not there, or not to be reached: whoever reads it says why
        return None
    try:
        hf_hub_download(str(model), INDEX_FILE)
    except (OSError, ValueError):
        return Path(info).parent
    return None


def pipeline_class(index: Any) -> Any:
    """The class that model_index.json names.

    Asked through it, and not through DiffusionPipeline, diffusers leaves out optional components
    that are given as None. Of our own classes (the paper's DiT) it asks that they were imported.
    """
    import diffusers

    for part in index.values():
        if isinstance(part, list | tuple) and str(part[0]).startswith("videojam.models."):
            importlib.import_module(part[0])
    name = index["_class_name"]
    known = isinstance(name, str) and hasattr(diffusers, name)
    return getattr(diffusers, name) if known else diffusers.DiffusionPipeline


def _cached(model: str, subfolder: str | None, hub: Mapping[str, Any]) -> Path:
    """The snapshot of a repository in the hub's cache. OSError if there is none."""
    from huggingface_hub import try_to_load_from_cache

    where = {key: hub[key] for key in ("cache_dir", "revision") if hub.get(key)}
    for name in (INDEX_FILE, INFO_FILE):
        parts = Path(subfolder or "") / name
        path = try_to_load_from_cache(model, parts.as_posix(), **where)
        if isinstance(path, str):
            return Path(path).parents[len(parts.parts) - 1]
    raise OSError("the hub cannot be reached, and its cache has no such model")


def only_variant(names: Iterable[str], absent: Collection[str] = ()) -> str | None:
    """The variant that has to be named, as components have no plain files; None if there is none.

    names: component/file of a folder or repository. ValueError if several would do.
    """
    variants: dict[str, set[str | None]] = {}
    for name in names:
        component, _, file = name.rpartition("/")
        match = _WEIGHTS.fullmatch(file)
        if match and component and component not in absent:
            variants.setdefault(component, set()).add(match["variant"])
    lacking = [found for found in variants.values() if None not in found]
    if not lacking:
        return None
    possible = {v for v in set.intersection(*lacking) if v is not None}
    if len(possible) != 1:
        raise ValueError(
            f"the model's files are those of variants {sorted(possible)}; name one: variant=..."
        )
    return possible.pop()


def stored_types(source: Source) -> dict[str, torch.dtype]:
    """Component -> the type that most of its numbers are stored in, read from the files' headers.

    Components without safetensors files are left out.
    """
    found: dict[str, torch.dtype] = {}
    for component in sorted(path for path in source.folder.iterdir() if path.is_dir()):
        counts: dict[str, int] = {}
        for file in _weight_files(component, source.variant):
            for tensor in _header(file).values():
                start, end = tensor["data_offsets"]
                counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + end - start
        known = {name: size for name, size in counts.items() if name in _TYPES}
        if known:
            found[component.name] = _TYPES[max(known, key=lambda name: known[name])]
    return found


def _weight_files(component: Path, variant: str | None) -> list[Path]:
    """Of the variant where there are such, else the plain ones."""
    files = {path: _WEIGHTS.fullmatch(path.name) for path in sorted(component.iterdir())}
    of_variant = [path for path, match in files.items() if match and match["variant"] == variant]
    return of_variant or [path for path, match in files.items() if match and not match["variant"]]


def _header(file: Path) -> dict[str, Any]:
    """Of a safetensors file: name -> dtype, shape, offsets. ValueError for a broken file."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > 100_000_000:
                raise ValueError("header too long")
            header = json.loads(opened.read(length))
        tensors = {name: value for name, value in header.items() if name != "__metadata__"}
        whole = 8 + length + max((one["data_offsets"][1] for one in tensors.values()), default=0)
        if file.stat().st_size < whole:
            raise ValueError(f"{file.stat().st_size} of {whole} bytes")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is no whole safetensors file ({error}); copy it again") from error
    return tensors


def same_component(a: str | Path, b: str | Path, name: str) -> bool:
    """True if two models on this machine hold the same component, judged by its files.

    Configs and headers in full, weights by the first and last 64 KiB of each file.
    """
    try:
        folders = [find_source(model, local_files_only=True).folder / name for model in (a, b)]
    except ValueError:
        return False
    if not all(folder.is_dir() for folder in folders):
        return False
    if folders[0].resolve() == folders[1].resolve():
        return True
    files = [
        sorted(p.name for p in folder.iterdir() if p.is_file() and p.suffix != ".md")
        for folder in folders
    ]
    return files[0] == files[1] and all(
        _ends(folders[0] / file) == _ends(folders[1] / file) for file in files[0]
    )


def _ends(file: Path) -> tuple[int, bytes, bytes]:
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(1 << 16)
        opened.seek(max(0, size - (1 << 16)))
        end = opened.read()
    if file.suffix == ".json":  # it names the folder that it was loaded from
        text = re.sub(rb'"_name_or_path": "[^"]*",?|"_diffusers_version": "[^"]*",?', b"", start)
        return 0, b"".join(text.split()), b""
    return size, start, end


def empty_transformer(model: str) -> Any:
    """The transformer of a folder or hub id with its config alone, no weights."""
    from accelerate import init_empty_weights
    from diffusers import DiffusionPipeline

    module, name = cast(Any, DiffusionPipeline.load_config(model))["transformer"]
    kind = getattr(importlib.import_module(module), name)
    with init_empty_weights():
        return kind.from_config(kind.load_config(model, subfolder="transformer"))
