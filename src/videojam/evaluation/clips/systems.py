"""Systems under test, and the clips that they make: in shards, from the same noise for all.

    system = System(name="base", folder=models / "base", joint=False, sampling=sampling)
    requests = lab_requests(lab, prompts=256, seeds_per_prompt=2)
    for made in generate_clips(system, [r.sample for r in requests], out):
        made.video, made.flow

Clip i depends on its prompt and seed alone (sampling.py), and a seed gives the appearance half of
every system the same start noise: systems are compared in pairs.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from videojam.evaluation.clips.shards import Requests, Work, in_shards, read_shard
from videojam.joint.checkpoint import INFO_FILE
from videojam.lab.clips import Lab, lab_scene
from videojam.sampling.generate import VideoJAM, base_videos
from videojam.sampling.pipeline import Sampling
from videojam.sampling.samples import fingerprint

Precision = Literal["fp32", "bf16"]
SHARD_CLIPS = 32  # kept together; what a kill loses
_MAX_REPEATS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """A model and the way it is sampled."""

    name: str
    folder: Path
    "Stock diffusers folder, or an adapter that `videojam train` exported."
    joint: bool
    "A VideoJAM model under inner_guidance, or a plain one with classifier-free guidance."
    sampling: Sampling
    "With sizes set. A plain system takes its text_scale, nothing else of the guidance."
    precision: Precision = "fp32"
    "bf16: matrix products of the transformer's blocks alone."

    def __post_init__(self) -> None:
        missing = [name for name, value in self.sampling.size.items() if value is None]
        if missing:
            raise ValueError(
                f"the sampling of {self.name} has no {', '.join(missing)}; set the size of the "
                "clips, so that all systems make the same"
            )

    def made_from(self) -> dict[str, Any]:
        """What decides the clips: the model and the settings that act; not the batch size.

        The guidance is given as its weights, so that two ways to say the same are the same.
        """
        sampling = asdict(self.sampling)
        names = ("num_frames", "height", "width", "num_inference_steps", "negative_prompt")
        return {
            "model": fingerprint(self.folder),
            "sampling": {name: sampling[name] for name in names},
            "guidance": branch_weights(self.sampling)
            if self.joint
            else {"text_scale": float(self.sampling.text_scale)},
            "precision": self.precision,
        }


class Made(NamedTuple):
    """One generated clip."""

    video: UInt8[Tensor, "f h w 3"]
    flow: Float[Tensor, "f-1 2 h w"] | None
    "The predicted motion in pixels, kept in float16; None for a plain system."


class Request(NamedTuple):
    """Scene `number` of a lab, to be generated from its caption."""

    prompt: str
    seed: int
    number: int
    kind: str
    type: str

    @property
    def sample(self) -> tuple[str, int]:
        return self.prompt, self.seed


def lab_requests(lab: Lab, prompts: int, seeds_per_prompt: int = 1) -> list[Request]:
    """Scenes 0 .. prompts - 1 of the lab, each from `seeds_per_prompt` noises.

    The noise is a function of (lab.seed, scene, repeat), the same for every system; more prompts
    or more seeds leave those that were there as they are.
    """
    if prompts < 1 or not 1 <= seeds_per_prompt <= _MAX_REPEATS:
        raise ValueError(
            f"{prompts} prompts with {seeds_per_prompt} seeds each; expected at least 1 prompt and "
            f"1 to {_MAX_REPEATS} seeds"
        )
    scenes = [lab_scene(lab, number)[0] for number in range(prompts)]
    return [
        Request(
            scene.caption,
            (lab.seed * 1_000_000 + number) * _MAX_REPEATS + repeat,
            number,
            scene.kind,
            scene.type,
        )
        for number, scene in enumerate(scenes)
        for repeat in range(seeds_per_prompt)
    ]


def generate_clips(
    system: System, requests: Requests, out: Path, device: str = "cpu"
) -> Iterator[Made]:
    """Make what is not in `out` yet, then give one clip per (prompt, seed), in order.

    Kept in shards of SHARD_CLIPS; the same call goes on where it was killed.
    Raises ValueError for a shard that was made from another model, prompts, seeds or settings.
    """
    paths = in_shards(
        out,
        requests,
        SHARD_CLIPS,
        system.made_from(),
        lambda: _work_joint(system, device) if system.joint else _work_plain(system, device),
        f"clips of {system.name}",
    )
    return (made for path in paths for made in _read(path))


def clips_folder(root: Path, system: System, requests: Requests) -> Path:
    """A folder of its own for these requests to this system, whatever the experiment calls it."""
    sources = json.dumps([system.made_from(), [list(request) for request in requests]])
    digest = hashlib.sha256(sources.encode()).hexdigest()[:12]
    return root / f"{system.folder.name}-{digest}"


def load_joint(system: System, device: str) -> VideoJAM:
    """The model of a joint system, silent, in its precision. ValueError if it is not joint."""
    jam = VideoJAM.from_pretrained(system.folder, torch.float32, device)
    _prepare(jam.pipe, system, device)
    return jam


def _load_plain(system: System, device: str) -> Any:
    from diffusers import DiffusionPipeline

    if (system.folder / INFO_FILE).exists():
        raise ValueError(
            f"{system.folder} is a VideoJAM model, which {system.name} samples as a plain one; "
            "give a base model, or joint=True"
        )
    pipe: Any = DiffusionPipeline.from_pretrained(system.folder, dtype=torch.float32)
    _prepare(pipe.to(device), system, device)
    return pipe


def _prepare(pipe: Any, system: System, device: str) -> None:
    pipe.set_progress_bar_config(disable=True)
    if system.precision == "bf16":
        # Blocks alone: the residual stream and both projections stay float32. One pass of the
        # embedded model, batch 32, on a core with AVX512-BF16: 0.69 s -> 0.28 s at an error of
        # 0.08% of the prediction; with all of the transformer under autocast 0.30 s and 0.8%,
        # which guidance multiplies by up to 9.
        warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
        for block in pipe.transformer.blocks:
            cast = torch.autocast(torch.device(device).type, torch.bfloat16)
            block.forward = cast(block.forward)


def _work_joint(system: System, device: str) -> Work:
    jam = load_joint(system, device)

    def work(batch: Requests) -> dict[str, Tensor]:
        clips = list(jam.clips(batch, system.sampling))
        return {
            "video": torch.stack([clip.video for clip in clips]),
            "flow": torch.stack([clip.flow.half() for clip in clips]),
        }

    return work


def _work_plain(system: System, device: str) -> Work:
    pipe = _load_plain(system, device)
    return lambda batch: {"video": torch.stack([*base_videos(pipe, batch, system.sampling)])}


def _read(path: Path) -> Iterator[Made]:
    shard = read_shard(path)
    flows = shard.get("flow")
    for place, video in enumerate(shard["video"]):
        yield Made(video, None if flows is None else flows[place].float())


def branch_weights(sampling: Sampling) -> list[Any]:
    """[[steps, {branch: weight}]] in order: what guidance comes to, however it was said. Where it
    is more than weights, what else decides it comes last."""
    steps = sampling.num_inference_steps
    weights = [
        {str(branch): float(weight) for branch, weight in sampling.weights(step, steps).items()}
        for step in range(steps)
    ]
    rows: list[Any] = [[len([*same]), row] for row, same in groupby(weights)]
    further = {
        name: getattr(sampling, name)
        for name in ("text_every", "motion_every", "reuse", "settled_cosine", "text_term")
        if sampling.reuses or name == "text_term"
    }
    return rows if further == {"text_term": "plain"} else [*rows, further]
