"""What is measured of one triple, each figure kept in a file of its own, so nothing is done twice.

Two sets of captions and noises that training has not seen: `development`, by which every system's
scales are chosen, and `held out`, which nothing is chosen by.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Literal

from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from videojam.evaluation.experiments.scanline.fit import Speed
from videojam.evaluation.experiments.scanline.sample import Sampler
from videojam.evaluation.experiments.scanline.settings import Role, Triple
from videojam.evaluation.experiments.scanline.triple import load
from videojam.lab.scanline.clips import draw, shuffled
from videojam.lab.scanline.judge import judge
from videojam.lab.scanline.world import Clips
from videojam.records.atomic import replacing
from videojam.sampling.pipeline import Sampling

Stream = Literal["development", "held out"]
TRUE = "true clips"
# Named where they are not at their defaults.
_RARER = ("text_start", "text_stop", "text_every", "motion_every", "reuse", "settled_cosine",
          "text_term")  # fmt: skip
Values = dict[str, Float[Tensor, "n"]]
"Score -> one value for each caption."


class Bench:
    """The models of a trained triple, and its files of measurements."""

    def __init__(self, triple: Triple, models: Path, folder: Path, speed: Speed) -> None:
        self.triple, self.models, self.folder, self.speed = triple, models, folder, speed
        self._samplers: dict[Role, Sampler] = {}

    def sampler(self, role: Role) -> Sampler:
        """Loaded when first asked for."""
        if role not in self._samplers:
            model = load(self.triple, role, self.models, self.speed.device)
            self._samplers[role] = Sampler.of(model, self.triple, role, self.speed)
        return self._samplers[role]

    def clips(self, stream: Stream, count: int) -> Clips:
        """True clips, whose captions are asked for."""
        return draw(self.triple.world, self.triple.seed, range(count), stream)

    def scores(self, role: Role, sampling: Sampling, stream: Stream, count: int) -> Values:
        """The judge's scores of one system, sampled if they are not there yet."""

        def measure() -> Values:
            sampler, captions = self.sampler(role), self.clips(stream, count).captions
            noise = sampler.noise(range(count), self._noise_seed(stream))
            frames = sampler.frames(captions, noise, sampling)
            return judge(self.triple.world, frames, captions)._asdict()

        return self.kept(f"{stream} {count}/{role} {label(sampling)}", measure)

    def reference_scores(self, stream: Stream, count: int) -> dict[str, Values]:
        """Of true clips, what a perfect model would have, and of two ways to spoil them."""
        world, clips = self.triple.world, self.clips(stream, count)
        others = shuffled(world, clips, self._noise_seed(stream), range(count))
        references = {
            TRUE: clips.frames,
            "true clips, shuffled": others.frames,
            "true clips, frozen": clips.frames[:, :1].expand_as(clips.frames),
        }
        return {
            name: judge(world, frames, clips.captions)._asdict()
            for name, frames in references.items()
        }

    def kept(self, name: str, measure: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors of a file, measured if it is not there."""
        path = self.folder / f"{name}.safetensors".replace(" ", "-")
        if not path.exists():
            # A file may not hold one piece of memory under two names.
            found = {key: value.contiguous().clone() for key, value in measure().items()}
            with replacing(path) as part:
                save_file(found, part)
        return load_file(path)

    def _noise_seed(self, stream: Stream) -> int:
        return 1000 * self.triple.seed + (1 if stream == "development" else 2)

    @cached_property
    def held_out_seed(self) -> int:
        """Of noises for held-out clips."""
        return self._noise_seed("held out")


def label(sampling: Sampling) -> str:
    """A name for these settings, in a file's name and in tables."""
    window = f"{float(sampling.motion_start):g}-{float(sampling.motion_stop):g}"
    plain = Sampling()
    rarer = [
        f" {name} {getattr(sampling, name)}"
        for name in _RARER
        if getattr(sampling, name) != getattr(plain, name)
    ]
    return (
        f"w1 {float(sampling.text_scale):g} w2 {float(sampling.motion_scale):g} "
        f"{window} {sampling.mode} {sampling.num_inference_steps}{''.join(rarer)}"
    )
