"""A folder of captioned videos -> a Lance dataset of appearance and motion latents and text.

Worker processes decode and estimate flow, this process encodes, one sample at a time, so that a
row depends neither on batching nor on where a run was interrupted. Rows are committed in the order
of the plan; the same command again skips what is there and goes on. No model is loaded here:
encoders and the flow estimator are passed in. It runs on one machine.
"""

import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from videojam.data import dataset, run_folder
from videojam.data.prepare.config import PrepareConfig, fixed_fields, reading_of
from videojam.data.prepare.encode import (
    Encoders,
    EncodeText,
    EncodeVideo,
    encode_caption,
    encode_clip,
    motion_pixels,
    row_sample,
)
from videojam.data.prepare.plan import plan_videos
from videojam.data.prepare.preview import Shown, preview_path, write_contact_sheet, write_preview
from videojam.data.prepare.progress import progress_bars
from videojam.data.prepare.report import Report, show, timed
from videojam.data.prepare.report import write as write_report
from videojam.data.prepare.rows import Planned, plan_rows, prepared_rows, task
from videojam.data.prepare.stages import ClipData, PlanOptions, VideoPlan, load_clip
from videojam.data.prepare.workers import ordered_map
from videojam.data.prepare.writer import Writer
from videojam.data.source.manifest import Dropped, Entry, read_manifest
from videojam.media.video import to_uint8
from videojam.motion.flow import FlowEstimator


def prepare(
    config: PrepareConfig,
    *,
    encode_video: EncodeVideo,
    encode_text: EncodeText,
    estimator: FlowEstimator,
    device: str | torch.device = "cpu",
    console: Console | None = None,
) -> Report:
    """Prepare everything in config.videos that is not in config.out yet.

    encode_video: pixels (b, 3, f, h, w) in [-1, 1] -> normalised latents (b, c, t, h, w).
    encode_text: captions -> what each becomes for the transformer, by argument name.
    estimator: clip -> flow; picklable for num_workers > 0. device: where flow is coloured and
    pixels are handed to encode_video, best the device of the VAE.
    Raises ValueError if the output was made with another configuration, if a prepared video or
    its caption has changed since, or if no video gives a clip. On Ctrl-C what is encoded is
    committed before KeyboardInterrupt goes on.
    """
    begin = time.perf_counter()
    console = console or Console(stderr=True)
    report = Report(num_workers=config.num_workers)
    path = samples_path(config.out)
    encoders = Encoders(encode_video, encode_text, torch.device(device))
    with run_folder.lock(config.out), progress_bars(console) as progress:
        fixed = fixed_fields(config) | {"estimator": run_folder.describe(estimator)}
        run_folder.settle_config(config.out, fixed | {"last_frame_rule": "repeat the last flow"})
        manifest = read_manifest(config.videos, config.captions, skip=config.out)
        report.videos_found = len(manifest.entries)
        report.dropped += manifest.dropped
        try:
            videos = _scan(config, manifest.entries, report, progress)
            prepared = prepared_rows(path)
            rows = plan_rows(
                videos,
                dict(manifest.entries),
                prepared,
                holdout=config.holdout,
                holdout_videos=config.holdout_videos,
                seed=config.seed,
            )
            _count(report, videos, rows, prepared, config)
            null_text = encode_caption(encoders, "", config.dtype)
            run_folder.save_null_text(config.out, null_text)
            _encode(config, rows, prepared, encoders, estimator, report, progress)
            with report.time("compact"):
                dataset.compact(path)
            _contact_sheet(config, path)
        except KeyboardInterrupt:
            console.print(
                f"stopped with {report.already_there + report.prepared} of {report.clips} samples "
                "prepared; run the same command again to resume"
            )
            raise
        finally:
            report.wall_s = time.perf_counter() - begin
            write_report(report, config.out / "report.json")
    show(report, console)
    return report


def samples_path(output: Path) -> Path:
    """Where the Lance dataset is in an output folder."""
    return output / "samples.lance"


def _scan(
    config: PrepareConfig, entries: Sequence[Entry], report: Report, progress: Progress
) -> list[VideoPlan]:
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
    plans = plan_videos(
        entries,
        config.videos,
        options,
        config.out / "scans.jsonl",
        num_workers=config.num_workers,
        timeout_s=config.task_timeout_s,
    )
    videos = []
    for video, fresh in progress.track(plans, total=len(entries), description="scan videos"):
        videos.append(video)
        report.dropped += video.dropped
        if fresh:
            report.seconds["scan"] += video.seconds
            report.frames["scan"] += video.num_frames
    return videos


def _count(
    report: Report,
    videos: Sequence[VideoPlan],
    rows: Sequence[Planned],
    prepared: dict[str, dict],
    config: PrepareConfig,
) -> None:
    report.videos_with_clips = sum(bool(video.pts) for video in videos)
    report.clips = len(rows)
    report.already_there = sum(row.key in prepared for row in rows)
    report.stale = sorted(prepared.keys() - {row.key for row in rows})
    report.source_s = sum(video.duration_s for video in videos)
    report.clips_s = len(rows) * config.num_frames / config.fps


def _encode(
    config: PrepareConfig,
    rows: Sequence[Planned],
    prepared: Mapping[str, dict],
    encoders: Encoders,
    estimator: FlowEstimator,
    report: Report,
    progress: Progress,
) -> None:
    """Load clips in worker processes, encode them here, commit them in order."""
    folder = config.out / "previews"
    # One clip of every video before a second one of any.
    chosen = sorted(rows, key=lambda row: row.clip_index)[: config.previews]
    previews = {row.key: preview_path(folder, row.key) for row in chosen}
    lacking = {key for key, file in previews.items() if not file.exists()}
    todo = [row for row in rows if row.key not in prepared or row.key in lacking]
    clips = ordered_map(
        functools.partial(load_clip, estimator=estimator),
        [task(row, config.videos, reading_of(config)) for row in todo],
        config.num_workers,
        config.prefetch,
        config.task_timeout_s,
    )
    loaded = timed(clips, report)
    writer = Writer(samples_path(config.out), config.commit_samples, config.commit_s, report)
    captions = functools.lru_cache(maxsize=1)(  # clips of one video come one after another
        lambda caption: encode_caption(encoders, caption, config.dtype)
    )
    bar = progress.add_task("prepare samples", total=len(todo))
    try:
        for row, clip in zip(todo, loaded, strict=True):
            progress.advance(bar)
            if not isinstance(clip, ClipData):
                report.dropped.append(Dropped(row.key, clip.reason))
                continue
            report.count_clip(clip)
            with report.time("colour", len(clip.frames)):
                flow = torch.from_numpy(clip.flow).to(encoders.device)
                motion = motion_pixels(flow, config.sigma, config.background)
            if row.key in lacking:
                with report.time("previews"):
                    shown = to_uint8(motion).numpy()
                    write_preview(previews[row.key], clip.frames, shown, config.fps)
            if row.key in prepared:
                continue
            with report.time("text"):
                text = captions(row.caption)
            x, d = encode_clip(row.key, clip, motion, config.dtype, encoders, report)
            writer.add(row_sample(row, clip, config, x, d, text))
    finally:
        loaded.close()
        writer.commit()  # after an error or Ctrl-C too: what is encoded is not lost


def _contact_sheet(config: PrepareConfig, path: Path) -> None:
    names = ("key", "caption", "split", "start_s", "height", "width", "source_fps", "flow_mean_px")
    rows = dataset.columns(path, (*names, "clip_index"))
    rows = sorted(rows, key=lambda row: row["clip_index"])[: config.previews]
    shown = [
        Shown(
            row["key"],
            row["caption"],
            f"{row['split']}  from {row['start_s']:.2f} s  {row['height']} x {row['width']}  "
            f"{row['source_fps']:.4g} -> {config.fps:g} frames/s  "
            f"mean flow {row['flow_mean_px']:.2f} px",
        )
        for row in rows
    ]
    write_contact_sheet(config.out / "contact_sheet.png", config.out / "previews", shown)
