"""Checkpoints in their authors' own layout: one .safetensors file, or a folder of them.

They hold the transformer under other names, and not the rest of a pipeline in a form that diffusers
reads. diffusers converts the transformer of the classes that it knows; the rest comes from the
repository in diffusers' form that belongs to it, or from a folder of that form.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from videojam.joint.info import INFO_FILE

_FORM = (
    "use the model's repository in diffusers' form, whose name mostly ends in -Diffusers or "
    "-diffusers: a folder with model_index.json"
)
_NOT_TRANSFORMER = ("vae", "t5", "text", "clip", "lora", "projections")


def is_original(model: str | Path) -> bool:
    """True for a file, or for a folder that is in no form of diffusers' or ours."""
    path = Path(model).expanduser()
    if path.is_file():
        return True
    known = ("model_index.json", INFO_FILE, "pytorch_lora_weights.safetensors")
    return (
        path.is_dir()
        and not any((path / name).is_file() for name in known)
        and any(file.is_file() for file in path.iterdir())
    )


def load_original(
    model: str | Path,
    dtype: Any = None,
    vae_dtype: Any = None,
    *,
    components: str | Path | None = None,
    absent: tuple[str, ...] = (),
    **options: Any,
) -> Any:
    """A pipeline with this checkpoint's transformer.

    components: folder or hub id, in diffusers' form, of everything else; default the one that
    diffusers knows for such weights. Raises ValueError, naming the right form, for what cannot be
    converted, or if the rest is not to be had.
    """
    import diffusers

    from videojam.joint.checkpoint import load_base

    path = Path(model).expanduser()
    state = _transformer_state(path)
    repository = str(components or _repository(path, state))
    try:
        pipe = load_base(repository, dtype, vae_dtype, absent=("transformer", *absent), **options)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{path} is a checkpoint in its authors' own layout, which holds the transformer "
            f"alone; the rest comes from {repository}, which is not to be had here ({error}). Say "
            f"where it is with components=..., or {_FORM}"
        ) from error
    folder = str(pipe.config["_name_or_path"])
    if "transformer" in absent:
        return pipe
    name = pipe.load_config(folder)["transformer"][1]
    kind = getattr(diffusers, name)
    if not hasattr(kind, "from_single_file"):
        raise ValueError(f"{path} holds a {name}, which diffusers cannot convert; {_FORM}")
    stored = max(
        (value.dtype for value in state.values()),
        key=lambda kind_: sum(v.numel() for v in state.values() if v.dtype == kind_),
    )
    wanted = dtype if isinstance(dtype, torch.dtype) else dict(dtype or {}).get("transformer")
    try:
        transformer = kind.from_single_file(
            state, config=folder, subfolder="transformer", dtype=wanted or stored
        )
    except (ValueError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"{path} does not convert to the {name} of {repository} ({error}); {_FORM}"
        ) from error
    if any(parameter.is_meta for parameter in transformer.parameters()):
        raise ValueError(f"{path} lacks weights of the {name} of {repository}; {_FORM}")
    pipe.register_modules(transformer=transformer)
    return pipe


def _transformer_state(path: Path) -> dict[str, torch.Tensor]:
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    files = [
        file
        for file in files
        if file == path or not any(word in file.name.lower() for word in _NOT_TRANSFORMER)
    ]
    if not files or any(file.suffix != ".safetensors" for file in files):
        what = f"a {path.suffix or 'nameless'} file" if path.is_file() else "no .safetensors files"
        raise ValueError(f"{path} is no diffusers folder, and has {what} that could be it; {_FORM}")
    state: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            state |= load_file(file)
        except Exception as error:  # safetensors' own error is no OSError
            raise ValueError(f"{file} is no whole safetensors file: {error}") from error
    return state


def _repository(path: Path, state: dict[str, torch.Tensor]) -> str:
    from diffusers.loaders import single_file_utils

    kind = single_file_utils.infer_diffusers_model_type(state)
    if kind == "v1":  # what diffusers says when it knows nothing
        raise ValueError(
            f"{path} is no diffusers folder, and its weights are of no model that diffusers "
            f"converts; {_FORM}"
        )
    return single_file_utils.DIFFUSERS_DEFAULT_PIPELINE_PATHS[kind]["pretrained_model_name_or_path"]
