"""A complete comparison of the embedded models and a faulty folder of clips, killed and shared.

    python benchmarks/comparison_killed.py --out runs/comparison-killed

Base, control and VideoJAM on captions of the Motion Lab (development seed), beside the lab's own
clips of them as clips from elsewhere, of which one is missing, one doubled, one shorter and one at
30 frames a second. Done by one process undisturbed; killed by SIGKILL at random moments and started
again; and by two processes, also killed. All clips and rows have to be those of the first, byte for
byte. Leaves the first run's report in OUT/straight.
"""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from record import record
from videojam.embedded.shipped import embedded
from videojam.evaluation.clips.judged import true_clips
from videojam.evaluation.experiments.lab_models import held_out_lab
from videojam.lab.clips import Lab, lab_scene
from videojam.media.video import write_video

SEED = 1000


@dataclass(frozen=True, kw_only=True)
class Killed:
    """How large, and how often killed."""

    out: Path
    prompts: int = 19
    "One of every scene type."
    steps: int = 4
    kills: int = 8
    "Of the run of one process; that of two is killed half as often."
    seed: int = 0


def write_prompts(path: Path, lab: Lab, prompts: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "category", "scene"])
        for number in range(prompts):
            scene, _ = lab_scene(lab, number)
            writer.writerow([scene.caption, scene.kind, scene.type])


def write_elsewhere(folder: Path, lab: Lab, prompts: int) -> None:
    """The lab's clips: one missing, one doubled, one shorter, one at 30 frames a second."""
    folder.mkdir(parents=True)
    for number, made in enumerate(true_clips(lab, range(prompts))):
        frames, fps = made.video, lab.fps
        if number == 1:
            continue
        if number == 2:
            write_video(folder / f"{number:03d}-0.mp4", frames, fps)
        if number == 3:
            frames = frames[: len(frames) * 2 // 3]
        if number == 4:
            fps = 30.0
            times = torch.arange(int(len(frames) * fps / lab.fps)) * lab.fps / fps
            frames = frames[times.long()]
        write_video(folder / f"{number:03d}.mp4", frames, fps)


def command(args: Killed, out: Path, processes: int) -> list[str]:
    names = ("base", "control", "videojam")
    systems = [*(f"{name}=embedded:{name}" for name in names), f"lab={args.out / 'elsewhere'}"]
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [
        sys.executable, *(launch if processes > 1 else []), "-m", "videojam.cli.main",
        "evaluate", "compare", "--out", str(out), "--systems", *systems,
        "--prompts", str(args.out / "prompts.csv"), "--device", "cpu",
        "--num-inference-steps", str(args.steps), "--text-scale", "2.5",
    ]  # fmt: skip


def start(args: Killed, out: Path, processes: int) -> subprocess.Popen:
    surroundings = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    with (args.out / f"{out.name}.log").open("a") as log:
        return subprocess.Popen(
            command(args, out, processes), env=surroundings, start_new_session=True,
            stdout=log, stderr=log,
        )  # fmt: skip


def result_of(out: Path) -> dict[Path, bytes]:
    """Clips, in the common form and as they were made, and rows."""
    return {
        path.relative_to(out): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.suffix == ".mp4" or path.name == "rows.jsonl"
    }


def files_in(out: Path) -> int:
    return sum(path.is_file() for path in out.rglob("*")) if out.is_dir() else 0


def killed(args: Killed, out: Path, processes: int, kills: int, files: int) -> list[int]:
    """Kill each time so many files more are there, then let it end; gives how many files there were
    at each kill. The whole group, which of several processes is the launcher: its workers live on.
    """
    rng = random.Random(f"{args.seed} {processes}")
    moments = sorted(rng.sample(range(1, files), kills))
    counts = []
    for moment in moments:
        process = start(args, out, processes)
        while process.poll() is None and files_in(out) < moment:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.5))
        assert process.poll() is None, f"it ended before file {moment}; see its log"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        counts.append(files_in(out))
        print(f"killed at {counts[-1]} of {files} files", flush=True)
    assert start(args, out, processes).wait() == 0, f"see {args.out / out.name}.log"
    return counts


def main(args: Killed) -> None:
    torch.set_num_threads(1)
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    lab = held_out_lab(embedded("videojam"), SEED)
    write_prompts(args.out / "prompts.csv", lab, args.prompts)
    write_elsewhere(args.out / "elsewhere", lab, args.prompts)
    began = time.monotonic()
    straight = args.out / "straight"
    assert start(args, straight, 1).wait() == 0, f"see {straight}.log"
    seconds = time.monotonic() - began
    expected, files = result_of(straight), files_in(straight)
    print(f"straight: {len(expected)} clips and rows, {seconds:.0f} s", flush=True)
    figures: dict[str, Any] = {
        "prompts": args.prompts, "steps": args.steps, "clips_and_rows": len(expected),
        "seconds_undisturbed": round(seconds, 1),
    }  # fmt: skip
    for processes, kills in ((1, args.kills), (2, 0), (2, args.kills // 2)):
        out = args.out / f"processes-{processes}-kills-{kills}"
        counts = killed(args, out, processes, kills, files)
        found = result_of(out)
        differing = [str(p) for p in {*found, *expected} if found.get(p) != expected.get(p)]
        figures[out.name] = {"files_at_kills": counts, "of_files": files, "differing": differing}
        print(out.name, figures[out.name], flush=True)
    notes = json.loads((straight / "results.json").read_text())["figures"]["notes"]
    figures["notes"] = [note.replace(str(args.out), "OUT") for note in notes]
    print(record("comparison_killed", figures).read_text())


if __name__ == "__main__":
    main(tyro.cli(Killed))
