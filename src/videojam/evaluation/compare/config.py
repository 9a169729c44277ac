"""What `videojam evaluate compare` is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from videojam.evaluation.clips.compared import Compared, parse_system
from videojam.evaluation.clips.normalise import Form
from videojam.evaluation.clips.prompts import OWN
from videojam.evaluation.metrics.table import METRICS
from videojam.evaluation.vbench.aggregate import PAPER_DIMENSIONS
from videojam.models.needs import sustained
from videojam.sampling.pipeline import Sampling


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(Sampling):
    """Any systems on any prompts, side by side. Models are sampled, clips of others imported."""

    out: Path
    "Where clips, tables and the report go. The same command again goes on."
    systems: tuple[str, ...] = (
        "base=embedded:base", "control=embedded:control", "VideoJAM=embedded:videojam",
    )  # fmt: skip
    "NAME=SOURCE[,setting=value...]: a model folder, adapter or hub id, or a folder of clips."
    prompts: str = OWN
    """videojam-128, or a file: .txt, .csv with tags, .jsonl, VBench's .json. Columns image,
    last_image, control and control_mask name files that a prompt's clip begins and ends with and
    follows."""
    num_prompts: int | None = None
    "Take so many, spread evenly over the set; default all."
    seeds: tuple[int, ...] = (0,)
    "Every prompt is sampled with every seed; imported clips have one for each."
    subject: str | None = None
    "The system that the others are compared with; default the last one that is sampled here."
    against: str | None = None
    "The system of the primary comparison; default the first that is not the subject."
    primary: str = "flow_smoothness"
    """The primary metric, declared before anything is measured; the others are exploratory. The
    default is the one without weights that sees shuffled, stuttering and cut clips on all real ones
    that were tried and is not better for blurred ones (docs/results.md)."""
    fps: float | None = None
    "Of the common form; default the lowest of the systems'."
    seconds: float | None = None
    "Length of the common form; default the shortest of the systems'."
    size: tuple[int, int] | None = None
    "Height and width of the common form; default the smallest of the systems'."
    raft: Path | None = None
    "RAFT's weights (.pth or .safetensors), to have the dynamic degree by VBench's own estimator."
    vbench: Path | None = None
    "VBench's environment (videojam evaluate vbench --setup), to have its six dimensions too."
    human: Path | None = None
    "A .csv with system, text_faithfulness, quality, motion: per cent preferring the subject."
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    "Of the weights. Default: bfloat16 on an accelerator, float32 on the CPU."
    device: str | None = None
    "Default: cuda where there is one, else cpu; one for each process."
    offload: bool = False
    "Keep only the component that is running on the accelerator."
    tflops: float | None = None
    """TFLOP/s that one device sustains, for the hours that are said first; default 25 % of a matrix
    product measured here."""
    dry_run: bool = False
    "Say what there is to do and what it costs, and stop."

    def check(self) -> None:
        """ValueError for what could not become a comparison."""
        if not self.seeds or len({*self.seeds}) != len(self.seeds):
            raise ValueError(f"seeds are {self.seeds}, expected different ones, at least one")
        if self.tflops is not None:
            sustained(self.tflops)  # raises
        vbench = [f"vbench_{name}" for name in PAPER_DIMENSIONS] if self.vbench else []
        if self.primary not in (*METRICS, *vbench):
            raise ValueError(
                f"no metric {self.primary!r} to be primary; there are "
                f"{', '.join((*METRICS, *vbench))}"
            )

    def common_sampling(self) -> Sampling:
        """The settings that hold for all systems that do not set their own."""
        return Sampling(**{one.name: getattr(self, one.name) for one in fields(Sampling)})

    def compared(self) -> list[Compared]:
        """The systems, in order. ValueError for two of one name, or a subject that is not there."""
        if not self.systems:
            raise ValueError("no systems; give at least one, as NAME=SOURCE")
        systems = [parse_system(text) for text in self.systems]
        names = [system.name for system in systems]
        if len({name.casefold() for name in names}) < len(names):
            raise ValueError(f"systems are {', '.join(names)}; give each a name of its own")
        for role in ("subject", "against"):
            name = getattr(self, role)
            if name is not None and name not in names:
                raise ValueError(f"{role} is {name!r}, which is none of {', '.join(names)}")
        if len(names) > 1 and self.subject is not None and self.subject == self.against:
            raise ValueError(f"{self.subject} cannot be compared with itself; change --against")
        return systems

    def pairs(self, systems: Sequence[Compared]) -> list[tuple[str, str]]:
        """(subject, other) of every comparison, the primary one first."""
        names = [system.name for system in systems]
        sampled = [system.name for system in systems if system.kind != "clips"]
        subject = self.subject or next(
            (n for n in reversed(sampled or names) if n != self.against), names[-1]
        )
        others = [name for name in names if name != subject]
        others.sort(key=lambda name: name != self.against)
        return [(subject, other) for other in others]

    def form(self, found: Form) -> Form:
        """The common form, with what the options set."""
        fps = self.fps or found.fps
        seconds = self.seconds or found.num_frames / found.fps
        height, width = self.size or (found.height, found.width)
        return Form(
            fps=fps, num_frames=max(3, int(seconds * fps + 0.01)), height=height, width=width
        )


def decisive(config: Config) -> dict[str, Any]:
    """The options that decide results, for settings.json; where and how fast is not among them."""
    places = {"out", "device", "batch_size", "offload", "tflops", "dry_run", "vbench", "human"}
    return {f.name: getattr(config, f.name) for f in fields(config) if f.name not in places}
