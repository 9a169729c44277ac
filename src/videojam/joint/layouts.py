"""How a transformer wants its latents: everything here is (b, c, t, h, w), some models differ."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from einops import rearrange
from torch import Tensor


class Layout(NamedTuple):
    """pack: (b, c, t, h, w) -> the transformer's. unpack: back; tokens need their (t, h, w)."""

    channel_dim: int
    "Channel axis of what the transformer takes."
    pack: Callable[[Tensor], Tensor]
    unpack: Callable[[Tensor, Sequence[int] | None], Tensor]


def _axes(pattern: str, channel_dim: int) -> Layout:
    def unpack(packed: Tensor, size: Sequence[int] | None = None) -> Tensor:
        known = {} if size is None else dict(zip("thw", size, strict=True))
        return rearrange(packed, f"{pattern} -> b c t h w", **known)

    return Layout(channel_dim, lambda z: rearrange(z, f"b c t h w -> {pattern}"), unpack)


CHANNELS_FIRST = _axes("b c t h w", 1)
FRAMES_FIRST = _axes("b t c h w", 2)
CHANNELS_LAST = _axes("b t h w c", -1)
TOKENS = _axes("b (t h w) c", -1)
"One token per latent pixel, in the order in which pipelines with patches of 1 pack them."
