"""Random choices of a scene, all from one generator."""

from collections.abc import Sequence
from typing import TypeVar

import torch

from videojam.lab.scene import COLOURS

T = TypeVar("T")


class Dice:
    def __init__(self, draw: torch.Generator) -> None:
        self.draw = draw

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.draw))

    def pick(self, options: Sequence[T]) -> T:
        return options[int(torch.randint(len(options), (), generator=self.draw))]

    def chance(self, probability: float) -> bool:
        return self.uniform(0.0, 1.0) < probability

    def sign(self) -> int:
        return 1 if self.chance(0.5) else -1

    def colours(self, count: int) -> list[str]:
        """Different colours."""
        names = list(COLOURS)
        order = torch.randperm(len(names), generator=self.draw)
        return [names[int(k)] for k in order[:count]]
