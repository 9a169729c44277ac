"""videojam small-wan: write a small random Wan model folder."""

from dataclasses import dataclass, field
from pathlib import Path

from videojam.models.small_wan import SmallWan, write_small_wan


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallWanArgs:
    """A small random model folder in the layout of the published Wan 2.1, to try things on."""

    out: Path
    "New folder."
    sizes: SmallWan = field(default_factory=SmallWan)


def main(args: SmallWanArgs) -> None:
    """Write the folder."""
    print(f"wrote {write_small_wan(args.out, args.sizes)}")
