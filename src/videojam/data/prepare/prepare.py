"""A folder of captioned videos -> a Lance dataset of appearance and motion latents and text.

Worker processes decode and estimate flow, this process encodes, one sample at a time, so that a
row depends neither on batching nor on where a run was interrupted. Rows are committed in the order
of the plan; the same command again skips what is there and goes on. No model is loaded here:
encoders and the flow estimator are passed in. Several machines take a shard each (shards.py).
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.progress import Progress

from videojam.data import dataset, run_folder
from videojam.data.prepare import shards
from videojam.data.prepare.config import (
    PrepareConfig,
    fixed_fields,
    growing_fields,
    reading_of,
)
from videojam.data.prepare.encode import (
    EncodeControl,
    EncodeImage,
    Encoders,
    EncodeText,
    EncodeVideo,
    Job,
    encode_caption,
    row_sample,
    text_key,
)
from videojam.data.prepare.estimate import price
from videojam.data.prepare.parts import parse_shard, part
from videojam.data.prepare.plan import dropped_of, read_plan, scan_videos
from videojam.data.prepare.preview import Shown, preview_path, write_contact_sheet
from videojam.data.prepare.progress import progress_bars
from videojam.data.prepare.report import Report, commonest, show, show_dropped
from videojam.data.prepare.report import write as write_report
from videojam.data.prepare.rows import Rows, plan_rows, planned, removed, task, unplanned
from videojam.data.prepare.runners import Local, Runner
from videojam.data.prepare.stages import PlanOptions
from videojam.data.prepare.texts import encode_texts
from videojam.data.prepare.writer import Direct, Output, Writer
from videojam.data.source.caption_files import has_column
from videojam.data.source.manifest import Dropped, Entry, Manifest, read_manifest
from videojam.media.video import write_video
from videojam.motion.flow import FlowEstimator, estimate_flow
from videojam.motion.strength import LEVELS, with_strength
from videojam.records.lock import holding
from videojam.records.object_store import Location, work_folder
from videojam.records.settings import defaults_of


def prepare(
    config: PrepareConfig,
    *,
    encode_video: EncodeVideo,
    encode_text: EncodeText,
    encode_image: EncodeImage | None = None,
    text_with_image: bool = False,
    encode_control: EncodeControl | None = None,
    control_always: bool = False,
    estimator: FlowEstimator,
    device: str | torch.device = "cpu",
    console: Console | None = None,
    encoded_with: str = "",
    runner: Runner | None = None,
) -> Report:
    """Prepare everything in config.videos that is not in config.out yet.

    encode_video: pixels (b, 3, f, h, w) in [-1, 1] -> normalised latents (b, c, t, h, w).
    encode_text: captions -> what each becomes for the transformer, by argument name.
    encode_image: frames of a clip, its caption -> what the model is given of them, if it starts
    from an image. text_with_image: whether the caption is read together with it.
    encode_control: frames and mask of a control clip -> what the model is given of them.
    control_always: a video without a control is dropped.
    estimator: clip -> flow; picklable for num_workers > 0. device: where flow is coloured and
    pixels are handed to encode_video, best the device of the VAE. encoded_with: what else decides
    latents, such as the type that the VAE computes in; it may not change once there are rows.
    runner: where clips are loaded and encoded; default here and in worker processes.
    Raises ValueError if the output was made with another configuration, if a prepared video has
    changed since or is gone, or if no video gives a clip. On Ctrl-C what is encoded is committed
    before KeyboardInterrupt goes on.
    """
    begin = time.perf_counter()
    console = console or Console(stderr=True)
    report = Report(num_workers=config.num_workers)
    shard = parse_shard(config.shard) if config.shard else None
    unasked = config.captions if encode_control and not config.controls else None
    if unasked is not None and has_column(unasked, "control"):
        console.print(f"{unasked} names controls; they are kept with --controls alone")
    work = work_folder(config.out)
    folder = work / "shards" if shard else work
    encoders = Encoders(
        encode_video, encode_text, torch.device(device), encode_image, text_with_image,
        encode_control, control_always,
    )  # fmt: skip
    runner = runner or Local(config, encoders)
    lock_name = f"shards/{shard.name}.lock" if shard else "lock"
    with holding(work, "preparation", lock_name), progress_bars(console) as progress:
        try:
            _probe(estimator, config)
            entries = _entries(config, report, control_always)
            fixed = fixed_fields(config) | {"estimator": run_folder.describe(estimator)}
            fixed |= {"last_frame_rule": "repeat the last flow", "encoded_with": encoded_with}
            path = samples_path(config.out)
            if not shard and not config.dry_run:
                shards.refuse_shards(path)
            protected = dataset.count(path) > 0 or shards.shards_there(path)
            if not config.dry_run or protected:
                grows = growing_fields(config)
                run_folder.settle_config(
                    config.out, fixed, grows=grows, defaults=defaults_of(PrepareConfig),
                    protected=protected,
                )  # fmt: skip
            if config.removed == "drop":
                gone = removed(dataset.table(path, ("source",)), entries)
                named = [text_key(one, n) for one in gone for n in LEVELS]
                dataset.remove_sources(path, [*gone, *named] if config.motion_strength else gone)
            cache = folder / (f"{shard.name}.scans" if shard else "scans.jsonl")
            output: Output = Direct(path, config.commit_samples, report)
            if shard:
                entries = part(entries, shard)
                output = shards.ShardOutput(path, shard, config.commit_samples)
            rows = _plan(config, entries, cache, output, runner, report, progress)
            if config.dry_run:
                report.estimate = price(config, rows, entries, encoders, estimator)
            else:
                _write_all(
                    config, rows, entries, output, encoders, runner, estimator, report, progress
                )
        except KeyboardInterrupt:
            console.print(
                f"stopped with {report.already_there + report.prepared} of {report.clips} samples "
                "prepared; run the same command again to resume"
            )
            raise
        except ValueError:
            show_dropped(report, console)
            raise
        finally:
            report.wall_s = time.perf_counter() - begin
            write_report(report, folder / (f"report-{shard.name}.json" if shard else "report.json"))
    show(report, console)
    if work != config.out:
        console.print(f"report, scans, previews and contact sheet are in {work}")
    return report


def join_shards(config: PrepareConfig) -> int:
    """Put the finished shards of config.out into the dataset; returns the number of new rows."""
    path = samples_path(config.out)
    with holding(work_folder(config.out), "preparation"):
        rows = shards.join(path)
        dataset.compact(path)
        if config.previews and dataset.exists(path):
            first = dataset.first_clips(path, ("key",), config.previews)
            _contact_sheet(config, path, [row["key"] for row in first])
    return rows


def samples_path(output: Location) -> Location:
    """Where the Lance dataset is in an output folder."""
    return output / "samples.lance"


def _probe(estimator: FlowEstimator, config: PrepareConfig) -> None:
    """Two black frames: an estimator that cannot run at all is no fault of a video."""
    for height, width in config.sizes:
        estimate_flow(torch.zeros(2, height, width, 3, dtype=torch.uint8), estimator)


def _entries(config: PrepareConfig, report: Report, control_always: bool) -> list[Entry]:
    """The captioned videos; prepared ones that are gone are kept or asked about."""
    manifest: Manifest = read_manifest(
        config.videos, config.captions, skip=config.out, controls=config.controls
    )
    report.videos_found = len(manifest.entries)
    report.dropped += manifest.dropped
    if config.controls and not any(entry.control for entry in manifest.entries):
        raise ValueError(
            f"{config.captions} names no control clip of a video; give it a column control, or "
            "leave --controls out"
        )
    entries = manifest.entries
    if control_always:
        reason = "no control, and the model is always given one"
        report.dropped += [Dropped(one.path, reason) for one in entries if not one.control]
        entries = [one for one in entries if one.control]
    prepared = dataset.table(samples_path(config.out), ("source",))
    gone = removed(prepared, entries)
    if gone and config.removed == "ask":
        raise ValueError(
            f"{len(gone)} prepared videos are not in the folder (or have no caption) any more: "
            f"{', '.join(gone[:5])}; --removed drop takes their samples out, --removed keep goes "
            "on training on them"
        )
    report.stale = gone if config.removed == "keep" else []
    return entries


def _plan(
    config: PrepareConfig,
    entries: Sequence[Entry],
    cache: Path,
    output: Output,
    runner: Runner,
    report: Report,
    progress: Progress,
) -> Rows:
    """Scan what is new, and find which rows are to be made."""
    options = PlanOptions(
        sizes=config.sizes,
        fps=config.fps,
        num_frames=config.num_frames,
        stride_s=config.stride_s,
        max_clips=config.max_clips_per_video,
        min_source_fps_ratio=config.min_source_fps_ratio,
        max_upscale=config.max_upscale,
        reading=reading_of(config),
    )
    scans = scan_videos(
        entries,
        config.videos,
        options,
        cache,
        runner.map,
    )
    lost = []  # what may be readable another time has no line
    for fresh in progress.track(scans, total=len(entries), description="scan videos"):
        if fresh is not None:
            report.seconds["scan"] += fresh.seconds
            report.frames["scan"] += fresh.num_frames
            lost += fresh.dropped if fresh.passing else []
    plan = read_plan(entries, config.videos, options, cache)
    report.dropped += lost + dropped_of(plan)
    prepared = output.prepared()
    rows = plan_rows(
        plan,
        prepared,
        holdout=[path for path in config.holdout if _mine(path, entries, config)],
        holdout_videos=config.holdout_videos,
        seed=config.seed,
    )
    if not len(rows.video) and not config.shard:
        raise ValueError(
            "no video gives a clip"
            + (f": {commonest(report)}" if report.dropped else f"; {config.videos} holds no videos")
            + "; all reasons are in report.json (sizes, fps, num_frames and captions decide)"
        )
    report.videos_with_clips = len(np.unique(rows.video))
    report.clips = len(rows.video)
    report.already_there = int(rows.done.sum())
    report.unplanned = 0 if config.shard else unplanned(rows, prepared)
    report.source_s = float(np.sum(plan["duration_s"].to_numpy()))
    report.clips_s = len(rows.video) * config.num_frames / config.fps
    return rows


def _mine(path: str, entries: Sequence[Entry], config: PrepareConfig) -> bool:
    """A shard holds out those of the named videos that are in its part."""
    return not config.shard or any(entry.path == path for entry in entries)


def _write_all(
    config: PrepareConfig,
    rows: Rows,
    entries: Sequence[Entry],
    output: Output,
    encoders: Encoders,
    runner: Runner,
    estimator: FlowEstimator,
    report: Report,
    progress: Progress,
) -> None:
    run_folder.save_null_text(config.out, encode_caption(encoders, "", config.dtype))
    with_clips = pa.array(np.unique(rows.video), pa.int64())
    paths = {*rows.plan["path"].take(with_clips).to_pylist()}
    captioned = [entry for entry in entries if entry.path in paths]
    if config.motion_strength:  # how much a clip moves is not known yet
        captioned = [_saying(entry, strength) for entry in captioned for strength in LEVELS]
    try:
        encode_texts(captioned, output, encoders, config.dtype, report, progress)
        _encode(config, rows, entries, output, runner, estimator, report, progress)
    finally:
        output.close()
    if isinstance(output, shards.ShardOutput):
        output.finish()
        return
    path = samples_path(config.out)
    with report.time("compact"):
        dataset.compact(path, clean=not shards.shards_there(path))
    _contact_sheet(config, path, [*_previewed(config, rows)])


def _saying(entry: Entry, strength: int) -> Entry:
    """The captions of the clips of a video that move so much."""
    first, *more = (with_strength(caption, strength) for caption in entry.captions)
    return Entry(text_key(entry.path, strength), first, tuple(more))


def _encode(
    config: PrepareConfig,
    rows: Rows,
    entries: Sequence[Entry],
    output: Output,
    runner: Runner,
    estimator: FlowEstimator,
    report: Report,
    progress: Progress,
) -> None:
    """Load and encode clips where the runner does, write them here, in order."""
    folder = work_folder(config.out) / "previews"
    lacking, shown_too = _previews(config, rows, folder)
    numbers = np.union1d(np.flatnonzero(~rows.done), shown_too)
    reading = reading_of(config)
    by_path = {entry.path: entry for entry in entries}
    jobs = (
        Job(
            row,
            task(row, config.videos, reading, by_path.get(row.path)),
            not rows.done[number],
            number in lacking,
            by_path[row.path].caption if row.path in by_path else "",
        )
        for number, row in zip(numbers, planned(rows, numbers), strict=True)
    )
    writer = Writer(output, config.commit_s, report)
    bar = progress.add_task("prepare samples", total=len(numbers))
    encoding = runner.encode(jobs, config, estimator, report)
    try:
        for batch, dropped in encoding:
            progress.advance(bar, len(batch) + len(dropped))
            report.dropped += dropped
            for encoded in batch:
                if encoded.shown is not None:
                    shown = torch.from_numpy(encoded.shown)
                    write_video(preview_path(folder, encoded.row.key), shown, config.fps)
                if encoded.x is not None:
                    writer.add(row_sample(encoded, config))
    finally:
        encoding.close()
        writer.commit()  # after an error or Ctrl-C too: what is encoded is not lost


def _previewed(config: PrepareConfig, rows: Rows) -> dict[str, int]:
    """Keys of the samples that are shown and their rows: a clip of each video, then second ones."""
    chosen = np.argsort(rows.clip, kind="stable")[: config.previews]
    names = rows.plan["path"]
    return {
        f"{names[int(rows.video[n])].as_py()}#{rows.clip[n]:04d}": int(n) for n in chosen
    }  # fmt: skip


def _previews(config: PrepareConfig, rows: Rows, folder: Path) -> tuple[set[int], np.ndarray]:
    """Rows whose preview is to be made, and those of them that are only decoded for it."""
    there = {file.name for file in folder.glob("*.mp4")} if folder.is_dir() else set()
    lacking = {
        number
        for key, number in _previewed(config, rows).items()
        if preview_path(folder, key).name not in there
    }
    done = [number for number in sorted(lacking) if rows.done[number]]
    return lacking, np.array(done, dtype=np.int64)


def _contact_sheet(config: PrepareConfig, path: Location, keys: Sequence[str]) -> None:
    if not keys or not dataset.exists(path):
        return
    names = ("key", "text_key", "split", "start_s", "height", "width", "source_fps")
    rows = dataset.rows_of(path, keys, (*names, "flow_mean_px"))
    captions = dataset.captions_of(path, [row["text_key"] for row in rows])
    shown = [
        Shown(
            row["key"],
            caption,
            f"{row['split']}  from {row['start_s']:.2f} s  {row['height']} x {row['width']}  "
            f"{row['source_fps']:.4g} -> {config.fps:g} frames/s  "
            f"mean flow {row['flow_mean_px']:.2f} px",
        )
        for row, caption in zip(rows, captions, strict=True)
    ]
    work = work_folder(config.out)
    write_contact_sheet(work / "contact_sheet.png", work / "previews", shown)
