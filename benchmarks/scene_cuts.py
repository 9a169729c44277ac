"""Precision and recall of the cut detector on known cuts: real clips, cut up and joined.

COMMAND: python benchmarks/scene_cuts.py ../shared/clips
A cut is where one clip follows another, at full frame rate. Single clips have no cut, so any
found in them is false. Joined on 64 x 36 thumbnails, which is what the detector sees. Cuts inside
one clip (a jump to another time of the same shot) are counted apart: many are hardly visible.
"""

import sys
from pathlib import Path

import numpy as np

from record import record
from videojam.data.source.decode import decode, scan
from videojam.data.source.geometry import resize
from videojam.data.source.scenes import find_cuts

SEED = 0
JOINS = 400


def main(folder: Path) -> None:
    clips = {}
    for file in sorted(folder.iterdir()):
        if file.suffix in (".mp4", ".mkv"):
            pts = scan(file).pts
            frames = decode(file, pts, lambda frame: resize(frame, (36, 64)))
            clips[file.name] = np.stack(frames).astype(np.int16)
    slow = {name: find_cuts(changes(clip[::3])) for name, clip in clips.items()}
    inside = {name: find_cuts(changes(clip)) for name, clip in clips.items()}
    rng = np.random.default_rng(SEED)
    results = {
        "joins": score(clips, rng, lambda: rng.choice(list(clips), 2, replace=False)),
        "dissolves of 8 frames": score(
            clips, rng, lambda: rng.choice(list(clips), 2, replace=False), dissolve=8
        ),
        "joins at a third of the frame rate": score(
            {name: clip[::3] for name, clip in clips.items()},
            rng,
            lambda: rng.choice(list(clips), 2, replace=False),
        ),
        "jumps inside one clip": score(clips, rng, lambda: [rng.choice(list(clips))] * 2),
        "frames of single clips": sum(map(len, clips.values())),
        "false cuts in single clips": {name: cuts for name, cuts in inside.items() if cuts},
        "the same at a third of the frame rate": {
            name: cuts for name, cuts in slow.items() if cuts
        },
        "seed": SEED,
    }
    print(record("scene_cuts", results).read_text())


def changes(clip: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(clip, axis=0)).mean(axis=(1, 2, 3))


def score(clips: dict, rng: np.random.Generator, pick, dissolve: int = 0) -> dict:
    """Join two random stretches of 15 to 60 frames, JOINS times."""
    found = wrong = 0
    for _ in range(JOINS):
        first, second = pick()
        a, b = stretch(clips[first], rng), stretch(clips[second], rng)
        if dissolve:
            mix = np.linspace(0, 1, dissolve + 2)[1:-1, None, None, None]
            middle = (1 - mix) * a[-dissolve:] + mix * b[:dissolve]
            joined = np.concatenate([a[:-dissolve], middle, b[dissolve:]])
        else:
            joined = np.concatenate([a, b])
        cuts = find_cuts(changes(joined))
        found += len(a) in cuts
        wrong += len(set(cuts) - {len(a)})
    total = found + wrong
    return {"joins": JOINS, "recall": found / JOINS, "precision": found / total if total else None}


def stretch(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    length = min(int(rng.integers(15, 61)), len(clip))
    start = int(rng.integers(0, len(clip) - length + 1))
    return clip[start : start + length]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
