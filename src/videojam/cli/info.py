"""videojam info: which models are supported, and what a model is and takes."""

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from rich.markdown import Markdown

from videojam.joint.checkpoint import read_info
from videojam.joint.denoiser import empty_transformer
from videojam.joint.sizes import patch
from videojam.joint.source import adapter_folder
from videojam.models.info import describe, memory, support_markdown


@dataclass(frozen=True, kw_only=True, slots=True)
class InfoArgs:
    """Show the supported models, or what a model folder or hub id is. Examples:

    videojam info
    videojam info Wan-AI/Wan2.1-T2V-1.3B-Diffusers --latent 21 60 104
    """

    model: Annotated[str | None, tyro.conf.Positional] = None
    "Folder or hub id. Only its configs are read."
    latent: tuple[int, int, int] = (21, 60, 104)
    "Latent frames, height and width of the clip for the estimates: 81 x 480 x 832 for Wan 2.1."
    text_tokens: int = 512
    "Tokens of the prompt that are attended to together with the clip."


def main(args: InfoArgs) -> None:
    """Print."""
    console = Console()
    if args.model is None:
        console.print(Markdown(support_markdown()))
        console.print("Found by the conformance suite, on small random models of these classes.")
        return
    model = args.model
    adapter = adapter_folder(model)
    if adapter is not None:
        model = read_info(adapter).base
        console.print(f"{args.model} is an adapter, LoRA and projections, of {model}:")
    facts = describe(model)
    transformer = empty_transformer(model)
    p, q, r = patch(transformer)
    t, h, w = args.latent
    tokens = (t // p) * (h // q) * (w // r) + args.text_tokens
    needs = memory(transformer, tokens, facts.parameters)
    kind = "a VideoJAM model" if facts.joint else "a base model"
    console.print(
        f"{facts.pipeline} with {facts.family.transformer}: {kind}, latents of {facts.channels} "
        f"channels, {facts.parameters / 1e9:.3g} billion parameters\n"
        f"{facts.vae}; {', '.join(facts.text_encoders)}; {facts.scheduler}\n"
        f"widening: {facts.added:,} parameters more "
        f"({100 * facts.added / facts.parameters:.3g} %)\n"
        f"estimates for {tokens} tokens, GiB, without text encoder and VAE: "
        f"generate {needs.generate:.1f}, train LoRA {needs.train_lora:.1f}, "
        f"train in full {needs.train_full:.1f}",
        soft_wrap=True,
    )
    if facts.family.limits:
        console.print(f"limits: {facts.family.limits}", soft_wrap=True)
