"""The clips that a preparation would encode, as pixels: what training an autoencoder needs."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.prepare import prepare
from videojam.motion.flow import FlowEstimator


def collect_pixels(
    config: PrepareConfig, estimator: FlowEstimator
) -> list[Float[Tensor, "3 f h w"]]:
    """Appearance and motion videos of every clip of `config`, in [-1, 1], in memory.

    Runs the preparation itself on an encoder that keeps what it is given, so these are exactly
    the pixels that the VAE will see. Nothing is written to config.out.
    """
    kept: list[Tensor] = []

    def keep(pixels: Tensor) -> Tensor:
        kept.extend(pixels)
        return pixels[:, :, :1, :1, :1]

    with TemporaryDirectory() as folder:
        prepare(
            replace(config, out=Path(folder), previews=0),
            encode_video=keep,
            encode_text=lambda captions: [{} for _ in captions],
            estimator=estimator,
            console=Console(quiet=True),
        )
    return kept
