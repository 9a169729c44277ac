"""The control clips that samples follow: checked, and cut to the clips' size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from videojam.joint.control import Control, check_takes_control
from videojam.joint.find_family import family_of
from videojam.sampling.images import fitted
from videojam.sampling.pipeline import Sampling


def check_controls(
    pipe: Any, controls: Sequence[Any] | None, count: int, sampling: Sampling
) -> None:
    """ValueError for controls that the model does not take, another number, given twice, or missing
    where the model edits a clip."""
    family = family_of(pipe.transformer)
    if controls is None:
        if family.control_always and family.control_arguments[0] not in sampling.pipeline:
            raise ValueError(
                f"{type(pipe).__name__} edits a clip, and none is given: control=, --control FILE"
            )
        return
    check_takes_control(family)
    twice = [name for name in family.control_arguments if name in sampling.pipeline]
    if twice:
        raise ValueError(f"a control is given, and {' and '.join(twice)} too; give the control")
    if len(controls) != count:
        raise ValueError(f"{len(controls)} controls for {count} clips, expected one each")


def fitted_control(control: Any, sampling: Sampling) -> Control:
    """Scaled to cover the clip's size and cut about the middle; sampling: with sizes set.

    Raises ValueError for what is no clip, or another number of frames.
    """
    if not isinstance(control, Control):
        raise ValueError(
            f"the control is a {type(control).__name__}, expected a Control of uint8 frames "
            "(videojam.joint.control)"
        )
    video, mask = (None if one is None else torch.as_tensor(one) for one in control)
    shape = () if video is None else tuple(video.shape)
    if video is None or video.dtype != torch.uint8 or len(shape) != 4 or shape[-1] != 3:
        kind = "nothing" if video is None else f"{video.dtype} {shape}"
        raise ValueError(f"the control is {kind}, expected uint8 frames (F, H, W, 3)")
    if len(video) != sampling.num_frames:
        raise ValueError(
            f"the control has {len(video)} frames, expected {sampling.num_frames}, as many as the "
            "clip that is sampled"
        )
    if mask is not None and (
        mask.dtype != torch.bool or mask.ndim != 3 or len(mask) not in (1, len(video))
    ):
        raise ValueError(
            f"the control's mask is {mask.dtype} {tuple(mask.shape)}, expected bool (F, H, W) or "
            "(1, H, W), True where the clip is made anew"
        )
    if mask is not None and mask.shape[1:] != video.shape[1:3]:
        raise ValueError(
            f"the control's mask is of {tuple(mask.shape[1:])} pixels, the control of "
            f"{tuple(video.shape[1:3])}"
        )
    size = sampling.height or 0, sampling.width or 0
    if mask is not None:
        mask = _cut(mask.to(torch.uint8) * 255, *size) > 127
    return Control(_cut(video, *size), mask)


def _cut(frames: Tensor, height: int, width: int) -> Tensor:
    if frames.shape[1:3] == (height, width):
        return frames.cpu()
    cut = [np.asarray(fitted(Image.fromarray(one), height, width)) for one in frames.cpu().numpy()]
    return torch.from_numpy(np.stack(cut))
