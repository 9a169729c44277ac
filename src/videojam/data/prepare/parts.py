"""Which part of the videos a shard takes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from videojam.data.source.manifest import Entry


class Shard(NamedTuple):
    """The i-th of n parts, from 1."""

    number: int
    total: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.number}-of-{self.total}"


def parse_shard(text: str) -> Shard:
    """ "2/8" -> the second of eight. ValueError for anything else."""
    number, _, total = text.partition("/")
    if number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total):
        return Shard(int(number), int(total))
    raise ValueError(f"shard is {text!r}, expected i/n with i from 1 to n, like 2/8")


def part(entries: Sequence[Entry], shard: Shard) -> list[Entry]:
    """The entries of a shard: a stretch, so that shards in order are the whole in order."""
    edges = np.linspace(0, len(entries), shard.total + 1).round().astype(int)
    return list(entries[edges[shard.number - 1] : edges[shard.number]])
