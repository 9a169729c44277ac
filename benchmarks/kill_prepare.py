"""Kill a preparation with SIGKILL at random moments; compare with an undisturbed one.

COMMAND: python benchmarks/kill_prepare.py ../shared/clips --kills 20
Real clips, worker processes, stand-in encoders (average pooling) that take 50 ms per call. Every
kill hits the whole process group, after a random part of the time of an undisturbed run. After
each kill the rows there must be the first rows of the undisturbed run, byte for byte; at the end
all of them, in the same order. Writes results/kill_prepare.json.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

from record import record
from videojam.data import dataset
from videojam.data.prepare.prepare import PrepareConfig, prepare, samples_path
from videojam.motion.estimators.dis import DIS

PAUSE_S = 0.05


def encode_video(pixels: torch.Tensor) -> torch.Tensor:
    time.sleep(PAUSE_S)
    pool = torch.nn.functional.avg_pool3d
    first = pool(pixels[:, :, :1], (1, 8, 8))
    return torch.cat([first, pool(pixels[:, :, 1:], (4, 8, 8))], dim=2)


def encode_text(captions: list[str]) -> list[dict[str, torch.Tensor]]:
    return [
        {"letters": torch.tensor([[float(ord(c))] for c in caption or " "])} for caption in captions
    ]


def child(videos: Path, output: Path) -> None:
    prepare(
        PrepareConfig(
            videos=videos,
            out=output,
            captions=videos / "captions.jsonl",
            sizes=((128, 224), (160, 208)),
            fps=12.0,
            num_frames=9,
            num_workers=2,
            commit_samples=3,
            commit_s=1.0,
            previews=3,
        ),
        encode_video=encode_video,
        encode_text=encode_text,
        estimator=DIS("ultrafast"),
        console=Console(quiet=True),
    )


def rows_of(output: Path) -> list[str]:
    """A hash of each whole row, in order."""
    path = samples_path(output)
    if not dataset.exists(path):
        return []
    rows = dataset.open_dataset(path).to_table().to_pylist()
    return [hashlib.sha256(repr(sorted(row.items())).encode()).hexdigest() for row in rows]


def start(videos: Path, output: Path) -> subprocess.Popen:
    command = [sys.executable, __file__, str(videos), "--child", str(output)]
    return subprocess.Popen(command, start_new_session=True)


def main(videos: Path, kills: int, seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        begin = time.perf_counter()
        assert start(videos, whole).wait() == 0
        whole_s = time.perf_counter() - begin
        expected = rows_of(whole)
        counts, wrong, rounds = [], 0, 0
        output = Path(folder) / "killed-0"
        while len(counts) < kills:
            process = start(videos, output)
            try:
                process.wait(rng.uniform(0, whole_s / 2))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                rows = rows_of(output)
                wrong += rows != expected[: len(rows)]
                counts.append(len(rows))
                print(f"kill {len(counts)}: {len(rows)} of {len(expected)} rows", flush=True)
            else:  # it completed: compare, and begin another
                assert process.returncode == 0
                wrong += rows_of(output) != expected
                rounds += 1
                output = Path(folder) / f"killed-{rounds}"
        assert start(videos, output).wait() == 0
        wrong += rows_of(output) != expected
        result = {
            "kills": kills,
            "rows": len(expected),
            "rows_after_each_kill": counts,
            "complete_runs": rounds + 1,
            "differences": wrong,
            "undisturbed_s": round(whole_s, 1),
            "seed": seed,
        }
    print(record("kill_prepare", result).read_text())
    sys.exit(bool(wrong))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.videos, options.child)
    else:
        main(options.videos, options.kills, options.seed)
