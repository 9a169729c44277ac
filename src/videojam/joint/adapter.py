"""An adapter: what LoRA training adds to a base, in files that stock diffusers reads.

    pytorch_lora_weights.safetensors   LoRA, as pipe.load_lora_weights(folder) takes it: names begin
                                       with the component, transformer or transformer_2
    projections.safetensors            the widened projections, in full
    base.safetensors                   a few values of every weight of the base (fingerprint.py)
    videojam.json                      what the motion half means, and which base it is

Adapters of earlier versions, without component names, load too.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from videojam.joint.find_family import family_of
from videojam.joint.fingerprint import Samples, base_samples, fingerprint_of, first_difference
from videojam.joint.info import JointInfo, write_info
from videojam.joint.lora import ADAPTER, keep_adapter
from videojam.joint.source import LORA_FILE
from videojam.joint.widen import is_widened, projection_names, widen
from videojam.records.atomic import replacing

PROJECTIONS_FILE = "projections.safetensors"
BASE_FILE = "base.safetensors"
_METADATA = "lora_adapter_metadata"  # where diffusers keeps ranks and alphas


def transformers(pipe: Any) -> dict[str, Any]:
    """The pipeline's transformers by name: Wan 2.2 A14B has two."""
    both = {name: getattr(pipe, name, None) for name in ("transformer", "transformer_2")}
    return {name: transformer for name, transformer in both.items() if transformer is not None}


def save_adapter(
    pipe: Any,
    folder: Path,
    info: JointInfo,
    dtype: torch.dtype | None = None,
    samples: Mapping[str, Samples] | None = None,
) -> None:
    """LoRA (alpha included), projections and fingerprint of the pipeline's joint transformers.

    dtype: to store in, default as they are. samples: of the base by component
    (fingerprint.py), where the pipeline's are not its values any more. Raises ValueError, before
    anything is written, for a transformer that is not joint, or has no LoRA of its own any more (it
    was fused).
    """
    parts = transformers(pipe)
    names = {part: _own_adapter(transformer, part) for part, transformer in parts.items()}
    lora, projections, prints, metadata = {}, {}, {}, {}
    for part, transformer in parts.items():
        found, settings = _lora_of(transformer, names[part])
        lora |= _prefixed(part, found)
        metadata |= _prefixed(part, settings)
        projections |= _prefixed(part, _projections_of(transformer))
        prints |= _prefixed(part, (samples or {}).get(part) or base_samples(transformer))
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / LORA_FILE, lora, dtype, {_METADATA: json.dumps(metadata, sort_keys=True)})
    _save(folder / PROJECTIONS_FILE, projections, dtype)
    _save(folder / BASE_FILE, prints)
    write_info(folder, replace(info, base_fingerprint=fingerprint_of(prints)))


def _own_adapter(transformer: Any, part: str) -> str:
    """PEFT's name of the LoRA that training made, or that was loaded."""
    if not is_widened(transformer):
        raise ValueError(f"the pipeline's {part} is not joint; widen() it before saving")
    names = [*getattr(transformer, "peft_config", {})]
    if ADAPTER in names:
        return ADAPTER
    if len(names) == 1:
        return names[0]
    raise ValueError(
        f"the {part} has {len(names)} LoRAs ({', '.join(names) or 'it is fused, or never had'}"
        f"{'' if names else ' one'}), none of them named {ADAPTER!r}: there is no adapter to save. "
        "Load the adapter with fuse=False, or save the whole model as a folder"
    )


def _lora_of(transformer: Any, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from peft.utils import get_peft_model_state_dict

    state = get_peft_model_state_dict(transformer, adapter_name=name)
    return state, transformer.peft_config[name].to_dict()


def _projections_of(transformer: Any) -> dict[str, Tensor]:
    return {
        f"{name}.{key.removeprefix('base_layer.')}": value
        for name in projection_names(family_of(transformer))
        for key, value in transformer.get_submodule(name).state_dict().items()
        if "lora_" not in key
    }


def _prefixed(part: str, values: Mapping[str, Any]) -> dict[str, Any]:
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in values.items()}
    return {f"{part}.{key}": value for key, value in plain.items()}


def _save(
    path: Path,
    state: Mapping[str, Tensor],
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """As a whole or not at all."""
    stored = {key: value.detach().cpu().to(dtype or value.dtype) for key, value in state.items()}
    with replacing(path) as part:
        save_file(
            {key: value.contiguous() for key, value in stored.items()},
            part,
            metadata={"format": "pt", **(metadata or {})},
        )


def put_in(
    transformer: Any, part: str, folder: Path, latent_channels: int, scale: float, fuse: bool
) -> Any:
    """The joint transformer of an adapter's component `part`, from that of its base."""
    check_base({part: transformer}, folder)
    joint = transformer  # of an adapter that was trained on from a joint model
    if not is_widened(transformer, latent_channels=latent_channels):
        joint = widen(transformer, latent_channels=latent_channels)
    load_projections(joint, folder, part)
    _load_lora(joint, folder, part, scale)
    if fuse:
        joint.fuse_lora(adapter_names=[ADAPTER])
        joint.unload_lora()
    else:
        keep_adapter(joint)
    return joint


def check_base(bases: Mapping[str, Any], folder: Path) -> None:
    """ValueError if these transformers by name are not those that the adapter was trained on.

    Adapters of earlier versions do not say, and pass.
    """
    if not (folder / BASE_FILE).is_file():
        return
    everything = _load(folder / BASE_FILE)[0]
    for part, base in bases.items():
        kept = _of_part(everything, part)
        found = base_samples(base)
        name = first_difference(kept, found)
        if name is not None:
            there, here = (fingerprint_of(_prefixed(part, one)) for one in (kept, found))
            raise ValueError(
                f"the adapter in {folder} was trained on another base: {part} has the fingerprint "
                f"{here}, expected {there}, and differs first in {name}; say where the right one "
                "is with base=... (--base-model)"
            )


def load_projections(transformer: Any, folder: Path, part: str = "transformer") -> None:
    """Copy an adapter's projections in. ValueError if names or shapes are another model's."""
    state = transformer.state_dict()
    with torch.no_grad():
        for name, value in _read(folder, PROJECTIONS_FILE, part)[0].items():
            if name not in state or state[name].shape != value.shape:
                shape = tuple(state[name].shape) if name in state else "nothing of this name"
                raise ValueError(
                    f"{folder} has {name} of shape {tuple(value.shape)}, but the model has "
                    f"{shape}; the adapter was trained on another base"
                )
            state[name].copy_(value)


def _load_lora(transformer: Any, folder: Path, part: str, scale: float) -> None:
    from diffusers.utils.peft_utils import set_weights_and_activate_adapters

    state, metadata = _read(folder, LORA_FILE, part)
    own = getattr(transformer, "load_lora_adapter", None)
    if own is None:
        raise ValueError(f"diffusers has no LoRA for {type(transformer).__name__}")
    try:
        own(state, prefix=None, adapter_name=ADAPTER, metadata=metadata)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"the LoRA in {folder} does not fit; the adapter was trained on another base: {error}"
        ) from error
    set_weights_and_activate_adapters(transformer, [ADAPTER], [scale])


def _read(folder: Path, file: str, part: str) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """(tensors, LoRA settings) of a component, without its name in front."""
    own = folder / part / file  # earlier versions: a folder for the second transformer
    path = own if part != "transformer" and own.is_file() else folder / file
    if not path.is_file():
        raise ValueError(f"{folder} has no {file}; an adapter has it beside its other files")
    state, header = _load(path)
    metadata = json.loads(header.get(_METADATA, "null"))
    if any(key.startswith(("transformer.", "transformer_2.")) for key in state):
        return _of_part(state, part), metadata and _of_part(metadata, part)
    return state, metadata


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata). ValueError for a file that is cut off or something else."""
    try:
        with safe_open(path, "pt") as opened:
            return load_file(path), opened.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file ({error}); copy it again") from error


def _of_part(values: Mapping[str, Any], part: str) -> dict[str, Any]:
    return {
        key.removeprefix(f"{part}."): value
        for key, value in values.items()
        if key.startswith(f"{part}.")
    }
