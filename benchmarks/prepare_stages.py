"""CPU seconds of preparing the real clips, by stage: another tree and this one, taking turns.

    git archive a7454bd | tar -x -C BEFORE
    python benchmarks/prepare_stages.py CLIPS --before BEFORE --repeats 2

Two clips of every video, 17 frames at 64 x 64 and 12 frames/s, the embedded base's VAE and text
encoder, DIS; one process, one thread. The stages' own clock is replaced by the one that counts the
CPU time of the process, so that other work on the machine does not count.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]


def child(videos: Path, output: Path) -> None:
    """One preparation with whatever videojam is on the path; prints its stages."""
    time.perf_counter = time.process_time
    import cv2
    import torch

    from videojam.cli.default_model import default_model
    from videojam.data.prepare.config import PrepareConfig
    from videojam.motion.estimators.dis import DIS
    from videojam.workflow.prepare import prepare_dataset

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    config = PrepareConfig(
        videos=videos,
        captions=videos / "captions.jsonl",
        out=output,
        model=str(default_model("base")),
        sizes=((64, 64),),
        fps=12.0,
        num_frames=17,
        max_clips_per_video=2,
        num_workers=0,
        previews=0,
    )
    imported = time.process_time()
    report = prepare_dataset(config, DIS(), "cpu", torch.float32)
    stages = {name: round(seconds, 2) for name, seconds in report.seconds.items()}
    stages.pop("waiting for workers", None)
    frames = {name: number for name, number in report.frames.items() if number}
    all_s = round(time.process_time() - imported, 2)
    print(json.dumps({"clips": report.prepared, "s": all_s, "stages": stages, "frames": frames}))


def run(tree: Path, videos: Path) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", __file__, str(videos), "--child", folder]
        done = subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
    return json.loads(done.stdout.splitlines()[-1])


def main(videos: Path, before: Path, repeats: int) -> None:
    from record import record

    figures: dict[str, Any] = {"before": [], "now": []}
    for _ in range(repeats):
        for name, tree in (("before", before), ("now", HERE)):
            figures[name].append(run(tree, videos))
            print(name, figures[name][-1], flush=True)
    print(record("prepare_stages", figures).read_text())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.videos, options.child)
    else:
        main(options.videos, options.before, options.repeats)
