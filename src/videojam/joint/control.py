"""The control clips that samples follow: depth, poses, edges, or a clip to be filled in.

Where the mask is white, by default everywhere, the sample is made anew and the control says how;
where it is black the control is the sample, which keeps it. The transformer is given what its stock
pipeline makes of both (family.control_inputs). What it makes of no control is not zeros: WanVACE's
takes a gray clip with a white mask then. An editor (Lucy-Edit) is always given a clip, and makes of
it what the prompt asks for: channels after the latents, and no mask.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from videojam.joint.family import ModelFamily
from videojam.joint.find_family import family_of
from videojam.joint.first_call import blank_latents, first_call
from videojam.joint.inputs import channels_after
from videojam.joint.sizes import Size
from videojam.joint.text import Text


class Control(NamedTuple):
    """A clip, and where it is followed and not kept: for each frame, or the same in all."""

    video: UInt8[Tensor, "f h w 3"]
    mask: Bool[Tensor, "_ h w"] | None = None

    def arguments(self, family: ModelFamily) -> dict[str, Any]:
        """Under the names of the pipeline's arguments; the mask is white (255) or black.

        Raises ValueError for a mask that the model does not take.
        """
        video, mask = family.control_arguments
        if self.mask is not None and not mask:
            raise ValueError(
                f"{' or '.join(family.pipelines)} takes no mask beside its clip; leave it out"
            )
        found: dict[str, Any] = {video: [Image.fromarray(frame) for frame in self.video.numpy()]}
        if self.mask is not None:
            white = self.mask.expand(len(self.video), -1, -1).numpy().astype(np.uint8) * 255
            found[mask] = [Image.fromarray(frame) for frame in white]
        return found


def check_takes_control(family: ModelFamily) -> None:
    """ValueError for a model that takes no control clip."""
    if not family.control_inputs:
        raise ValueError(
            f"this {family.transformer} takes no control clip; give one to a model that does "
            "(WanVACE, Lucy-Edit)"
        )


def white_where_bright(frames: UInt8[Tensor, "f h w 3"]) -> Bool[Tensor, "f h w"]:
    """A mask of its pictures: white or black, whatever compression and scaling did to edges."""
    return frames.float().mean(-1) > 127.5


def control_inputs(
    pipe: Any,
    control: Control,
    size: Size,
    family: ModelFamily | None = None,
    transformer: Any = None,
) -> Text:
    """The inputs of the transformer for a control of the clip's size, unbatched.

    As the stock pipeline makes them; transformer: default its own. Raises ValueError for a model
    that takes none.
    """
    transformer = transformer or pipe.transformer
    family = family or family_of(transformer)
    check_takes_control(family)
    latents = blank_latents(pipe, family, transformer, 1, size)
    found = first_call(
        pipe, family, transformer, [""], size, latents=latents, **control.arguments(family)
    )
    own = channels_after(found, pipe, transformer, family, size)
    own |= {name: found[name][0] for name in family.control_inputs if name in found}
    return {name: own[name].detach().cpu().clone() for name in family.control_inputs}
