"""Long work on a list of requests, kept in shards: what was killed goes on where it stopped.

A shard is one safetensors file with the results of one batch of requests; its header says what
they were made from. It is written beside and renamed, so a shard that has its name is whole.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from videojam.records.atomic import replacing

Requests = Sequence[tuple[str, int]]  # (prompt, seed)
Work = Callable[[Requests], dict[str, Tensor]]  # one batch -> results, one per request on axis 0


def in_shards(
    out: Path,
    requests: Requests,
    size: int,
    made_from: dict[str, Any],
    start: Callable[[], Work],
    title: str,
) -> list[Path]:
    """Do what is missing, `size` requests at a time, and return the paths of all shards in order.

    made_from: JSON values of everything but the requests that decides the results. start: called
    once, and only if something is missing, so that models are loaded for work alone.
    Raises ValueError, before any work, for a shard in `out` that was made from something else.
    """
    batches = [requests[at : at + size] for at in range(0, len(requests), size)]
    shards = {
        out / f"shard-{number:05d}.safetensors": made_from | {"requests": _plain(batch)}
        for number, batch in enumerate(batches)
    }
    missing = {path for path, sources in shards.items() if not _is_there(path, sources)}
    if not missing:
        return [*shards]
    out.mkdir(parents=True, exist_ok=True)
    work = start()
    with Progress() as progress:
        task = progress.add_task(title, total=len(requests))
        for (path, sources), batch in zip(shards.items(), batches, strict=True):
            if path in missing:
                _write(path, work(batch), sources)
            progress.advance(task, len(batch))
    return [*shards]


def read_shard(path: Path) -> dict[str, Tensor]:
    """The results of a batch, by name; axis 0 is the batch."""
    return load_file(path)


def _plain(batch: Requests) -> list[list[str | int]]:
    """The requests as JSON gives them back: lists in place of tuples."""
    return [[prompt, seed] for prompt, seed in batch]


def _write(path: Path, results: dict[str, Tensor], sources: dict[str, Any]) -> None:
    contiguous = {name: value.contiguous() for name, value in results.items()}
    with replacing(path) as part:
        save_file(contiguous, part, metadata={"made_from": json.dumps(sources)})


def _is_there(path: Path, sources: dict[str, Any]) -> bool:
    if not path.exists():
        return False
    with safe_open(path, framework="pt") as file:
        found = json.loads((file.metadata() or {}).get("made_from", "{}"))
    differing = [
        f"{name} ({_short(found.get(name))} there, {_short(sources.get(name))} now)"
        for name in sorted({*found, *sources})
        if found.get(name) != sources.get(name)
    ]
    if differing:
        raise ValueError(
            f"{path} was made from another {', another '.join(differing)}; give another folder, "
            "or remove this one"
        )
    return True


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
