"""What is left of slow and fast flow after pixels and a VAE in float32 and in bfloat16.

    python benchmarks/vae_precision.py

Uniform flows of 0.05 to 8 pixels in eight directions: as pixels alone at 480 x 832, where the
published models work, and through the embedded model's trained VAE at its own size. The VAE
computes in the type; the error is that of the mean flow, relative to its length.
"""

import math

import torch

from record import record
from videojam.embedded.shipped import embedded
from videojam.joint.checkpoint import load_base
from videojam.joint.latents import decode_video, encode_video
from videojam.motion.pixels import flow_from_motion, motion_pixels

LENGTHS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0, 8.0)
DIRECTIONS = 8


def _flows(length: float, frames: int, height: int, width: int):
    for place in range(DIRECTIONS):
        angle = 2 * math.pi * (place + 0.3) / DIRECTIONS
        flow = torch.empty(frames - 1, 2, height, width)
        flow[:, 0], flow[:, 1] = length * math.cos(angle), length * math.sin(angle)
        yield flow


def _error(flow: torch.Tensor, back: torch.Tensor) -> float:
    """|mean flow that comes back - flow| / |flow|: 1 means that it is lost."""
    mean = lambda f: f.mean((0, 2, 3))  # noqa: E731
    return float((mean(back) - mean(flow)).norm() / mean(flow).norm())


def main() -> None:
    torch.set_num_threads(1)
    rows: dict[str, dict[str, float]] = {"pixels 480x832": {}, "embedded VAE 64x64": {}}
    vae = load_base(embedded("base"), absent=("transformer", "text_encoder")).vae
    for name in ("float32", "bfloat16"):
        dtype = getattr(torch, name)
        vae.to(dtype)
        for length in LENGTHS:
            errors = [
                _error(flow, flow_from_motion(motion_pixels(flow).to(dtype).float()))
                for flow in _flows(length, 2, 480, 832)
            ]
            rows["pixels 480x832"][f"{name} {length:g} px"] = round(sum(errors) / DIRECTIONS, 4)
            errors = []
            for flow in _flows(length, 17, 64, 64):
                pixels = motion_pixels(flow)[None]
                back = decode_video(vae, encode_video(vae, pixels))[0].float().cpu()
                errors.append(_error(flow, flow_from_motion(back)))
            rows["embedded VAE 64x64"][f"{name} {length:g} px"] = round(sum(errors) / DIRECTIONS, 4)
    print(record("vae_precision", rows).read_text())


if __name__ == "__main__":
    main()
