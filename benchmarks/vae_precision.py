"""What is left of slow and fast flow after pixels and a VAE in float32 and in bfloat16.

    python benchmarks/vae_precision.py

Uniform flows of 0.05 to 8 pixels in eight directions:

    pixels        no VAE, at 480 x 832, where the published models work. The error is that of the
                  mean flow, relative to its length: 1 means that it is lost.
    embedded VAE  the same after encoding and decoding by the only trained VAE that is at hand, at
                  its own size and sigma. It is small and loses slow flow in any type.
    arithmetic    what bfloat16 alone changes inside of a VAE: the root mean square difference of
                  the pixels that it decodes, in [-1, 1], from the same latents of float32; and the
                  length of flow that such a difference is worth at 480 x 832. Of the embedded VAE,
                  and of one of Wan's class with random weights, which shows rounding, not pictures.
"""

import itertools
import math
from typing import Any

import torch

from record import record
from videojam.embedded.shipped import embedded
from videojam.joint.checkpoint import load_base, read_info
from videojam.joint.latents import decode_video, encode_video
from videojam.models.small_wan import SmallWan, small_autoencoder
from videojam.motion.pixels import flow_from_motion, motion_pixels

LENGTHS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0, 8.0)
DIRECTIONS = 8
SIGMA = 0.15
FULL = (480, 832)


def _flows(length: float, frames: int, height: int, width: int):
    for place in range(DIRECTIONS):
        angle = 2 * math.pi * (place + 0.3) / DIRECTIONS
        flow = torch.empty(frames - 1, 2, height, width)
        flow[:, 0], flow[:, 1] = length * math.cos(angle), length * math.sin(angle)
        yield flow


def _error(flow: torch.Tensor, back: torch.Tensor) -> float:
    """|mean flow that comes back - flow| / |flow|."""
    mean = lambda f: f.mean((0, 2, 3))  # noqa: E731
    return float((mean(back) - mean(flow)).norm() / mean(flow).norm())


def main() -> None:
    torch.set_num_threads(1)
    vae = load_base(embedded("base"), absent=("transformer", "text_encoder")).vae
    sigma = read_info(embedded()).sigma
    # Names of figures say type and length.
    pixels: dict[str, float] = {}
    through: dict[str, float] = {}
    for name, length in itertools.product(("float32", "bfloat16"), LENGTHS):
        dtype = getattr(torch, name)
        alone, coded = 0.0, 0.0
        for flow in _flows(length, 2, *FULL):
            alone += _error(flow, flow_from_motion(motion_pixels(flow).to(dtype).float()))
        vae.to(dtype)
        for flow in _flows(length, 17, 64, 64):
            video = motion_pixels(flow, sigma)[None]
            back = decode_video(vae, encode_video(vae, video))[0].float()
            coded += _error(flow, flow_from_motion(back, sigma))
        pixels[f"{name} {length:g} px"] = round(alone / DIRECTIONS, 4)
        through[f"{name} {length:g} px"] = round(coded / DIRECTIONS, 4)
    rows = {
        "pixels 480x832": pixels,
        "embedded VAE 64x64": through,
        "arithmetic, embedded VAE": _arithmetic(vae, sigma),
        "arithmetic, random Wan VAE": _arithmetic(small_autoencoder(SmallWan()).eval(), sigma),
    }
    print(record("vae_precision", rows).read_text())


def _arithmetic(vae: Any, sigma: float) -> dict[str, float]:
    """By length of flow: difference of decoded pixels, and the flow it stands for at full size."""
    one = SIGMA * math.hypot(*FULL) / 2  # pixels of flow for a step of 1 in [-1, 1]
    found: dict[str, float] = {}
    for length in (0.05, 1.0, 8.0):
        squares = 0.0
        for flow in _flows(length, 17, 64, 64):
            latents = encode_video(vae.float(), motion_pixels(flow, sigma)[None])
            exact = decode_video(vae, latents)
            squares += float((decode_video(vae.bfloat16(), latents) - exact).square().mean())
        rms = math.sqrt(squares / DIRECTIONS)
        found[f"{length:g} px: pixels"] = round(rms, 5)
        found[f"{length:g} px: flow at 480x832, px"] = round(rms * one, 3)
    return found


if __name__ == "__main__":
    main()
