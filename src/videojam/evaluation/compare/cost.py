"""What a comparison will cost, said before anything is done."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from videojam.evaluation.clips.compared import Compared
from videojam.evaluation.compare.work import Planned
from videojam.evaluation.report.results import markdown_table
from videojam.joint.checkpoint import read_info
from videojam.joint.sizes import Size
from videojam.joint.source import adapter_folder
from videojam.models.passes import pass_flops
from videojam.sampling.pipeline import Sampling
from videojam.training.cost import sustained_flops

_BYTES_PER_PIXEL = 0.05  # H.264 at the quality of write_video, motion clip and copy included: 0.15
_UTILISATION = 0.25  # of a large matrix product's rate, where no rate is stated


class Rate(NamedTuple):
    """Arithmetic that one process does in a second."""

    flops: float
    said: str
    processes: int

    def hours(self, flops: float) -> float:
        """Of all processes together."""
        return flops / self.flops / self.processes / 3600


def rate_of(tflops: float | None, device: str, dtype: str, processes: int) -> Rate:
    """The stated rate, or a share of a matrix product's measured here."""
    at = torch.device(device)
    return Rate(
        *sustained_flops(tflops, at, getattr(torch, dtype), _UTILISATION), processes=processes
    )


def cost_of(plans: Sequence[Planned], prompts: int, seeds: int, rate: Rate) -> str:
    """Clips, passes through the transformers, their arithmetic, hours and disk, as a table.

    Raises ValueError for a size that a model does not make.
    """
    body, total, unknown = [], 0.0, []
    for planned in plans:
        if planned.sampling is None:
            body.append([planned.system.name, "imported", str(len(planned.clips)), *["-"] * 5])
            continue
        steps = planned.sampling.num_inference_steps
        passes = planned.sampling.passes(steps, planned.system.kind == "joint")
        todo = len(planned.missing)
        flops = _pass_flops(planned.system, planned.sampling)
        if flops is None:
            unknown.append(planned.system.name)
        else:
            total += flops * passes * todo
        body.append([
            planned.system.name, planned.system.kind, f"{len(planned.clips) - todo} + {todo}",
            str(passes), str(passes * todo), *_arithmetic(flops, passes * todo, rate),
            f"{_megabytes(planned.sampling) * todo:.0f}",
        ])  # fmt: skip
    head = ["system", "", "clips there + to make", "passes a clip", "passes", "TFLOP a pass",
            "hours", "MB, about"]  # fmt: skip
    return (
        f"{prompts} prompts x {seeds} seeds\n\n{markdown_table(head, body)}\n"
        f"{rate.hours(total):.2g} h in all on {rate.processes} process(es), by arithmetic, at "
        f"{rate.flops / 1e12:.3g} TFLOP/s each ({rate.said}; --tflops states another). A pass is "
        "one run of the transformer on one clip (with settled_cosine the most there can be); text "
        "encoder, VAE and metrics come on top."
        + f" Not counted, as their configs are not at hand: {', '.join(unknown)}."
        * bool(unknown)
    )


def _arithmetic(flops: float | None, passes: int, rate: Rate) -> tuple[str, str]:
    if flops is None:
        return "?", "?"
    return f"{flops / 1e12:.3g}", f"{rate.hours(flops * passes):.2g}"


def _pass_flops(system: Compared, sampling: Sampling) -> float | None:
    """None for a model on a hub that is not to be reached."""
    try:
        adapter = adapter_folder(system.model)
        model = read_info(adapter).base if adapter else str(system.model)
        return pass_flops(model, Size(**sampling.size))
    except OSError:
        return None


def _megabytes(sampling: Sampling) -> float:
    pixels = 1.0
    for value in sampling.size.values():
        pixels *= value or 1
    return 3 * _BYTES_PER_PIXEL * pixels / 1e6
