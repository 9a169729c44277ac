"""What a preparation will cost: one clip of each size is made and timed, and thrown away."""

import time
from collections.abc import Sequence

import numpy as np

from videojam.data.prepare.config import PrepareConfig, reading_of
from videojam.data.prepare.encode import Encoded, Encoders, Job, encode_clips
from videojam.data.prepare.report import Report
from videojam.data.prepare.rows import Rows, planned, task
from videojam.data.prepare.stages import ClipData, load_clip
from videojam.data.source.manifest import Entry
from videojam.motion.flow import FlowEstimator


def price(
    config: PrepareConfig,
    rows: Rows,
    entries: Sequence[Entry],
    encoders: Encoders,
    estimator: FlowEstimator,
) -> dict[str, float]:
    """Hours on this machine and GiB for the clips of these videos that are not there yet.

    Workers and the encoder work side by side, so the slower of both decides.
    """
    shapes = np.stack([rows.plan[name].to_numpy() for name in ("height", "width")], axis=1)
    todo = np.flatnonzero(~rows.done)
    kinds, which = np.unique(shapes[rows.video[todo]], axis=0, return_inverse=True)
    loading_s = encoding_s = num_bytes = 0.0
    by_path = {entry.path: entry for entry in entries}
    for kind in range(len(kinds)):
        of_kind = todo[which.reshape(-1) == kind]
        for row in planned(rows, of_kind[:5]):
            work = task(row, config.videos, reading_of(config), by_path[row.path])
            clip = load_clip(work, estimator)
            if isinstance(clip, ClipData):
                begin = time.perf_counter()
                job = Job(row, work, keep=True, show=False)
                (encoded,) = encode_clips([job], [clip], config, encoders, Report())
                encoding_s += len(of_kind) * (time.perf_counter() - begin)
                loading_s += len(of_kind) * (clip.decode_s + clip.flow_s)
                num_bytes += len(of_kind) * _num_bytes(encoded)
                break
    workers = config.num_workers
    seconds = max(loading_s / workers, encoding_s) if workers else loading_s + encoding_s
    return {"hours": seconds / 3600, "gib": num_bytes / 2**30}


def _num_bytes(encoded: Encoded) -> int:
    parts = [encoded.x, encoded.d, *(encoded.image or {}).values()]
    return sum(part.nbytes for part in parts if part is not None)
