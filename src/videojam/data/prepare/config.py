"""What to prepare and how: one frozen dataclass, from which the command line is made."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from videojam.data.prepare.parts import parse_shard
from videojam.data.source.decode import Reading
from videojam.motion.color import SIGMA
from videojam.records.object_store import Location, location


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareConfig:
    """What to prepare and how. Every field that decides what a row holds is kept with the data."""

    videos: Location
    """Folder of videos, searched recursively; here or s3://bucket/folder."""
    out: Location
    """Folder for the dataset, here or s3://bucket/folder; the same command again resumes."""
    captions: Location | None = None
    """.jsonl, .csv or .parquet with columns path and caption; default a .txt beside each video.
    A list of captions in .jsonl or .parquet: training takes one at a time."""
    model: str = ""
    """Folder or name of the model whose VAE and text encoder are used; recorded. The command's
    default is the embedded base."""
    sizes: tuple[tuple[int, int], ...] = ((480, 832),)
    """Training sizes, height width; each video goes to the one with the nearest aspect ratio. Which
    sizes and numbers of frames can be is the model's matter; a wrong one is refused at once."""
    fps: float = 16.0
    """Frames per second of the clips; sources are sampled at real timestamps, never warped."""
    num_frames: int = 81
    """Frames of a clip."""
    stride_s: float | None = None
    """Seconds between the starts of clips of one scene; default one clip length."""
    max_clips_per_video: int | None = None
    """At most so many clips of one video, spread evenly over it."""
    min_source_fps_ratio: float = 0.99
    """Drop sources with fewer than this x fps frames per second: frames would repeat, and repeated
    frames look like stopped motion. 0.99 lets 29.97 pass for 30; 0 allows any source."""
    max_upscale: float = 1.05
    """Drop videos that would have to be enlarged more than so many times."""
    interlaced: Literal["drop", "deinterlace"] = "drop"
    """Interlaced videos: drop them with a reason, or make whole pictures by FFmpeg's bwdif."""
    under_transparency: Literal["black", "white"] = "black"
    """Colour that shows through transparent pixels."""
    sigma: float = SIGMA
    """Share of the frame diagonal at which the colour of motion saturates."""
    background: Literal["black", "white"] = "black"
    """Colour of no motion."""
    dtype: Literal["float16", "float32"] = "float16"
    """Storage type of latents and text; float16 keeps 11 bits, more than bfloat16 training uses."""
    motion_strength: bool = False
    """Captions say how much their clip moves, "motion strength N", N from 1 to 5, so that prompts
    can ask for it; every caption is encoded five times."""
    last_frame: bool = False
    """Samples keep what the model is given of their last frame beside the first, for models that
    go from one to the other (Wan FLF2V, Wan 2.2 I2V)."""
    controls: bool = False
    """Samples keep what the model is given of their control clips, for models that take them
    (WanVACE, Lucy-Edit): the columns control and control_mask of --captions name files with the
    frames of the video (depth, poses, edges ...; the mask is black where the control is kept)."""
    holdout: tuple[str, ...] = ()
    """Videos, by their path in the folder, whose samples are the validation split."""
    holdout_videos: int = 0
    """So many more videos for validation, chosen by a hash of seed and path."""
    seed: int = 0
    """For the choice of holdout_videos."""
    removed: Literal["ask", "keep", "drop"] = "ask"
    """What to do with prepared samples of videos that are not in the folder any more: stop and ask,
    keep them for training, or drop them."""
    shard: str | None = None
    """Part i/n of the videos, for machines that share nothing but --out, a folder or a bucket; then
    once --join."""
    join: bool = False
    """Put the finished shards into the dataset; prepares nothing."""
    dry_run: bool = False
    """Plan, show what is dropped, and price it by one clip of each size; prepare nothing. The scans
    are kept for the real run."""
    runner: Literal["local", "ray"] = "local"
    """ray: on the cluster at RAY_ADDRESS, or one on this machine; decoding and flow on its CPUs,
    encoders on its GPUs. The same rows; all machines need --videos under the same path."""
    batch: int = 1
    """Clips of one size that go through the VAE together. More is faster on a GPU and takes more
    memory; the last bits of a row then depend on its neighbours."""
    num_workers: int = 2
    """Processes that decode and estimate flow; 0 does it in this one."""
    prefetch: int = 2
    """Decoded clips that may wait for the encoder, beyond one per worker; each holds 11 bytes per
    pixel and frame (0.36 GB for 81 frames of 480 x 832)."""
    task_timeout_s: float = 3600.0
    """A video or clip that takes a worker longer is dropped."""
    commit_samples: int = 64
    """Commit after so many samples ..."""
    commit_s: float = 10.0
    """... or after so many seconds, whichever comes first; 0 commits every sample."""
    previews: int = 16
    """Write previews of so many samples, one of every video first, and one contact sheet."""

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ValueError("sizes is empty, expected at least one height and width")
        for size in self.sizes:
            if min(size) < 1:
                raise ValueError(f"size {size[0]} x {size[1]}, expected a height and a width")
        if self.num_frames < 2:
            raise ValueError(f"num_frames is {self.num_frames}, expected at least 2")
        for name in ("fps", "stride_s", "max_upscale", "sigma", "task_timeout_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}, expected a positive number")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}, expected at least {least}")
        for name in ("videos", "out", "captions"):
            if getattr(self, name) is not None:  # the command line makes s3:/ of s3://
                object.__setattr__(self, name, location(getattr(self, name)))
        if self.controls and self.captions is None:
            raise ValueError("controls are named in a captions file, and there is none: --captions")
        if self.shard is not None:
            parse_shard(self.shard)
            if self.removed == "drop":
                raise ValueError("removed videos are dropped without --shard, after --join")
            if self.holdout_videos:
                raise ValueError(
                    "holdout_videos is chosen from all videos, which a shard does not see; name "
                    "the held-out videos with --holdout"
                )
        if self.dry_run and self.runner == "ray":
            raise ValueError("a dry run prices this machine; do it with --runner local")
        if self.join and (self.shard is not None or self.dry_run):
            raise ValueError("join goes alone, after all shards have finished")
        if self.min_source_fps_ratio > 1:
            raise ValueError(f"min_source_fps_ratio is {self.min_source_fps_ratio}, expected 0..1")


_LEAST = {
    "max_clips_per_video": 1,
    "min_source_fps_ratio": 0,
    "holdout_videos": 0,
    "num_workers": 0,
    "batch": 1,
    "prefetch": 0,
    "commit_samples": 1,
    "commit_s": 0,
    "previews": 0,
}
# What may change when a dataset grows: where the videos are, and which clips are asked for.
_GROWS = {"videos", "sizes", "stride_s", "max_clips_per_video", "min_source_fps_ratio"}
_GROWS |= {"max_upscale"}
# How a run goes, not what it makes.
_FREE = {"captions", "out", "num_workers", "prefetch", "task_timeout_s", "commit_samples"}
_FREE |= {"commit_s", "previews", "removed", "shard", "join", "dry_run", "runner", "batch"}


def reading_of(config: PrepareConfig) -> Reading:
    """How pictures are read."""
    return Reading(
        deinterlace=config.interlaced == "deinterlace",
        background={"black": 0, "white": 255}[config.under_transparency],
    )


def fixed_fields(config: PrepareConfig) -> dict[str, Any]:
    """What decides the content of rows and may not change once there are rows."""
    values = dataclasses.asdict(config)
    if config.model and Path(config.model).is_dir():  # else it is true in one folder only
        values["model"] = str(Path(config.model).resolve())
    return {name: value for name, value in values.items() if name not in _FREE | _GROWS}


def growing_fields(config: PrepareConfig) -> dict[str, Any]:
    """What decides which rows there are; another value adds rows."""
    values = dataclasses.asdict(config)
    grows = {name: value for name, value in values.items() if name in _GROWS}
    videos = config.videos.resolve() if isinstance(config.videos, Path) else config.videos
    return grows | {"videos": str(videos)}
