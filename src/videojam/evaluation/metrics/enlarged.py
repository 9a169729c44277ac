"""DIS on enlarged frames: its patches of 8 pixels are too coarse for clips of 64.

Figures against exact flow: benchmarks/lab_flow.py, `enlarged_dis`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from videojam.motion.estimators.dis import DIS


@dataclass(frozen=True, slots=True)
class EnlargedDIS:
    """A FlowEstimator: frames are enlarged by a whole factor, their flow is averaged back."""

    side_px: int = 128
    "At least this for the shorter side; frames as large as that stay as they are."

    def __call__(self, clip: UInt8[Tensor, "f h w 3"]) -> Float[Tensor, "f-1 2 h w"]:
        """Flow of the enlarged frames, in pixels of the clip's own size."""
        factor = -(-self.side_px // min(clip.shape[1:3]))
        if factor <= 1:
            return DIS()(clip)
        pixels = clip.cpu().movedim(-1, 1).float()
        large = functional.interpolate(pixels, scale_factor=factor, mode="bicubic")
        frames = large.round().clamp(0, 255).to(torch.uint8).movedim(1, -1)
        return functional.avg_pool2d(DIS()(frames.contiguous()), factor) / factor


FINE = EnlargedDIS(256)
"For comparing the flows of single clips: slower, and nearer the exact flow."
