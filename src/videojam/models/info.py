"""What a model is, and which models are supported; what training takes is in needs.py."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videojam.joint.family import ModelFamily
from videojam.joint.find_family import family_of
from videojam.joint.source import empty_transformer
from videojam.joint.widen import is_widened, narrow, projection_names, widen

_SUPPORT = Path(__file__).parent / "support.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Facts about a model folder or hub id."""

    pipeline: str
    family: ModelFamily
    joint: bool
    channels: int
    "C of its latents."
    parameters: int
    "Of its transformer (of both, for two experts)."
    added: int
    "Parameters that widening adds."
    vae: str
    text_encoders: tuple[str, ...]
    scheduler: str


def describe(model: str) -> Facts:
    """Read the configs of a folder or hub id; no weights. ValueError for an unknown model."""
    from diffusers import DiffusionPipeline

    index: Any = DiffusionPipeline.load_config(model)
    if "transformer" not in index:
        raise ValueError(
            f"{model} has no transformer; videojam works with pipelines of video diffusion "
            "transformers, see `videojam info`"
        )
    transformer = empty_transformer(model)
    family = family_of(transformer)
    C = _channels(transformer, family)
    joint = is_widened(transformer, family, C)
    count = sum(parameter.numel() for parameter in transformer.parameters())
    size = _projection_size(transformer, family)
    converted = (narrow if joint else widen)(transformer, family, C)
    added = abs(_projection_size(converted, family) - size)
    experts = 2 if index.get("transformer_2", (None, None))[1] else 1
    return Facts(
        pipeline=index["_class_name"],
        family=family,
        joint=joint,
        channels=C,
        parameters=count * experts,
        added=added * experts,
        vae=index["vae"][1],
        text_encoders=tuple(
            index[key][1] for key in sorted(index) if key.startswith("text_encoder")
            if index[key][1]
        ),
        scheduler=index["scheduler"][1],
    )  # fmt: skip


def _channels(transformer: Any, family: ModelFamily) -> int:
    """C: a published number of channels, or what the config has, taken for a base."""
    found = transformer.config[family.out_key] or transformer.config[family.in_key]
    for C in family.latent_channels:
        if found in (C * len(family.out_layout), 2 * C * len(family.out_layout)):
            return C
    return found // len(family.out_layout)


def _projection_size(transformer: Any, family: ModelFamily) -> int:
    return sum(
        parameter.numel()
        for name in projection_names(family)
        for parameter in transformer.get_submodule(name).parameters()
    )


def support() -> dict[str, dict[str, str]]:
    """Model -> what works ("yes", or why not), as the conformance suite found it."""
    return json.loads(_SUPPORT.read_text())["models"]


def support_markdown() -> str:
    """The table of the README; reasons are footnotes."""
    rows = support()
    columns = [*next(iter(rows.values()))]
    notes: list[str] = []
    lines = [f"| Model | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for model, cells in rows.items():
        shown = []
        for why in cells.values():
            if why != "yes" and why not in notes:
                notes.append(why)
            shown.append("yes" if why == "yes" else f"no ({notes.index(why) + 1})")
        lines.append(f"| {model} | {' | '.join(shown)} |")
    lines += ["", *(f"{number}. {why}" for number, why in enumerate(notes, 1))]
    return "\n".join(lines) + "\n"
