"""What a comparison will cost, said before anything is done."""

from collections.abc import Sequence

from videojam.evaluation.compare.work import Planned
from videojam.evaluation.report.results import markdown_table
from videojam.sampling.pipeline import Sampling

_BYTES_PER_PIXEL = 0.05  # H.264 at the quality of write_video, motion clip and copy included: 0.15


def cost_of(plans: Sequence[Planned], prompts: int, seeds: int) -> str:
    """Clips, passes through the transformers and disk, as a table; time shows at the first clip."""
    body = []
    for planned in plans:
        if planned.sampling is None:
            body.append([planned.system.name, "imported", str(len(planned.clips)), "-", "-", "-"])
            continue
        steps = planned.sampling.num_inference_steps
        passes = planned.sampling.passes(steps, planned.system.kind == "joint")
        todo = len(planned.missing)
        body.append([
            planned.system.name, planned.system.kind, f"{len(planned.clips) - todo} + {todo}",
            str(passes), str(passes * todo), f"{_megabytes(planned.sampling) * todo:.0f}",
        ])  # fmt: skip
    head = ["system", "", "clips there + to make", "passes a clip", "passes", "MB, about"]
    return (
        f"{prompts} prompts x {seeds} seeds\n\n{markdown_table(head, body)}\n"
        "A pass is one run of the transformer on one clip (with settled_cosine the most there can "
        "be); one clip of each system, timed, times the clips over the processes is how long it "
        "takes (docs/guide.md has the arithmetic)."
    )


def _megabytes(sampling: Sampling) -> float:
    pixels = 1.0
    for value in sampling.size.values():
        pixels *= value or 1
    return 3 * _BYTES_PER_PIXEL * pixels / 1e6
