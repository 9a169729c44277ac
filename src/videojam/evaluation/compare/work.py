"""The long part of a comparison: clips are made and measured, by any number of processes.

Everything is kept as one file for each clip, named by what it was made from, so that processes need
to know nothing of each other: each does its share of what is missing, and the first waits until all
is there. Killing any of them loses the clip it was at.
"""

import functools
import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress, track

from videojam.data.source.decode import VideoError, scan
from videojam.evaluation import metrics
from videojam.evaluation.clips.compared import Compared
from videojam.evaluation.clips.generate import (
    Sample,
    clip_path,
    generate_samples,
    missing_samples,
    with_size,
)
from videojam.evaluation.clips.imported import Key, Matched, match_clips
from videojam.evaluation.clips.normalise import (
    Form,
    Native,
    common_form,
    native_form,
    normalise,
)
from videojam.evaluation.clips.prompts import Prompt
from videojam.evaluation.metrics.enlarged import EnlargedDIS
from videojam.evaluation.metrics.table import METRICS, Seen, measure
from videojam.media.video import write_video
from videojam.motion.flow import FlowEstimator
from videojam.records.atomic import write_text
from videojam.sampling.pipeline import Sampling

_POLL_S = 0.5


class Share(NamedTuple):
    """This process among all."""

    index: int
    count: int

    def of(self, items: Sequence[Any]) -> list[Any]:
        return [*items[self.index :: self.count]]


class Clip(NamedTuple):
    """One clip of a system, wherever it came from."""

    system: str
    key: Key
    prompt: str
    path: Path
    motion: Path | None = None


class Measured(NamedTuple):
    """What was found of a clip in the common form."""

    values: dict[str, float]
    skipped: dict[str, str]
    "Metric -> why it has no value."
    native: Native | None
    num_frames: int
    "In the common form."
    error: str | None = None
    "Why the clip could not be used at all."


class Planned(NamedTuple):
    """A system with its clips: to be generated, or matched."""

    system: Compared
    sampling: Sampling | None
    clips: dict[Key, Clip]
    matched: Matched | None
    missing: list[Sample]
    "Samples that have to be generated."


def plan(
    system: Compared,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    common: Sampling,
    dtype: str,
    out: Path,
) -> Planned:
    """What a system's clips are, and which have to be made. Raises ValueError for clips in `out`
    that were made with other settings, and for folders and sizes that do not work."""
    wanted = {
        (p.number, k): Sample(p.text, seed, p.files)
        for p in prompts
        for k, seed in enumerate(seeds)
    }
    if system.kind == "clips":
        matched = match_clips(Path(system.source), prompts, len(seeds), system.mapping)
        clips = {
            key: Clip(system.name, key, wanted[key].prompt, path)
            for key, path in matched.clips.items()
        }
        return Planned(system, None, clips, matched, [])
    sampling = with_size(system, system.sampling(common))
    folder = clips_folder(out, system)
    clips = {}
    for key, sample in wanted.items():
        path = clip_path(folder, sample)
        motion = path.with_suffix(".motion.mp4") if system.kind == "joint" else None
        clips[key] = Clip(system.name, key, sample.prompt, path, motion)
    missing = missing_samples(folder, [*wanted.values()], system.made_from(sampling, dtype))
    return Planned(system, sampling, clips, None, missing)


def clips_folder(out: Path, system: Compared) -> Path:
    return out / "clips" / file_name(system.name)


def file_name(name: str) -> str:
    """A system's name as a folder: its letters, and a mark where some are lost."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-+.") else "_" for c in name)
    if plain == name and not name.startswith("."):
        return plain
    return f"{plain.lstrip('.')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def generate(planned: Planned, out: Path, share: Share, **options: Any) -> None:
    """Make this process's share of what is missing."""
    if planned.sampling is None:
        return
    mine = share.of(planned.missing)
    if not mine:
        return
    folder = clips_folder(out, planned.system)
    with Progress() as progress:
        task = progress.add_task(f"clips of {planned.system.name}", total=len(mine))
        for _ in generate_samples(planned.system, planned.sampling, mine, folder, **options):
            progress.advance(task)


def wait_for(paths: Sequence[Path], share: Share) -> None:
    """Until the other processes have written these. The launcher ends all of them if one dies."""
    while share.count > 1 and not all(path.is_file() for path in paths):
        time.sleep(_POLL_S)


def natives(planned: Planned) -> list[Native]:
    """How a system's clips came; files that cannot be read are left out here and named later."""
    found = []
    for clip in track([*planned.clips.values()], f"files of {planned.system.name}", transient=True):
        try:
            found.append(native_form(scan(clip.path)))
        except (VideoError, OSError):
            continue
        if planned.system.kind != "clips":
            break  # all of a model's clips are alike
    return found


def find_form(plans: Sequence[Planned]) -> Form:
    """The form that all systems can give."""
    found = [natives(planned) for planned in plans]
    empty = [p.system.name for p, one in zip(plans, found, strict=True) if not one]
    if empty:
        raise ValueError(f"no clip of {', '.join(empty)} can be read")
    return common_form(found)


def shown_path(out: Path, clip: Clip, suffix: str = ".mp4") -> Path:
    """The clip in the common form, for the report and for VBench."""
    number, repeat = clip.key
    return out / "shown" / file_name(clip.system) / f"{number:04d}-{repeat}{suffix}"


def values_path(out: Path, clip: Clip) -> Path:
    return shown_path(out, clip, ".json")


def measure_clips(
    clips: Sequence[Clip],
    form: Form,
    out: Path,
    share: Share,
    estimator: FlowEstimator | None = None,
    raft: FlowEstimator | None = None,
) -> None:
    """Bring this process's share into the common form and measure it, where that is not done."""
    for clip in track(share.of(clips), f"measure {len(clips)} clips"):
        made_from = _made_from(clip, form, raft is not None)
        path = values_path(out, clip)
        if path.is_file() and json.loads(path.read_text("utf-8"))["made_from"] == made_from:
            continue
        measured = _measure(clip, form, out, estimator or EnlargedDIS(), raft)
        content = {"made_from": made_from, **measured._asdict()}
        content["values"] = {k: _finite(v) for k, v in measured.values.items()}
        content["native"] = measured.native and measured.native._asdict()
        write_text(path, json.dumps(content) + "\n")


def read_measured(out: Path, clip: Clip, form: Form, raft: bool = False) -> Measured | None:
    """None where it is not there, or of another clip, form or version of the metrics."""
    path = values_path(out, clip)
    if not path.is_file():
        return None
    content = json.loads(path.read_text("utf-8"))
    if content.pop("made_from") != _made_from(clip, form, raft):
        return None
    content["values"] = {k: math.nan if v is None else v for k, v in content["values"].items()}
    content["native"] = content["native"] and Native(**content["native"])
    return Measured(**content)


def wait_for_measured(
    clips: Sequence[Clip], form: Form, out: Path, share: Share, raft: bool = False
) -> Iterator[Measured]:
    """All clips, in order, once the other processes have theirs."""
    for clip in clips:
        while (found := read_measured(out, clip, form, raft)) is None:
            if share.count == 1:
                raise ValueError(f"{clip.path} changed while it was measured; run again")
            time.sleep(_POLL_S)
        yield found


def _measure(
    clip: Clip, form: Form, out: Path, estimator: FlowEstimator, raft: FlowEstimator | None
) -> Measured:
    shown = shown_path(out, clip)
    try:
        frames, native = normalise(clip.path, form)
    except (ValueError, OSError) as error:
        shown.unlink(missing_ok=True)
        return Measured(dict.fromkeys(METRICS, math.nan), {}, None, 0, str(error))
    if native == Native(form.fps, form.num_frames, form.height, form.width):
        _copy(clip.path, shown)
    else:
        write_video(shown, frames, form.fps)
    if clip.motion is not None and clip.motion.is_file():
        _write_motion(clip.motion, form, shown.with_suffix(".motion.mp4"))
    seen = Seen(frames, form.fps, estimator, clip.prompt, raft)
    values, skipped = measure(seen)
    return Measured(values, skipped, native, len(frames))


def _write_motion(motion: Path, form: Form, shown: Path) -> None:
    frames, _ = normalise(motion, form)
    write_video(shown, frames, form.fps)


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f"{to.name}.part")
    shutil.copyfile(path, part)
    part.replace(to)


def _made_from(clip: Clip, form: Form, raft: bool) -> str:
    """A digest of the clip's bytes, the form and the code of the metrics."""
    digest = hashlib.sha256(f"{form} {raft} {clip.key} {_metrics_code()}".encode())
    for path in (clip.path, clip.motion):
        if path is not None and path.is_file():
            digest.update(_digest_of(path, path.stat().st_mtime_ns))
    return digest.hexdigest()


@functools.cache
def _digest_of(path: Path, changed: int) -> bytes:
    del changed  # part of the key
    return hashlib.sha256(path.read_bytes()).digest()


@functools.cache
def _metrics_code() -> str:
    """So that a change of a metric cannot leave old numbers behind."""
    import videojam.motion as motion

    digest = hashlib.sha256()
    for package in (metrics, motion):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
