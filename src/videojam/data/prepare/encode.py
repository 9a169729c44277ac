"""A decoded clip -> a sample: motion video, both through the VAE, one clip at a time."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.data.dataset import Sample
from videojam.data.prepare.config import PrepareConfig
from videojam.data.prepare.report import Report
from videojam.data.prepare.rows import Planned
from videojam.data.prepare.stages import ClipData
from videojam.joint.text import Text
from videojam.media.video import to_pixels

Dtype = Literal["float16", "float32"]
EncodeVideo = Callable[[Float[Tensor, "b 3 f h w"]], Float[Tensor, "b c t hh ww"]]
EncodeText = Callable[[list[str]], list[Text]]


class Encoders(NamedTuple):
    """The model's parts that prepare uses, and the device on which pixels are handed to them."""

    video: EncodeVideo
    text: EncodeText
    device: torch.device


def flow_statistics(flow: Float[Tensor, "n 2 h w"], sigma: float) -> tuple[float, float]:
    """Mean magnitude in pixels, and the share of pixels at or beyond sigma * diagonal."""
    magnitude = torch.linalg.vector_norm(flow, dim=1)
    limit = sigma * float(torch.tensor(flow.shape[-2:]).double().norm())
    return float(magnitude.double().mean()), float((magnitude >= limit).double().mean())


def encode_clip(
    key: str,
    clip: ClipData,
    motion: Float[Tensor, "3 f h w"],
    dtype: Dtype,
    encoders: Encoders,
    report: Report,
) -> tuple[Float[Tensor, "c t hh ww"], Float[Tensor, "c t hh ww"]]:
    """(x, d): appearance and motion through the same VAE, in the storage type.

    Raises ValueError if the latents are not one batch of c t h w, differ in shape, or are not
    finite in the storage type.
    """
    frames = len(clip.frames)
    with report.time("motion VAE", frames):
        d = _latents(encoders.video(motion[None]), dtype, f"motion latents of {key}")
    with report.time("appearance VAE", frames):
        pixels = to_pixels(torch.from_numpy(clip.frames).to(encoders.device))
        x = _latents(encoders.video(pixels[None]), dtype, f"latents of {key}")
    if x.shape != d.shape:
        raise ValueError(f"{key}: latents {tuple(x.shape)} and motion {tuple(d.shape)} differ")
    return x, d


def row_sample(
    row: Planned,
    clip: ClipData,
    config: PrepareConfig,
    x: Float[Tensor, "c t hh ww"],
    d: Float[Tensor, "c t hh ww"],
) -> Sample:
    """Everything of a row together; its captions are in the dataset already."""
    mean_px, saturated = flow_statistics(torch.from_numpy(clip.flow), config.sigma)
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
        flow_mean_px=mean_px,
        flow_saturated=saturated,
        x=x,
        d=d,
        text={},
        text_key=row.path,
    )


def encode_caption(encoders: Encoders, caption: str, dtype: Dtype) -> Text:
    """What one caption becomes, alone; embeddings in the storage type."""
    texts = encoders.text([caption])
    if len(texts) != 1:
        raise ValueError(f"encode_text gave {len(texts)} results for one caption")
    return {
        name: _stored(value, dtype, f"{name} of {caption!r}") for name, value in texts[0].items()
    }


def _latents(latents: Tensor, dtype: Dtype, what: str) -> Float[Tensor, "c t h w"]:
    if latents.ndim != 5 or latents.shape[0] != 1:
        raise ValueError(f"{what} have shape {tuple(latents.shape)}, expected (1, c, t, h, w)")
    return _stored(latents[0], dtype, what)


def _stored(tensor: Tensor, dtype: Dtype, what: str) -> Tensor:
    stored = tensor.detach().cpu().contiguous()
    if stored.dtype.is_floating_point:
        stored = stored.to(getattr(torch, dtype))
    if not torch.isfinite(stored).all():
        raise ValueError(
            f"{what}: not finite as {dtype}; run the model in bfloat16 or float32, or store float32"
        )
    return stored
