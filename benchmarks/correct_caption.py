"""One caption corrected among 1000 rows: seconds, and that no latents are encoded.

COMMAND: python benchmarks/correct_caption.py
1000 small synthetic videos of one clip each, stand-in encoders. The corrected run refuses to encode
video. Writes results/correct_caption.json.
"""

import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch
from rich.console import Console

from kill_prepare import encode_text
from record import record
from videojam.data.prepare.prepare import PrepareConfig, prepare
from videojam.motion.estimators.dis import DIS

ROWS = 1000


def write(path: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    picture = rng.integers(0, 255, (32, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for k in range(9):
            frame = np.ascontiguousarray(picture[:, 2 * k : 2 * k + 48])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    path.with_suffix(".txt").write_text(f"texture number {number}")


def encode_video(pixels: torch.Tensor) -> torch.Tensor:
    first = torch.nn.functional.avg_pool3d(pixels[:, :, :1], (1, 8, 8))
    rest = torch.nn.functional.avg_pool3d(pixels[:, :, 1:], (4, 8, 8))
    return torch.cat([first, rest], dim=2)


def refuse(_: torch.Tensor) -> torch.Tensor:
    raise AssertionError("latents were encoded again")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        videos = Path(folder) / "videos"
        videos.mkdir()
        for number in range(ROWS):
            write(videos / f"{number:04d}.mp4", number)
        config = PrepareConfig(
            videos=videos, out=Path(folder) / "out", sizes=((32, 48),), fps=10.0, num_frames=9,
            num_workers=0, previews=0,
        )  # fmt: skip
        seconds, reports = [], []
        for encode in (encode_video, refuse, refuse):
            begin = time.perf_counter()
            reports.append(
                prepare(
                    config,
                    encode_video=encode,
                    encode_text=encode_text,
                    estimator=DIS("ultrafast"),
                    console=Console(quiet=True),
                )
            )
            seconds.append(round(time.perf_counter() - begin, 2))
            (videos / "0500.txt").write_text("a better caption")
        figures = {
            "rows": reports[0].prepared,
            "first_run_s": seconds[0],
            "one_caption_corrected_s": seconds[1],
            "nothing_to_do_s": seconds[2],
            "captions_encoded": reports[1].captions_encoded,
            "latents_encoded": reports[1].prepared,
        }
    print(record("correct_caption", figures).read_text())


if __name__ == "__main__":
    main()
