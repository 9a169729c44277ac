"""The output folder of a preparation: one configuration for all rows."""

import dataclasses
import importlib.metadata
import json
from typing import Any

import safetensors.torch

from videojam.joint.text import Text
from videojam.records.atomic import write_bytes, write_text
from videojam.records.object_store import Location
from videojam.records.settings import differences

FORMAT = 2  # 1 had texts and latents in one table
_PACKAGES = ("videojam", "torch", "av", "opencv-python-headless", "pylance", "diffusers")


def settle_config(
    output: Location,
    config: dict[str, Any],
    name: str = "dataset.json",
    *,
    grows: dict[str, Any] | None = None,
    defaults: dict[str, Any] | None = None,
    protected: bool = True,
) -> None:
    """Write this file, or check that the one there was made with the same configuration.

    config: JSON values of everything that decides what is in a row. grows: what decides which rows
    there are, and may change; sizes are collected, the first ones first. defaults: of `config`,
    for a folder begun before one of its fields was there. protected: False while
    there are no rows, when any configuration may be replaced.
    Raises ValueError that names each differing field with both values.
    """
    path = output / name
    config = json.loads(json.dumps(config, default=str))
    growing: dict[str, Any] = json.loads(json.dumps(grows or {}, default=str))
    if path.exists() and protected:
        before = _read(path)
        fixed = {key: value for key, value in before.items() if key not in growing}
        differ = differences(fixed, config, defaults)
        if differ:
            raise ValueError(
                f"{output} was prepared with another configuration ({'; '.join(differ)}); "
                "use the same values to go on, or another output folder"
            )
        if "sizes" in growing:
            old = before.get("sizes", [])
            growing["sizes"] = old + [size for size in growing["sizes"] if size not in old]
        if all(before.get(key) == value for key, value in growing.items()):
            return
    config = config | growing
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    write_text(
        path, json.dumps({"format": FORMAT, "config": config, "versions": versions}, indent=1)
    )


def read_settings(output: Location) -> dict[str, Any]:
    """What a dataset was prepared with. Raises ValueError if the folder holds none."""
    path = output / "dataset.json"
    if not path.is_file():
        raise ValueError(f"{output} is not a prepared dataset; make one with `videojam prepare`")
    return _read(path)


def _read(path: Location) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
        found, config = content["format"], content["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}; prepare into a new output folder") from error
    if found != FORMAT:
        raise ValueError(
            f"{path.parent} was prepared by another version of videojam (format {found}, this is "
            f"{FORMAT}); prepare into a new output folder"
        )
    return config


def save_null_text(output: Location, text: Text) -> None:
    """What the empty caption becomes, for text dropout and guidance. Written once."""
    path = output / "null_text.safetensors"
    if not path.exists():
        write_bytes(path, safetensors.torch.save({k: v.contiguous() for k, v in text.items()}))


def load_null_text(output: Location) -> Text:
    """What the empty caption becomes for the transformer."""
    return safetensors.torch.load((output / "null_text.safetensors").read_bytes())


def describe(part: object) -> str:
    """A name for an estimator that is the same in the next run: no memory addresses."""
    if dataclasses.is_dataclass(part):
        return repr(part)
    name = getattr(part, "__qualname__", type(part).__qualname__)
    return f"{getattr(part, '__module__', type(part).__module__)}.{name}"
