"""Looking at a preparation before paying for training: small videos and one contact sheet."""

import hashlib
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from videojam.data.source.decode import decode, scan
from videojam.data.source.geometry import resize
from videojam.media.video import side_by_side, write_video
from videojam.motion.color import brighter

_HEIGHT = 240  # pixels, of a preview video
_COLUMNS = 5  # frames of the clip, and as many motion frames, in a row of the sheet
_CELL = 180  # pixels, width of a frame in the sheet
_BAND = 44  # pixels, height of the caption band
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class Shown(NamedTuple):
    """A sample in the contact sheet."""

    key: str
    caption: str
    note: str  # second line: sizes, times, flow


def preview_path(folder: Path, key: str) -> Path:
    """A readable file name for a key; the hash keeps a/b and a_b apart."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", key)[-80:]
    return folder / f"{name}_{hashlib.sha256(key.encode()).hexdigest()[:8]}.mp4"


def preview_frames(
    frames: UInt8[np.ndarray, "f h w 3"], motion: UInt8[np.ndarray, "f h w 3"]
) -> UInt8[np.ndarray, "f rows columns 3"]:
    """The clip, left, beside its motion video, right, at most 240 pixels high."""
    height, width = frames.shape[1:3]
    rows = min(_HEIGHT, height) // 2 * 2
    size = (rows, round(width * rows / height / 2) * 2)
    both = [
        torch.from_numpy(np.stack([resize(frame, size) for frame in clip]))
        for clip in (frames, motion)
    ]
    return side_by_side(*both).numpy()


def write_preview(
    path: Path,
    frames: UInt8[np.ndarray, "f h w 3"],
    motion: UInt8[np.ndarray, "f h w 3"],
    fps: float,
) -> None:
    """Both as one small video."""
    write_video(path, torch.from_numpy(preview_frames(frames, motion)), fps)


def write_contact_sheet(path: Path, folder: Path, samples: Sequence[Shown]) -> None:
    """One row per sample: frames of the clip, below them their motion, above them the caption.

    Motion is shown brighter than it is (square root of its magnitude); the videos show it as it is.
    Drawn from the preview videos, so that a resumed run draws the same sheet.
    """
    rows = []
    for sample in samples:
        file = preview_path(folder, sample.key)
        if file.is_file():
            rows.append(_row(file, sample))
    if rows:
        sheet = np.concatenate(rows)
        part = path.with_name("part." + path.name)
        if not cv2.imwrite(str(part), sheet[..., ::-1]):
            raise OSError(f"could not write {part}")
        part.replace(path)


def _brighter(motion: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The background is white where most of the picture is bright."""
    background = "white" if np.median(motion) > 127 else "black"
    return brighter(torch.from_numpy(motion), background).numpy()


def _row(file: Path, sample: Shown) -> UInt8[np.ndarray, "h w 3"]:
    pts = scan(file).pts
    chosen = np.linspace(0, len(pts) - 1, _COLUMNS).round().astype(int)
    pairs = decode(file, [pts[k] for k in chosen], lambda frame: frame)
    height, width = pairs[0].shape[0], pairs[0].shape[1] // 2
    size = (round(_CELL * height / width), _CELL)
    clip = np.concatenate([resize(pair[:, :width], size) for pair in pairs], axis=1)
    motion = np.concatenate([_brighter(resize(pair[:, width:], size)) for pair in pairs], axis=1)
    return np.concatenate([_caption(sample, clip.shape[1]), clip, motion])


def _caption(sample: Shown, width: int) -> UInt8[np.ndarray, "h w 3"]:
    band = np.full((_BAND, width, 3), 255, dtype=np.uint8)
    # The built-in font has ASCII only; a caption in another script shows as question marks.
    lines = [
        textwrap.shorten(sample.caption, width=width // 7, placeholder=" ..."),
        f"{sample.key}   {sample.note}   (motion brightened)",
    ]
    for line, text in enumerate(lines):
        text = text.encode("ascii", "replace").decode()
        place = (4, 17 + 18 * line)
        cv2.putText(band, text, place, _FONT, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return band
