"""The images that clips begin with: read, and cut to the clips' size."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from videojam.joint.find_family import family_of
from videojam.joint.sizes import compression, patch


def read_image(image: Any) -> Image.Image:
    """An RGB image of a path, a PIL image, or uint8 (H, W, 3); turned as its EXIF says.

    What is transparent is black. Raises ValueError for what is no image.
    """
    if isinstance(image, torch.Tensor):
        image = image.cpu().numpy()
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"the image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
        return Image.fromarray(image)
    if isinstance(image, str | Path):
        try:
            image = Image.open(image)
            image.load()
        except (OSError, ValueError) as error:
            raise ValueError(f"{image} cannot be read as an image: {error}") from error
    if not isinstance(image, Image.Image):
        raise ValueError(
            f"the image is a {type(image).__name__}, expected a path, a PIL image, or uint8 "
            "(H, W, 3)"
        )
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return image.convert("RGB")


def fitted(image: Image.Image, height: int, width: int) -> Image.Image:
    """Scaled to cover a size, and cut to it about the middle: nothing is stretched."""
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def size_of_image(pipe: Any, image: Image.Image, area: int) -> tuple[int, int]:
    """(height, width) that the model can make, of an image's shape and about this many pixels.

    Of the sizes whose sides are multiples of what the model needs, the one whose shape is nearest
    of those with at most `area` pixels, but for one multiple a side.
    """
    family = family_of(pipe.transformer)
    spatial, (_, rows, columns) = compression(pipe)[1], patch(pipe.transformer)
    tall = math.lcm(spatial * rows, family.pixel_multiple)
    wide = math.lcm(spatial * columns, family.pixel_multiple)
    height = math.sqrt(area * image.height / image.width)
    height = max(int(height / tall + 1e-6), 1) * tall
    width = max(round(height * image.width / image.height / wide), 1) * wide
    return height, width
