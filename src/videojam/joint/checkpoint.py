"""Saving and loading joint models.

Two forms. A *folder* is a stock diffusers folder whose transformer has doubled channels; stock
pipelines load it. An *adapter* (adapter.py) is what LoRA training adds to a base. Both carry
`videojam.json` (info.py).

Weights load in the type they are stored in, component by component, but for the VAE: no motion is
black, where one step of bfloat16 is a quarter of a pixel of flow, so the VAE computes in float32.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from videojam.joint.adapter import load_projections, put_in, save_adapter, transformers
from videojam.joint.family import ModelFamily
from videojam.joint.find_family import family_of
from videojam.joint.info import INFO_FILE, JointInfo, read_info, write_info
from videojam.joint.latents import latent_channels
from videojam.joint.lora import take_base_loras
from videojam.joint.not_driven import NOT_DRIVEN
from videojam.joint.original import is_original, load_original
from videojam.joint.source import (
    LORA_FILE,
    Source,
    empty_transformer,
    find_source,
    hub_options,
    pipeline_class,
    stored_types,
)
from videojam.joint.widen import is_widened

__all__ = [
    "INFO_FILE", "LORA_FILE", "JointInfo", "check_runs", "load_base", "load_encoders",
    "load_pipeline", "load_projections", "read_info", "save_adapter", "save_folder",
    "transformers", "write_info",
]  # fmt: skip

_STORED = "_videojam_stored_dtype"
Dtype = torch.dtype | Mapping[str, torch.dtype] | None
"Of all components but the VAE, or by component; None: as stored."
VaeDtype = torch.dtype | Literal["stored"] | None
"None: float32, unless the components' types name the VAE's."


def save_folder(pipe: Any, folder: Path, info: JointInfo, **options: Any) -> None:
    """The pipeline as a stock diffusers folder; options: of its save_pretrained.

    Raises ValueError, before anything is written, if a transformer is not joint, or has a LoRA on:
    diffusers would write a folder that nothing loads.
    """
    for name, transformer in transformers(pipe).items():
        if not is_widened(transformer, latent_channels=latent_channels(pipe.vae)):
            raise ValueError(f"the pipeline's {name} is not joint; widen() it before saving")
        loras = [*getattr(transformer, "peft_config", {})]
        if loras:
            raise ValueError(
                f"{name} has LoRA adapters ({', '.join(loras)}), which a folder cannot hold; fuse "
                "them first: pipe.fuse_lora(), then pipe.unload_lora_weights(), or load the "
                "adapter with fuse=True"
            )
        if any(parameter.is_meta for parameter in transformer.parameters()):
            raise ValueError(
                f"{name} is offloaded, so that its weights are not there to be saved; load the "
                "model without offloading"
            )
    save_components(pipe, folder, **options)
    write_info(folder, info)


def save_components(pipe: Any, folder: Path, **options: Any) -> None:
    """pipe.save_pretrained; a VAE that was loaded as float32 alone is stored as it was."""
    vae = pipe.vae
    stored, loaded = getattr(vae, _STORED, vae.dtype), vae.dtype
    vae.to(stored)
    try:
        pipe.save_pretrained(folder, **options)
    finally:
        vae.to(loaded)


def load_encoders(
    model: str, dtype: Dtype = None, vae_dtype: VaeDtype = None, **options: Any
) -> tuple[Any, Any]:
    """A pipeline without its transformers, and the first transformer on the meta device.

    What preparing data needs: VAE, text encoders and configs; transformers stay on the disk.
    Raises ValueError for a model of no known family, and one whose pipeline cannot be driven.
    """
    absent = ("transformer", "transformer_2")
    pipe = load_base(model, dtype, vae_dtype, absent=absent, **options)
    transformer = empty_transformer(str(pipe.config["_name_or_path"]))
    check_runs(type(pipe).__name__, family_of(transformer))
    return pipe, transformer


def check_runs(pipeline: str, family: ModelFamily) -> None:
    """ValueError unless prepare, train and generate know this pipeline class."""
    if pipeline in NOT_DRIVEN:
        raise ValueError(f"{pipeline} cannot be run here: {NOT_DRIVEN[pipeline]}")
    if pipeline not in family.pipelines:
        known = " or ".join(family.pipelines) or "no pipeline"
        raise ValueError(
            f"{pipeline} of {family.transformer} cannot be run here, expected {known}"
            + (f": {family.limits}" if family.limits else "; load the text-to-video pipeline")
        )


def load_base(
    model: str | Path,
    dtype: Dtype = None,
    vae_dtype: VaeDtype = None,
    *,
    absent: tuple[str, ...] = (),
    **options: Any,
) -> Any:
    """The stock pipeline of a folder, a hub id, or a checkpoint in its authors' own layout.

    An adapter is loaded as a joint model, to be trained on.

    dtype: default as stored; vae_dtype: default float32. absent: components to leave out. options:
    revision, variant, subfolder, token, device_map, quantization_config and whatever else
    DiffusionPipeline.from_pretrained takes, components included. Raises ValueError for a name that
    is no model.
    """
    dtype = options.pop("torch_dtype", dtype)  # diffusers' older name
    if is_original(model):
        return load_original(model, dtype, vae_dtype, absent=absent, **options)
    hub, further = hub_options(options)
    subfolder, variant = further.pop("subfolder", None), further.pop("variant", None)
    given = {name for name, value in further.items() if name in ("vae", "text_encoder")}
    source = find_source(
        model, subfolder=subfolder, variant=variant, absent=(*absent, *given), **hub
    )
    if (source.folder / LORA_FILE).is_file() and not absent:
        return load_pipeline(source.folder, dtype, vae_dtype=vae_dtype, **further)[0]
    return _pipeline(source, dtype, vae_dtype, absent, further)


def _pipeline(
    source: Source,
    dtype: Dtype,
    vae_dtype: VaeDtype,
    absent: tuple[str, ...],
    options: dict[str, Any],
) -> Any:
    from diffusers import DiffusionPipeline

    if not (source.folder / "model_index.json").is_file():
        what = "an adapter" if (source.folder / LORA_FILE).is_file() else "no diffusers folder"
        raise ValueError(f"{source.folder} is {what}: it has no model_index.json")
    index: Any = DiffusionPipeline.load_config(source.folder)
    pipe: Any = pipeline_class(index).from_pretrained(
        source.folder,
        dtype=component_types(source, dtype, vae_dtype),
        variant=source.variant,
        **{name: None for name in absent if name in index and name not in options},
        **options,
    )
    if vae_dtype is None and "vae" not in options and getattr(pipe, "vae", None) is not None:
        setattr(pipe.vae, _STORED, stored_types(source).get("vae", pipe.vae.dtype))
    return pipe


def component_types(source: Source, dtype: Dtype, vae_dtype: VaeDtype) -> dict[str, torch.dtype]:
    """The type to load each component in."""
    if isinstance(dtype, torch.dtype):
        types = {"default": dtype}
    else:
        types = {"default": torch.float32} | stored_types(source) | dict(dtype or {})
    if vae_dtype == "stored":
        return types | {"vae": stored_types(source).get("vae", torch.float32)}
    asked = isinstance(dtype, Mapping) and "vae" in dtype
    return types if asked and vae_dtype is None else types | {"vae": vae_dtype or torch.float32}


def load_pipeline(
    model: Path | str,
    dtype: Dtype = None,
    *,
    vae_dtype: VaeDtype = None,
    base: Path | str | None = None,
    fuse: bool = True,
    scale: float = 1.0,
    **options: Any,
) -> tuple[Any, JointInfo]:
    """The stock pipeline of a folder, adapter or hub id, with joint transformers, and its info.

    An adapter loads the base it names, or `base`, widens it, and puts the trained parts in. fuse:
    its LoRA into the weights; otherwise it stays PEFT's adapter "videojam". scale: of that LoRA.
    The rest is as in load_base. Raises ValueError for no VideoJAM model, a base that is not where
    the adapter says, or that is another one.
    """
    if not math.isfinite(scale):
        raise ValueError(f"scale is {scale}, expected a finite number")
    dtype = options.pop("torch_dtype", dtype)  # diffusers' older name
    hub, further = hub_options(options)
    source = find_source(
        model, subfolder=further.pop("subfolder", None), variant=further.get("variant"), **hub
    )
    info = read_info(source.folder)
    if not (source.folder / LORA_FILE).is_file():
        if base is not None or not fuse or scale != 1.0:
            raise ValueError(f"{model} is a whole model; base, fuse and scale are for adapters")
        further.pop("variant", None)
        pipe = _pipeline(source, dtype, vae_dtype, (), further)
    else:
        pipe = _from_adapter(
            source.folder, info, dtype, vae_dtype, base, fuse, scale, hub | further
        )
    for transformer in transformers(pipe).values():
        if hasattr(transformer, "load_lora_adapter"):
            take_base_loras(transformer)
    return pipe, info


def _from_adapter(
    folder: Path,
    info: JointInfo,
    dtype: Dtype,
    vae_dtype: VaeDtype,
    base: Path | str | None,
    fuse: bool,
    scale: float,
    options: dict[str, Any],
) -> Any:
    for name in ("device_map", "quantization_config"):
        if options.get(name) is not None:
            raise ValueError(
                f"{name} is for whole models, and this is an adapter: `videojam export` it to a "
                "folder first, which loads with it"
            )
    options.pop("revision", None)  # the adapter's
    try:
        if base is None and info.base_revision:
            options["revision"] = info.base_revision
        pipe = load_base(base or info.base, dtype, vae_dtype, **options)
    except (ValueError, OSError) as error:
        if base is not None:
            raise
        raise ValueError(
            f"the adapter in {folder} names its base {info.base!r}, which cannot be loaded: say "
            f"where it is with base=... (--base-model). {error}"
        ) from error
    C = latent_channels(pipe.vae)
    for part, transformer in transformers(pipe).items():
        joint = put_in(transformer, part, folder, C, scale, fuse)
        pipe.register_modules(**{part: joint})
    return pipe
