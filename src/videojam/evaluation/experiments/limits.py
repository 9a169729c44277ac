"""Where it stops helping (the paper's Figure 7): small moving things, and contacts.

The paper names two limits: what moves small in the frame, as its motion hardly shows in the colours
of the motion video, and physics of contact, which flow does not explain. The simulator knows both
of every caption: the share of pixels that move in its own clip, and the contacts in its scene.
"""

from collections.abc import Mapping, Sequence

from videojam.evaluation.clips.judged import Row
from videojam.evaluation.metrics.moving_share import moving_share
from videojam.evaluation.report.tables import (
    Cell,
    difference,
    difference_table,
    mean_of,
    table_of,
    thirds,
)
from videojam.lab.clips import Lab, lab_clips

_AT_ONCE = 32  # true clips drawn together


def groups(lab: Lab, prompts: int) -> dict[str, set[int]]:
    """Captions by what their true clips are: thirds of the moving share, and with contacts or none.

    Third and contact count as the simulator knows them, not as a model drew them.
    """
    shares: dict[int, float] = {}
    touching: set[int] = set()
    for start in range(0, prompts, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, prompts))
        scenes, drawn = lab_clips(lab, numbers)
        for place, number in enumerate(numbers):
            shares[number] = moving_share(drawn.flow[place], lab.fps)
            if scenes[place].contacts:
                touching.add(number)
    found = {}
    for name, part in zip(("least", "middle", "most"), thirds(shares), strict=True):
        low, high = (edge({shares[p] for p in part}) for edge in (min, max)) if part else (0, 0)
        found[f"{name} moves ({100 * low:.0f} to {100 * high:.0f} % of the pixels)"] = part
    return found | {"contacts": touching, "no contact": {*shares} - touching}


def limits(
    rows: Mapping[str, Sequence[Row]],
    pairs: Sequence[tuple[str, str]],
    parts: Mapping[str, set[int]],
    metric: str,
) -> tuple[dict[str, dict[str, Cell]], dict[str, dict[str, Cell]]]:
    """(system -> part -> mean, pair -> part -> paired difference) of a metric."""
    means = {
        name: {part: mean_of(_of(own, prompts), metric) for part, prompts in parts.items()}
        for name, own in rows.items()
    }
    gaps = {
        f"{a} - {b}": {
            part: difference(_of(rows[a], prompts), _of(rows[b], prompts), metric)
            for part, prompts in parts.items()
        }
        for a, b in pairs
    }
    return means, gaps


def text(
    means: Mapping[str, Mapping[str, Cell]],
    gaps: Mapping[str, Mapping[str, Cell]],
    parts: Mapping[str, set[int]],
    metric: str,
) -> str:
    """Markdown."""
    counts = ", ".join(f"{part}: {len(prompts)}" for part, prompts in parts.items())
    return (
        f"\n## {metric} by how much moves, and by contacts (Figure 7)\n\nCaptions by what the "
        f"simulator knows of their true clips; {counts}.\n\n{table_of(means, [*parts])}\n"
        + difference_table(gaps, [*parts])
    )


def _of(rows: Sequence[Row], prompts: set[int]) -> list[Row]:
    return [row for row in rows if row.prompt in prompts]
