"""flow_to_rgb against a straightforward per-frame NumPy version, side by side in one run.

python benchmarks/flow_to_rgb.py
"""

import statistics
import time

import cv2
import numpy as np
import torch

from record import record
from videojam import flow_to_rgb

SHAPES = {"81 x 480 x 832": (81, 480, 832), "33 x 128 x 128": (33, 128, 128)}


def numpy_version(flow: np.ndarray, sigma: float = 0.15) -> np.ndarray:
    """Frame by frame through OpenCV's HSV conversion, as one writes it first."""
    frames = []
    for dx, dy in flow:
        limit = sigma * np.sqrt(dx.shape[0] ** 2 + dx.shape[1] ** 2)
        magnitude = np.minimum(1, np.sqrt(dx**2 + dy**2) / limit)
        degrees = np.degrees(np.arctan2(dy, dx)) % 360
        hsv = np.stack([degrees, np.ones_like(magnitude), magnitude], axis=-1)
        frames.append(cv2.cvtColor(hsv.astype(np.float32), cv2.COLOR_HSV2RGB).transpose(2, 0, 1))
    return np.stack(frames)


def main() -> None:
    torch.set_num_threads(2)
    figures = {}
    for name, (frames, height, width) in SHAPES.items():
        flow = 5 * torch.randn(frames, 2, height, width, generator=torch.Generator().manual_seed(0))
        ours, theirs = flow_to_rgb(flow).numpy(), numpy_version(flow.numpy())
        seconds: dict[str, list[float]] = {"videojam": [], "numpy": []}
        for _ in range(5):
            seconds["videojam"].append(_time(flow_to_rgb, flow))
            seconds["numpy"].append(_time(numpy_version, flow.numpy()))
        medians = {key: statistics.median(values) for key, values in seconds.items()}
        figures[name] = {
            "median_seconds": medians,
            "times_faster": medians["numpy"] / medians["videojam"],
            "largest_difference": float(np.abs(ours - theirs).max()),
        }
    print(record("flow_to_rgb", figures).read_text())


def _time(call, flow) -> float:
    start = time.perf_counter()
    call(flow)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
