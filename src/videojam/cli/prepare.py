"""videojam prepare: a folder of captioned videos -> a dataset of latents."""

import signal
import sys
from dataclasses import dataclass, replace
from typing import Annotated, Literal, NoReturn

import tyro

from videojam.cli.default_model import default_model
from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.prepare import join_shards
from videojam.motion.estimators.dis import DIS
from videojam.motion.estimators.raft import RAFT
from videojam.workflow.prepare import prepare_dataset


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareArgs:
    """Prepare a dataset: videos and captions -> appearance latents, motion latents and text.

    The same command again resumes. Example:

        videojam prepare --model wan2.1-1.3b --videos clips --out data --captions clips.jsonl

    Without --model the embedded small base is used; give it --sizes 64 64 --num-frames 17.
    """

    config: Annotated[PrepareConfig, tyro.conf.arg(name="")]
    device: str | None = None
    "Where the VAE and the text encoder run. Default: cuda where there is one, else cpu."
    model_dtype: Literal["float32", "bfloat16"] = "float32"
    "Type the VAE computes in. bfloat16 is faster and loses slow motion."
    flow: Literal["dis", "raft"] = "dis"
    "Optical flow estimator; RAFT, the paper's, needs the raft extra and its weights."


def main(args: PrepareArgs) -> None:
    """Load the parts of the model that prepare needs, and run it. Ctrl-C or SIGTERM stops it."""
    import torch

    signal.signal(signal.SIGTERM, _stop)
    config = args.config
    if config.join:
        print(f"{join_shards(config)} samples of all shards are in {config.out}")
        return
    if not config.model:
        config = replace(config, model=str(default_model("base")))
    estimator = DIS() if args.flow == "dis" else RAFT()
    try:
        prepare_dataset(config, estimator, args.device, getattr(torch, args.model_dtype))
    except KeyboardInterrupt as stop:  # what was encoded is committed, and has been said so
        sys.exit(143 if stop.args else 130)


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt("SIGTERM")
