"""What a world is: its knobs, its words, and a batch of its clips (clips.py draws them).

`bounce`: two small coloured balls that bounce off the walls and each other before a strong, still,
grey texture: little moves, and what stands still is loud. `scroll`: two textures that scroll behind
windows: everything moves.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

Kind = Literal["bounce", "scroll"]
COLOURS, DIRECTIONS = ("red", "green", "blue"), ("left", "right")
SPEEDS = ("slow", "medium", "fast")
WORDS = (COLOURS, DIRECTIONS, SPEEDS)
"What a caption says of each of two bodies, in this order."

NUM_BODIES = 2
SLOWEST_PX, FASTER_PX, JITTER_PX = 0.6, 0.9, 0.5  # px a frame: of "slow", more a class, within one
FASTEST_PX = SLOWEST_PX + FASTER_PX * (len(SPEEDS) - 1) + JITTER_PX
_SATURATION_PX = 3.2  # just above the fastest

GREY, CHROMA = 0.3, 1.2
"A body's colour is GREY + CHROMA * hue; still textures are grey around 0."
# Unit vectors without brightness, 120 degrees apart.
HUES = torch.tensor([[2.0, -1, -1], [-1, 2, -1], [-1, -1, 2]]) / 6**0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """The knobs: how much moves, how loud what stands still is, how fast, how long."""

    kind: Kind = "bounce"
    radius: float = 2.0
    "Half the length of a body in px: 4 radius / width of the pixels move in bounce."
    background: float = 0.9
    "Standard deviation of the still texture; a body's colour has one of 0.75; bounce."
    speed: float = 1.0
    "Factor on all speeds; at 1 they are 0.6 to 2.9 px a frame."
    frames: int = 12
    width: int = 48
    "Pixels of the line."

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is {self.kind!r}, expected one of {get_args(Kind)}")
        if self.frames < 3:
            raise ValueError(f"frames is {self.frames}, expected at least 3: two have no law")
        if not 0.5 <= self.radius <= self.width / 8:
            raise ValueError(
                f"radius is {self.radius}, expected 0.5 to width / 8 = {self.width / 8:g} px, so "
                "that two bodies have room to move"
            )
        for name, least in (("background", 0), ("speed", 0)):
            value = getattr(self, name)
            if not least <= value < float("inf"):
                raise ValueError(f"{name} is {value}, expected a finite number of at least {least}")
        if not 0 < FASTEST_PX * self.speed <= self.width / 4:
            raise ValueError(
                f"speed is {self.speed}: the fastest body moves {FASTEST_PX * self.speed:g} px a "
                f"frame, expected more than 0 and at most width / 4 = {self.width / 4:g}"
            )

    @property
    def moving_share(self) -> float:
        """Share of the pixels that move."""
        return 1.0 if self.kind == "scroll" else 2 * NUM_BODIES * self.radius / self.width

    @property
    def saturation_px(self) -> float:
        """Motion at which the motion video's colour saturates, just above the fastest body's."""
        return _SATURATION_PX * self.speed


class Clips(NamedTuple):
    """A batch of clips."""

    frames: Float[Tensor, "n f 1 w 3"]
    "RGB around 0, not clipped: a still texture may be louder than a screen could show."
    flow: Float[Tensor, "n f-1 2 1 w"]
    "Exact, px from frame k to k + 1, x right; the mean over a pixel's width, so edges are smooth."
    captions: Int[Tensor, "n 2 3"]
    "Of each body, left one first: places in WORDS."
    positions: Float[Tensor, "n f 2"]
    "Centres of the bodies in px from the left edge; of scroll, how far each texture has moved."


def caption_text(caption: Int[Tensor, "2 3"]) -> str:
    """Such as "red right fast, blue left slow"."""
    bodies = caption.tolist()
    return ", ".join(
        " ".join(words[place] for words, place in zip(WORDS, body, strict=True)) for body in bodies
    )


def normal(uniform: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Standard normal numbers from uniform ones."""
    return torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))


def place(uniform: Float[Tensor, "*n"], count: int) -> Int[Tensor, "*n"]:
    """Whole numbers below count, equally likely."""
    return (uniform * count).long().clamp(max=count - 1)


def speeds_px(world: World, classes: Int[Tensor, "*n"], uniform: Float[Tensor, "*n"]) -> Tensor:
    """px a frame: a body of a class is anywhere within it."""
    return (SLOWEST_PX + FASTER_PX * classes + JITTER_PX * uniform) * world.speed


def asked_px(world: World, captions: Int[Tensor, "n 2 3"]) -> Float[Tensor, "n 2"]:
    """The middle of what a caption asks for, px a frame, right positive."""
    middle = torch.full(captions.shape[:2], 0.5, device=captions.device)
    return speeds_px(world, captions[..., 2], middle) * (2 * captions[..., 1] - 1)


def picture(frames: Float[Tensor, "*n w 3"]) -> UInt8[Tensor, "*n w 3"]:
    """For looking at: -2.2 is black, 2.2 white, and what is beyond is cut off."""
    return ((frames / 4.4 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
