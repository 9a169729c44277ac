"""Where benchmarks/guidance_cost.py measures: the scanline world, and the Motion Lab.

A world samples final latents of some of its captions, and scores them.
"""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from guidance_distill import student
from guidance_systems import System
from videojam.evaluation.clips.judged import Judged, Row, judge_clips, scored_as_the_truth
from videojam.evaluation.clips.judged import true_clips as truth_of
from videojam.evaluation.clips.systems import Made, lab_requests
from videojam.evaluation.experiments.lab_models import held_out_lab, load_model, model_folders
from videojam.evaluation.experiments.scanline.bench import Bench
from videojam.evaluation.experiments.scanline.fit import Speed
from videojam.evaluation.experiments.scanline.model import CHANNELS, to_frames
from videojam.evaluation.experiments.scanline.sample import Sampler
from videojam.evaluation.experiments.scanline.settings import Triple
from videojam.guidance.pipelines import inner_guidance
from videojam.joint.latents import decode_video
from videojam.lab.clips import Lab
from videojam.lab.scanline.judge import judge
from videojam.media.video import to_uint8
from videojam.sampling.generate import guidance_scale
from videojam.sampling.pipeline import Sampling, sample_latents

DEVELOPMENT_SEED = 1000  # of the Motion Lab


class Line:
    """The scanline models of one training seed."""

    scores: ClassVar = ("lawful", "asked_speed", "present")
    part = 64

    def __init__(
        self, models: Path, folder: Path, seed: int, stream: Any, distilled: Path | None
    ) -> None:
        self.bench = Bench(Triple(seed=seed), models, folder, Speed(compile=False))
        self.folder, self.stream, self.distilled = folder / f"seed-{seed}", stream, distilled
        self.channels = CHANNELS

    @functools.cache  # noqa: B019
    def sampler(self, role: Any) -> Sampler:
        if role != "distilled":
            return self.bench.sampler(role)
        assert self.distilled is not None, "give --distilled, a folder of guidance_distill.py"
        model = student(self.bench.triple, self.bench.models, self.distilled)
        return Sampler.of(model, self.bench.triple, "joint", self.bench.speed)

    def transformer(self, role: str) -> Any:
        return self.sampler(role).pipe.transformer

    def sample(
        self, system: System, sampling: Sampling, numbers: range, stream: Any = None
    ) -> Tensor:
        sampler, stream = self.sampler(system.role), stream or self.stream
        noise = sampler.noise(numbers, self.bench._noise_seed(stream))
        return sampler.latents(self._captions(numbers, stream), noise, sampling)

    def score(self, latents: Tensor, numbers: range) -> dict[str, Tensor]:
        world = self.bench.triple.world
        frames = to_frames(world, latents[:, :CHANNELS])
        found = judge(world, frames, self._captions(numbers, self.stream))._asdict()
        return {name: found[name] for name in self.scores}

    def features(self, latents: Tensor, numbers: range) -> dict[str, Tensor]:
        """What frames look like, for the appearance distance: their pixels, without an order."""
        own = to_frames(self.bench.triple.world, latents[:, :CHANNELS])
        true = self.bench.clips(self.stream, numbers.stop).frames[numbers.start :]
        return {
            name: frames.flatten(2).double()
            for name, frames in (("features", own), ("true features", true))
        }

    def _captions(self, numbers: range, stream: Any) -> Tensor:
        return self.bench.clips(stream, numbers.stop).captions[numbers.start :]


class MotionLab:
    """The models of a folder that `videojam lab-model` wrote, on captions of another seed."""

    scores: ClassVar = ("coherence", "text")
    part = 32

    def __init__(self, models: Path, folder: Path, seed: int, stream: str, device: str) -> None:
        self.folders, self.device = model_folders(models), device
        seed = DEVELOPMENT_SEED if stream == "development" else seed
        self.lab, self.development = (
            held_out_lab(self.folders["videojam"], one) for one in (seed, DEVELOPMENT_SEED)
        )
        self.folder = folder / f"lab-{seed}"
        self.channels = self.model("joint").pipe.vae.config.z_dim

    @functools.cache  # noqa: B019
    def model(self, role: str) -> Any:
        name = {"joint": "videojam", "control": "control"}[role]
        return load_model(name, self.folders[name], self.device)

    def transformer(self, role: str) -> Any:
        return self.model(role).pipe.transformer

    def sample(
        self, system: System, sampling: Sampling, numbers: range, stream: str = ""
    ) -> Tensor:
        model, lab = self.model(system.role), self.development if stream else self.lab
        sampling = replace(
            sampling, num_frames=lab.frames, height=lab.height, width=lab.width
        )  # fmt: skip
        batch = [one.sample for one in requests_of(lab, numbers)]
        if system.role != "joint":
            scale = 1 + sampling.text_scale
            return sample_latents(model.pipe, batch, sampling, scale, motion=False).float().cpu()
        with inner_guidance(model.pipe, sampling, background=model.info.background):
            scale = guidance_scale(sampling)
            found = sample_latents(
                model.pipe, batch, sampling, scale, motion=True, fps=model.info.fps
            )
        return found.float().cpu()

    def score(self, latents: Tensor, numbers: range) -> dict[str, Tensor]:
        requests, vae = requests_of(self.lab, numbers), self.model("joint").pipe.vae
        clips = (
            Made(to_uint8(decode_video(vae, one[None, : self.channels])[0].cpu()), None)
            for one in latents
        )
        judged = judge_clips("", self.lab, requests, clips)
        true = judge_clips("true clips", self.lab, requests, truth_of(self.lab, [*numbers]))
        rows = scored_as_the_truth(judged, true).rows
        found = {name: torch.tensor([row.values[name] for row in rows]) for name in self.scores}
        return found | {"features": judged.features, "true features": true.features}

    def features(self, latents: Tensor, numbers: range) -> dict[str, Tensor]:
        """None beside those that `score` has kept, which needed the frames decoded."""
        return {}


def requests_of(lab: Lab, numbers: range) -> list[Any]:
    return lab_requests(lab, numbers.stop)[numbers.start :]


def as_judged(features: Tensor) -> Judged:
    """Features of the frames of one clip of each prompt, for set_distance."""
    return Judged([Row("", "", "", number, 0, {}) for number in range(len(features))], features)
