"""OpenCV's DIS optical flow: the default estimator; fast on a CPU and without weights."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

_MIN_SIZE_PX = 16  # below this the patches of DIS do not fit at its coarsest scale
_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


@dataclass(frozen=True, slots=True)
class DIS:
    """Dense inverse search (Kroeger et al. 2016)."""

    preset: Literal["ultrafast", "fast", "medium"] = "medium"

    def __call__(self, clip: UInt8[Tensor, "f h w 3"]) -> Float[Tensor, "f-1 2 h w"]:
        """Flow of each consecutive pair, in pixels. ValueError for frames under 16 pixels."""
        if min(clip.shape[1:3]) < _MIN_SIZE_PX:
            raise ValueError(
                f"DIS needs frames of at least {_MIN_SIZE_PX} x {_MIN_SIZE_PX} pixels, "
                f"got {clip.shape[1]} x {clip.shape[2]}; use larger frames"
            )
        # The OpenCV object cannot be pickled to worker processes, so it is made here.
        dis = cv2.DISOpticalFlow.create(_PRESETS[self.preset])
        gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip.cpu().numpy()]
        flows = [
            dis.calc(a, b, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
            for a, b in pairwise(gray)
        ]
        return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).contiguous()
