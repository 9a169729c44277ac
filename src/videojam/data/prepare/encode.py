"""Decoded clips -> samples: motion video, both through the VAE."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from videojam.data.dataset import Sample
from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.preview import preview_frames
from videojam.data.prepare.report import Report
from videojam.data.prepare.rows import Planned
from videojam.data.prepare.stages import ClipData, ClipTask
from videojam.joint.text import Text
from videojam.media.video import to_pixels, to_uint8
from videojam.motion.pixels import motion_pixels
from videojam.motion.strength import motion_strength, with_strength

Dtype = Literal["float16", "float32"]
EncodeVideo = Callable[[Float[Tensor, "b 3 f h w"]], Float[Tensor, "b c t hh ww"]]
EncodeText = Callable[[list[str]], list[Text]]
EncodeImage = Callable[[UInt8[np.ndarray, "f h w 3"], str], Text]
EncodeControl = Callable[[UInt8[np.ndarray, "f h w 3"], Bool[np.ndarray, "f h w"] | None], Text]


class Encoders(NamedTuple):
    """The model's parts that prepare uses, and the device on which pixels are handed to them."""

    video: EncodeVideo
    text: EncodeText
    device: torch.device
    image: EncodeImage | None = None
    """What the transformer is given of a clip's frames, of models that always have an image; and of
    its caption, where it is read together with them."""
    text_with_image: bool = False
    "Whether it is: then captions cannot be corrected, nor be several."
    control: EncodeControl | None = None
    "What the transformer is given of a control clip and its mask, of models that take them."
    control_always: bool = False
    "A video without one is dropped."


class Job(NamedTuple):
    """What is to be made of one clip."""

    row: Planned
    task: ClipTask
    keep: bool  # encode it; else it has a row already
    show: bool  # make its preview
    caption: str = ""  # the first one of its video


class Encoded(NamedTuple):
    """What was made of it: latents in the storage type, in the main memory."""

    row: Planned
    x: Float[Tensor, "c t hh ww"] | None
    d: Float[Tensor, "c t hh ww"] | None
    flow_mean_px: float
    flow_saturated: float
    shown: UInt8[np.ndarray, "f h w2 3"] | None
    image: Text | None = None


def flow_statistics(flow: Float[Tensor, "n 2 h w"], sigma: float) -> tuple[float, float]:
    """Mean magnitude in pixels, and the share of pixels at or beyond sigma * diagonal."""
    magnitude = torch.linalg.vector_norm(flow, dim=1)
    limit = sigma * float(torch.tensor(flow.shape[-2:]).double().norm())
    return float(magnitude.double().mean()), float((magnitude >= limit).double().mean())


def encode_clips(
    jobs: Sequence[Job],
    clips: Sequence[ClipData],
    config: PrepareConfig,
    encoders: Encoders,
    report: Report,
) -> list[Encoded]:
    """Colour the flow of clips of one size, and encode those that are to be kept together.

    Raises ValueError if the latents are not b c t h w, differ in shape, or are not finite in the
    storage type.
    """
    motions = []
    for clip in clips:
        with report.time("colour", len(clip.frames)):
            flow = torch.from_numpy(clip.flow).to(encoders.device)
            motions.append(motion_pixels(flow, config.sigma, config.background))
    kept = [place for place, job in enumerate(jobs) if job.keep]
    x: dict[int, Tensor] = {}
    d: dict[int, Tensor] = {}
    if kept:
        names = ", ".join(jobs[place].row.key for place in kept)
        frames = sum(len(clips[place].frames) for place in kept)
        with report.time("motion VAE", frames):
            pixels = torch.stack([motions[place] for place in kept])
            found = _latents(encoders, pixels, config.dtype, f"motion latents of {names}")
            d = dict(zip(kept, found, strict=True))
        with report.time("appearance VAE", frames):
            pixels = torch.stack(
                [to_pixels(torch.from_numpy(clips[k].frames).to(encoders.device)) for k in kept]
            )
            found = _latents(encoders, pixels, config.dtype, f"latents of {names}")
            x = dict(zip(kept, found, strict=True))
        if x[kept[0]].shape != d[kept[0]].shape:
            shapes = tuple(x[kept[0]].shape), tuple(d[kept[0]].shape)
            raise ValueError(f"{names}: latents {shapes[0]} and motion {shapes[1]} differ")
    encoded = []
    for place, (job, clip) in enumerate(zip(jobs, clips, strict=True)):
        shown = None
        if job.show:
            with report.time("previews"):
                shown = preview_frames(clip.frames, to_uint8(motions[place]).cpu().numpy())
        flow = flow_statistics(torch.from_numpy(clip.flow), config.sigma)
        image = None
        if encoders.image is not None and job.keep:
            with report.time("image"):
                caption = job.caption
                if config.motion_strength:
                    mean_px = flow[0]
                    level = motion_strength(mean_px, *job.row.size, config.fps)
                    caption = with_strength(caption, level)
                found = encoders.image(clip.frames, caption).items()
                what = f"of the image of {job.row.key}"
                image = {k: _stored(v, config.dtype, f"{k} {what}") for k, v in found}
        if config.controls and job.keep:
            assert encoders.control is not None
            image = {}  # of a clip without: training knows what that becomes
            if clip.control is None and encoders.control_always:
                raise ValueError(f"{job.row.key} has no control, and the model always is given one")
            if clip.control is not None:
                with report.time("control", len(clip.control)):
                    found = encoders.control(clip.control, clip.control_mask).items()
                    what = f"of the control of {job.row.key}"
                    image = {k: _stored(v, config.dtype, f"{k} {what}") for k, v in found}
        encoded.append(Encoded(job.row, x.get(place), d.get(place), *flow, shown, image))
    return encoded


def text_key(path: str, strength: int) -> str:
    """Whose captions a clip of this motion strength has, where captions name it."""
    return f"{path}#motion-strength-{strength}"


def row_sample(encoded: Encoded, config: PrepareConfig) -> Sample:
    """Everything of a row together; its captions are in the dataset already."""
    row = encoded.row
    assert encoded.x is not None and encoded.d is not None
    strength = motion_strength(encoded.flow_mean_px, *row.size, config.fps)
    return Sample(
        key=row.key,
        source=row.path,
        source_bytes=row.source_bytes,
        clip_index=row.clip_index,
        start_s=row.start_s,
        caption="",
        split=row.split,
        height=row.size[0],
        width=row.size[1],
        frames=config.num_frames,
        fps=config.fps,
        source_fps=row.source_fps,
        flow_mean_px=encoded.flow_mean_px,
        flow_saturated=encoded.flow_saturated,
        x=encoded.x,
        d=encoded.d,
        text={},
        text_key=text_key(row.path, strength) if config.motion_strength else row.path,
        image=encoded.image,
    )


def encode_caption(encoders: Encoders, caption: str, dtype: Dtype) -> Text:
    """What one caption becomes, alone; embeddings in the storage type."""
    texts = encoders.text([caption])
    if len(texts) != 1:
        raise ValueError(f"encode_text gave {len(texts)} results for one caption")
    return {
        name: _stored(value, dtype, f"{name} of {caption!r}") for name, value in texts[0].items()
    }


def _latents(
    encoders: Encoders, pixels: Float[Tensor, "b 3 f h w"], dtype: Dtype, what: str
) -> Float[Tensor, "b c t hh ww"]:
    latents = encoders.video(pixels)
    if latents.ndim != 5 or len(latents) != len(pixels):
        expected = f"({len(pixels)}, c, t, h, w)"
        raise ValueError(f"{what} have shape {tuple(latents.shape)}, expected {expected}")
    return _stored(latents, dtype, what)


def _stored(tensor: Tensor, dtype: Dtype, what: str) -> Tensor:
    stored = tensor.detach().cpu().contiguous()
    if stored.dtype.is_floating_point:
        stored = stored.to(getattr(torch, dtype))
    if not torch.isfinite(stored).all():
        raise ValueError(
            f"{what}: not finite as {dtype}; run the model in bfloat16 or float32, or store float32"
        )
    return stored
