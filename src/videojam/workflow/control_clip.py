"""A control clip on the disk, and its mask, for samples that are to follow it."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from videojam.data.source.clip_sampling import plan_clips
from videojam.data.source.decode import decode, scan
from videojam.data.source.geometry import resize
from videojam.data.source.video_file import VideoError
from videojam.joint.control import Control, white_where_bright
from videojam.joint.sizes import Size
from videojam.sampling.images import read_image

_ALIKE = 0.02  # of shapes, in their ratio: rounding to whole pixels


def control_clip(path: Path, mask: Path | None, size: Size, fps: float) -> Control:
    """The first frames of a control that make a clip of this size and rate.

    Timed and cut as preparation does it with videos; stills and cuts in it stay, as they are
    what it says. mask: a clip in step with it, or an image for all frames; white where it is
    bright. Raises ValueError for a file that is too short or cannot be read, and for a mask of
    another shape than the control.
    """
    video, shape = _frames(path, size, fps)
    if mask is None:
        return Control(video)
    white, its_shape = _still(mask, size) or _frames(mask, size, fps)
    if abs(its_shape / shape - 1) > _ALIKE:
        raise ValueError(
            f"{mask} is {its_shape:.3g} times as wide as high, {path} {shape:.3g} times; give a "
            "mask of the control's shape"
        )
    return Control(video, white_where_bright(white))


def _frames(path: Path, size: Size, fps: float) -> tuple[UInt8[Tensor, "f h w 3"], float]:
    """The clip, and the width of the whole pictures over their height."""
    try:
        found = scan(path)
        clips, reasons = plan_clips(
            found.times_s, [(0, len(found.pts) - 1)], fps=fps, num_frames=size.num_frames
        )
        if not clips:
            raise ValueError(
                f"{path} gives no clip of {size.num_frames} frames at {fps:g} frames/s: "
                f"{'; '.join(reasons)}"
            )

        def cut(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
            return resize(frame, (size.height, size.width), found.pixel_aspect)

        frames = decode(path, [found.pts[k] for k in clips[0].frames], cut)
    except VideoError as error:
        raise ValueError(f"{path}: {error}") from error
    shape = found.width * found.pixel_aspect / found.height
    return torch.from_numpy(np.stack(frames)), shape


def _still(path: Path, size: Size) -> tuple[UInt8[Tensor, "1 h w 3"], float] | None:
    """An image, as one frame and its shape; None for a file that is none, or moves."""
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                return None
            frame = np.array(read_image(image))  # a copy: PIL's own cannot be written to
    except OSError:
        return None
    cut = resize(frame, (size.height, size.width))
    return torch.from_numpy(cut)[None], frame.shape[1] / frame.shape[0]
