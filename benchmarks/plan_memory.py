"""Seconds and peak memory of a plan of many clips: scans read, rows planned, resume, buckets.

    python benchmarks/plan_memory.py 100000 1000000 10000000

Synthetic scans of videos with ten clips of 81 frames each; every second clip is prepared already.
Rows have everything but latents. Each stage runs in a process of its own.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa

from record import record
from videojam.data import dataset, loader
from videojam.data.prepare.plan import _digest, pack_pts
from videojam.data.prepare.plan import _read as read_scans
from videojam.data.prepare.rows import plan_rows, planned, prepared_rows
from videojam.data.prepare.stages import PlanOptions
from videojam.data.source.decode import Reading

CLIPS, FRAMES = 10, 81
OPTIONS = PlanOptions(((480, 832),), 16.0, FRAMES, None, None, 0.99, 1.05, Reading())


def make(folder: Path, clips: int) -> None:
    """scans.jsonl and the rows of every second clip."""
    steps = np.round(np.arange(CLIPS * FRAMES) / 16 * 30) * 512
    line = {
        "source_bytes": 10**7, "modified_ns": 1, "options": _digest(OPTIONS), "num_frames": 1520,
        "duration_s": 50.6, "source_fps": 30.0, "pixel_aspect": 1.0, "height": 480, "width": 832,
        "starts_s": [k * FRAMES / 16 for k in range(CLIPS)],
        "pts": pack_pts(steps.astype(int).reshape(CLIPS, FRAMES).tolist()), "dropped": [],
    }  # fmt: skip
    rest = json.dumps(line)[1:]
    with (folder / "scans.jsonl").open("w") as file:
        for number in range(clips // CLIPS):
            file.write(f'{{"path": "videos/clip-{number:08d}.mp4", {rest}\n')
    schema = dataset._SCHEMA
    for start in range(0, clips, 10**6):
        numbers = np.arange(start, min(start + 10**6, clips), 2)
        count = len(numbers)
        sources = pa.array([f"videos/clip-{n // CLIPS:08d}.mp4" for n in numbers])
        values = {
            "key": pa.array([f"videos/clip-{n // CLIPS:08d}.mp4#{n % CLIPS:04d}" for n in numbers]),
            "source": sources, "source_bytes": np.full(count, 10**7),
            "clip_index": (numbers % CLIPS).astype(np.int32),
            "start_s": (numbers % CLIPS) * FRAMES / 16, "split": pa.array(["train"] * count),
            "height": np.full(count, 480, np.int32), "width": np.full(count, 832, np.int32),
            "frames": np.full(count, FRAMES, np.int32), "fps": np.full(count, 16.0),
            "source_fps": np.full(count, 30.0), "flow_mean_px": np.ones(count),
            "flow_saturated": np.zeros(count), "x": pa.array([b""] * count, pa.large_binary()),
            "d": pa.array([b""] * count, pa.large_binary()),
            "latent_shape": pa.array([[1]] * count, pa.list_(pa.int32())),
            "latent_dtype": pa.array(["float16"] * count), "checksum": np.zeros(count, np.int64),
            "text_key": sources,
        }  # fmt: skip
        rows = pa.table(values, schema=schema)
        path = folder / "samples.lance"
        lance.write_dataset(rows, str(path), mode="append" if path.exists() else "create")


def stage(name: str, folder: Path) -> None:
    """Run one stage; print seconds by the clock and of the CPU, which other work on the machine
    does not change, peak memory of it in MiB above the imports, and rows."""
    samples = folder / "samples.lance"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, cpu_begin = time.perf_counter(), time.process_time()
    if name == "plan and resume":
        plan = read_scans(folder / "scans.jsonl")
        rows = plan_rows(plan, prepared_rows(samples), holdout=(), holdout_videos=0, seed=0)
        first = next(planned(rows, np.flatnonzero(~rows.done)[:1]))
        found = [len(rows.video), int(rows.done.sum()), first.clip_index]
    elif name == "contact sheet":
        found = [len(dataset.first_clips(samples, ("key", "split", "flow_mean_px"), 16))]
    else:
        buckets = loader.find_buckets(samples)
        found = [sum(map(len, buckets.values()))]
    seconds = {
        "s": round(time.perf_counter() - begin, 2),
        "cpu_s": round(time.process_time() - cpu_begin, 2),
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**seconds, "mib": round((peak - before) / 1024), "rows": found}))


def main(counts: list[int]) -> None:
    result: dict[str, dict] = {}
    for clips in counts:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, __file__, "--make", folder, str(clips)], check=True)
            for name in ("plan and resume", "contact sheet", "buckets"):
                command = [sys.executable, __file__, "--stage", name, folder]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                result.setdefault(f"{clips}", {})[name] = json.loads(done.stdout)
                print(clips, name, done.stdout.strip(), flush=True)
    print(record("plan_memory", result).read_text())


if __name__ == "__main__":
    if sys.argv[1] == "--make":
        make(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1] == "--stage":
        stage(sys.argv[2], Path(sys.argv[3]))
    else:
        main([int(count) for count in sys.argv[1:]])
