"""Exact flow from given fields, for simulated clips."""

from dataclasses import dataclass

from jaxtyping import Float, UInt8
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Exact:
    """The flow of one clip, known beforehand: (F-1, 2, H, W) in pixels of that clip."""

    flow: Float[Tensor, "n 2 h w"]

    def __call__(self, clip: UInt8[Tensor, "f h w 3"]) -> Float[Tensor, "f-1 2 h w"]:
        """The given fields. ValueError if they are those of a clip of another shape."""
        expected = (clip.shape[0] - 1, 2, clip.shape[1], clip.shape[2])
        if tuple(self.flow.shape) != expected:
            raise ValueError(
                f"the given flow has shape {tuple(self.flow.shape)}, but this clip of "
                f"{clip.shape[0]} frames needs {expected}; give each clip its own fields"
            )
        return self.flow.float()
