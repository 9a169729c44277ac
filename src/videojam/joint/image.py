"""The frames that a clip is given: what a model is told of them, and how its pipeline is made to.

Two kinds of models (family.image). "concatenated": channels after the latents say which frames are
known and what they show, and perhaps an image encoder's embeddings; every sample has its own, kept
by preparation as the stock pipeline makes them. "blended": the first frame of the latents is the
image's, free of noise, and its tokens are told time zero. For a joint model it has 2C channels: the
image, and no motion, because an image has none. A blended model works without an image, too.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from PIL import Image as Pictures
from torch import Tensor

from videojam.joint.family import Image, ModelFamily
from videojam.joint.find_family import family_of
from videojam.joint.latents import encode_video
from videojam.motion.color import Background
from videojam.motion.pixels import motion_pixels

GIVEN = "first_frame_given"
"Beside a text's inputs: whether the first frame of the latents is free of noise, a bool a sample."


class Given(NamedTuple):
    """The frames that a clip is given, of its size."""

    first: Pictures.Image
    last: Pictures.Image | None = None

    def arguments(self) -> dict[str, Any]:
        """Under the names of the pipelines' arguments."""
        return {"image": self.first} | ({} if self.last is None else {"last_image": self.last})


def image_kind(pipe: Any, family: ModelFamily) -> Image:
    """How this pipeline's model takes an image; of Wan, TI2V alone has a time for each token."""
    return "" if family.image_if and not pipe.config.get(family.image_if) else family.image


def takes_image(pipe: Any) -> bool:
    """Whether calls of this pipeline have an image."""
    return "image" in inspect.signature(pipe.__call__).parameters


def image_pipeline(pipe: Any) -> Any:
    """The pipeline with the same components that takes an image; this one if it does.

    Raises ValueError for a model that cannot start from an image.
    """
    family = family_of(pipe.transformer)
    kind = image_kind(pipe, family)
    if kind and takes_image(pipe):
        return pipe
    if kind != "blended":
        raise ValueError(
            f"{type(pipe).__name__} with this {family.transformer} takes no image; give one to an "
            "image-to-video model (Wan I2V, Wan 2.2 TI2V, CogVideoX I2V, LTX-Video, LTX-2)"
        )
    import diffusers

    kind_of = getattr(diffusers, family.image_pipeline)
    wanted = inspect.signature(kind_of.__init__).parameters
    config = {name: pipe.config[name] for name in wanted if name in pipe.config}
    parts = {name: part for name, part in pipe.components.items() if name in wanted}
    made = kind_of(**config | parts)
    made._progress_bar_config = getattr(pipe, "_progress_bar_config", {})
    return made


def check_frames(family: ModelFamily, last: bool) -> None:
    """ValueError for a last frame that a model does not take, or is missing."""
    if last and not family.last_image:
        raise ValueError(
            f"this {family.transformer} takes no last frame beside the first; Wan's first-last-"
            "frame model (FLF2V) and Wan 2.2 I2V do"
        )
    if not last and family.last_image == "must":
        raise ValueError(
            f"this {family.transformer} goes from a first frame to a last one, and no last one is "
            "given (last_image=, --last-image; videojam prepare --last-frame)"
        )


def still_motion(
    vae: Any, height: int, width: int, background: str = "black"
) -> Float[Tensor, "1 c 1 h w"]:
    """Latents of one frame of no motion: the motion half of a first frame that is given."""
    still = motion_pixels(torch.zeros(1, 2, height, width), background=cast(Background, background))
    return encode_video(vae, still[None, :, :1])


@contextmanager
def joint_first_frame(pipe: Any, family: ModelFamily, background: str = "black") -> Iterator[None]:
    """Within, a pipeline that is given an image, or a clip to edit, takes latents of 2C channels.

    Nothing changes for pipelines that do so anyway, nor within another such block.
    """
    put = family.first_frame
    given = (image_kind(pipe, family) and takes_image(pipe)) or family.control_always
    if put is None or not given or "prepare_latents" in pipe.__dict__:
        yield
        return

    def still(height: int, width: int) -> Tensor:
        return still_motion(pipe.vae, height, width, background)

    pipe.__dict__["prepare_latents"] = put(pipe, pipe.prepare_latents, still)
    try:
        yield
    finally:
        del pipe.__dict__["prepare_latents"]


@contextmanager
def of_size(pipe: Any, family: ModelFamily, height: int, width: int) -> Iterator[None]:
    """Within, a pipeline that would choose a size by its image's shape takes this one."""
    if not family.size_of_image:
        yield
        return
    chosen = pipe.video_processor.__dict__
    chosen["calculate_default_height_width"] = lambda *_, **__: (height, width)
    try:
        yield
    finally:
        del chosen["calculate_default_height_width"]


def without_image(condition: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a sample is given whose image is dropped: nothing known, nothing shown."""
    return {name: torch.zeros_like(value) for name, value in condition.items()}
