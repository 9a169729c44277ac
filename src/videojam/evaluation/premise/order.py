"""What a model's loss knows of the order of frames: three numbers of the paper's Figure 3.

The loss of clips with shuffled frames over that of the clips, at steps t from 0 (noise) to 1
(data). Where it is 1, the model does as well on nonsense as on motion, and nothing in its training
asks for motion there.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

TIMES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"The paper's t, 1 - sigma: 0 is noise."
NOTICED = 1.25
"Shuffled over original loss from which a model is said to notice."
_EARLY = 0.5


class Noticing(NamedTuple):
    """How well a loss tells shuffled clips; low early, low late, or late at all are blind."""

    early: float
    "Mean ratio over t up to 0.5, where motion is decided."
    late: float
    "Mean ratio over t above 0.5."
    noticed_at: float
    "The first t at which the ratio reaches NOTICED, linear between the times; 1 if never."


def noticing(losses: Float[Tensor, "2 t"]) -> Noticing:
    """Of the losses of original and of shuffled clips at TIMES."""
    ratio = (losses[1] / losses[0]).double()
    early = torch.tensor(TIMES) <= _EARLY
    return Noticing(float(ratio[early].mean()), float(ratio[~early].mean()), _first(ratio))


def _first(ratio: Tensor) -> float:
    """Before the first time, the ratio is taken to rise from 1 at t = 0, pure noise."""
    times, values = (0.0, *TIMES), (1.0, *ratio.tolist())
    for k in range(1, len(times)):
        if values[k] >= NOTICED:
            share = (NOTICED - values[k - 1]) / (values[k] - values[k - 1])
            return times[k - 1] + share * (times[k] - times[k - 1])
    return 1.0
