"""Small videos written for tests, and encoders in place of a model."""

import sys
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from videojam.data import dataset
from videojam.data.captions import texts_path
from videojam.data.prepare.encode import Encoders
from videojam.data.prepare.prepare import PrepareConfig, prepare, samples_path
from videojam.data.prepare.report import Report


def gray_frames(count: int, height: int = 32, width: int = 48, step: int = 4) -> np.ndarray:
    """Frame k is evenly gray with value k * step: a pixel tells which frame it is."""
    values = np.arange(count) * step
    assert values.max() < 256
    return np.broadcast_to(
        values[:, None, None, None].astype(np.uint8), (count, height, width, 3)
    ).copy()


def moving_square(
    count: int, height: int = 64, width: int = 96, speed: int = 2, seed: int = 0
) -> np.ndarray:
    """A textured square moves by `speed` pixels per frame, to and fro, over a still texture."""
    rng = np.random.default_rng(seed)
    background = rng.integers(60, 120, (height, width, 3), dtype=np.uint8)
    square = rng.integers(120, 250, (height // 2, height // 2, 3), dtype=np.uint8)
    frames = np.repeat(background[None], count, axis=0)
    for k in range(count):
        room = width - square.shape[1]
        left = room - abs(room - (k * speed) % (2 * room))
        frames[k, height // 4 : height // 4 + len(square), left : left + square.shape[1]] = square
    return frames


def write(
    path: Path,
    frames: np.ndarray,
    *,
    fps: Fraction | int = 30,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 1000),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    transfer: int | None = None,
    format: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode nearly without loss; with pts, at exactly those times in time_base (VFR)."""
    options = {"crf": "4", "preset": "ultrafast"} if options is None else options
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
        if transfer is not None:
            stream.codec_context.color_trc = transfer
        if rotation:
            stream.set_display_rotation(rotation)
        if pts is not None:
            stream.time_base = stream.codec_context.time_base = time_base
        for k, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[k], time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def captioned(path: Path, frames: np.ndarray, caption: str, **options: object) -> Path:
    """The same, with its caption beside it."""
    write(path, frames, **options)
    path.with_suffix(".txt").write_text(caption)
    return path


def encode_video(pixels: Tensor) -> Tensor:
    """Average pooling in the VAE's compression: 4n + 1 frames -> n + 1, 8 x 8 pixels -> 1."""
    pool = torch.nn.functional.avg_pool3d
    first = pool(pixels[:, :, :1], (1, 8, 8))
    return torch.cat([first, pool(pixels[:, :, 1:], (4, 8, 8))], dim=2)


def encode_text(captions: list[str]) -> list[dict[str, Tensor]]:
    """One token of width 4 per word, from its letters; one zero token for no words; and a mask."""
    texts = []
    for caption in captions:
        words = [[ord(letter) / 256 for letter in word[:4].ljust(4)] for word in caption.split()]
        embedding = torch.tensor(words or [[0.0] * 4])
        texts.append(
            {"embedding": embedding, "mask": torch.ones(len(embedding), dtype=torch.int64)}
        )
    return texts


def tiny_config(videos: Path, output: Path, **changes: Any) -> PrepareConfig:
    """Clips of 9 frames at 10 frames/s, 32 x 48, in this process, each sample committed."""
    options: dict[str, Any] = {
        "sizes": ((32, 48),),
        "fps": 10.0,
        "num_frames": 9,
        "num_workers": 0,
        "commit_s": 0.0,
        "previews": 2,
    }
    return PrepareConfig(videos=videos, out=output, **(options | changes))


def run(
    config: PrepareConfig,
    estimator: Callable[[Tensor], Tensor] | None = None,
    runner: Any = None,
) -> Report:
    """prepare with the encoders of this file."""
    return prepare(
        config,
        encode_video=encode_video,
        encode_text=encode_text,
        estimator=estimator or shift_flow,
        console=Console(quiet=True),
        runner=runner,
    )


def encoders() -> Encoders:
    """The same for a cluster."""
    return Encoders(encode_video, encode_text, torch.device("cpu"))


def table(output: Path) -> list[dict[str, Any]]:
    """All rows with all their bytes, and of their captions the first."""
    path = samples_path(output)
    rows = dataset.open_dataset(path).to_table().to_pylist()
    texts: dict[str, dict[str, Any]] = {}
    for text in dataset.open_dataset(texts_path(path)).to_table().to_pylist():
        texts.setdefault(text["text_key"], text)
    for row in rows:
        text = texts[row["text_key"]]
        row |= {"caption": text["caption"], "text": text["text"]}
    return rows


def shift_flow(clip: Tensor) -> Tensor:
    """An estimator that costs nothing: (1, 0) everywhere, times the mean of the first frame."""
    flow = torch.zeros(len(clip) - 1, 2, *clip.shape[1:3])
    flow[:, 0] = clip[0].float().mean() / 64
    return flow


if __name__ == "__main__":  # for tests that kill: videos, output, workers, pause, perhaps a shard
    videos_folder, output_folder, workers, pause_s, *rest = sys.argv[1:]

    def slow_encode_video(pixels: Tensor) -> Tensor:
        time.sleep(float(pause_s))
        return encode_video(pixels)

    print("ready", flush=True)
    prepare(
        tiny_config(
            Path(videos_folder),
            Path(output_folder),
            num_workers=int(workers),
            commit_samples=2,
            shard=rest[0] if rest else None,
        ),
        encode_video=slow_encode_video,
        encode_text=encode_text,
        estimator=shift_flow,
        console=Console(quiet=True),
    )
