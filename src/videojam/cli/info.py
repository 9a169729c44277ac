"""videojam info: which models are supported; what a model is and takes; what a dataset holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markdown import Markdown

from videojam.joint.checkpoint import read_info
from videojam.joint.sizes import patch
from videojam.joint.source import adapter_folder, empty_transformer
from videojam.models.info import describe, support_markdown
from videojam.models.needs import GIB, count, generate_bytes
from videojam.records.object_store import location
from videojam.workflow.dataset_facts import describe_dataset, is_dataset, let_go_of_run
from videojam.workflow.requirements import ways_table


@dataclass(frozen=True, kw_only=True, slots=True)
class InfoArgs:
    """Show the supported models, or what a model or a prepared dataset is. Examples:

    videojam info
    videojam info data
    videojam info Wan-AI/Wan2.1-T2V-1.3B-Diffusers --latent 21 60 104
    videojam info Wan-AI/Wan2.1-T2V-14B-Diffusers --card 80GB --processes 1 8 --tflops 400
    """

    model: Annotated[str | None, tyro.conf.Positional] = None
    "Folder or hub id of a model, of which only configs are read, or a dataset's folder."
    latent: tuple[int, int, int] = (21, 60, 104)
    "Latent frames, height and width of the clip for the estimates: 81 x 480 x 832 for Wan 2.1."
    text_tokens: int = 512
    "Tokens of the prompt that are attended to together with the clip."
    card: tuple[str, ...] = ("24GB", "80GB")
    "Memory of the devices to look for."
    processes: tuple[int, ...] = (1,)
    "Numbers of devices to compare; with several, sharded training, too."
    tflops: float | None = None
    "TFLOP/s that one device sustains (an H100 about 400): adds the time of a sample."
    let_go: Path | None = None
    """Of a dataset: release the version that the run in this folder holds, which will not go on and
    may be deleted already. Disk space is freed by the next `videojam prepare`."""


def main(args: InfoArgs) -> None:
    """Print."""
    console = Console()
    if args.model is None:
        if args.let_go is not None:
            raise ValueError("--let-go needs the dataset's folder before it")
        console.print(Markdown(support_markdown()))
        console.print("Found by the conformance suite, on small random models of these classes.")
        return
    if is_dataset(folder := location(args.model)):
        if args.let_go is not None and not let_go_of_run(folder, args.let_go):
            raise ValueError(f"the run in {args.let_go} holds no version of {folder}")
        console.print(describe_dataset(folder), soft_wrap=True)
        return
    if args.let_go is not None:
        raise ValueError(f"--let-go is for a dataset, and {args.model} is none")
    model = args.model
    adapter = adapter_folder(model)
    if adapter is not None:
        model = read_info(adapter).base
        console.print(f"{args.model} is an adapter, LoRA and projections, of {model}:")
    facts = describe(model)
    transformer = empty_transformer(model)
    p, q, r = patch(transformer)
    t, h, w = args.latent
    tokens = (t // p) * (h // q) * (w // r)
    if min(args.processes) < 1:
        raise ValueError("processes are expected to be positive")
    needed = generate_bytes(count(transformer), tokens + args.text_tokens) / GIB
    table = ways_table(model, args.card, args.processes, args.latent, args.text_tokens, args.tflops)
    kind = "a VideoJAM model" if facts.joint else "a base model"
    console.print(
        f"{facts.pipeline} with {facts.family.transformer}: {kind}, latents of {facts.channels} "
        f"channels, {facts.parameters / 1e9:.3g} billion parameters\n"
        f"{facts.vae}; {', '.join(facts.text_encoders)}; {facts.scheduler}\n"
        f"widening: {facts.added:,} parameters more "
        f"({100 * facts.added / facts.parameters:.3g} %)\n"
        f"generating a clip of {tokens} tokens: {needed:.1f} GiB in bfloat16, without text encoder "
        "and VAE",
        soft_wrap=True,
    )
    console.print(
        f"\nTraining, by arithmetic (docs/results.md): GiB on each device, one clip of {tokens} "
        "tokens a device, LoRA of rank 64; checkpoint: GiB on disk\n",
        soft_wrap=True,
    )
    print(table)
    if facts.family.limits:
        console.print(f"limits: {facts.family.limits}", soft_wrap=True)
