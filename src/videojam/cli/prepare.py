"""videojam prepare: a folder of captioned videos -> a dataset of latents."""

import functools
import signal
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn

import tyro

from videojam.data.prepare import PrepareConfig, prepare


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareArgs:
    """Prepare a dataset: videos and captions -> appearance latents, motion latents and text.

    The same command again resumes. Example:

        videojam prepare --model wan2.1-1.3b --videos clips --output data --captions clips.jsonl
    """

    config: Annotated[PrepareConfig, tyro.conf.arg(name="")]
    device: str = "cpu"
    "Where the VAE and the text encoder run."
    model_dtype: Literal["float32", "bfloat16"] = "float32"
    "Type they compute in."
    flow: Literal["dis", "raft"] = "dis"
    "Optical flow estimator; RAFT, the paper's, needs the raft extra and its weights."


def main(args: PrepareArgs) -> None:
    """Load the parts of the pipeline that prepare needs, and run it. Ctrl-C or SIGTERM stops it."""
    import torch
    from diffusers import DiffusionPipeline

    from videojam.joint.families import FAMILIES
    from videojam.joint.latents import encode_video
    from videojam.joint.text import encode_text
    from videojam.motion.estimators.dis import DIS
    from videojam.motion.estimators.raft import RAFT

    signal.signal(signal.SIGTERM, _stop)
    if not args.config.model:
        raise ValueError("model is empty, expected a diffusers folder or name; pass --model")
    index: Any = DiffusionPipeline.load_config(args.config.model)
    name = index["transformer"][1]
    family = next((family for family in FAMILIES if family.transformer == name), None)
    if family is None:
        known = ", ".join(family.transformer for family in FAMILIES)
        raise ValueError(f"{args.config.model} has a {name}; known are {known}")
    pipe = DiffusionPipeline.from_pretrained(
        args.config.model, transformer=None, dtype=getattr(torch, args.model_dtype)
    ).to(args.device)
    try:
        prepare(
            args.config,
            encode_video=functools.partial(encode_video, pipe.vae),
            encode_text=functools.partial(encode_text, pipe, family=family),
            estimator=DIS() if args.flow == "dis" else RAFT(),
            device=args.device,
        )
    except KeyboardInterrupt as stop:  # prepare has said how to resume
        raise SystemExit(143 if stop.args else 130) from None


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt("SIGTERM")
