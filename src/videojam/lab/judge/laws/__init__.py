"""One function per kind of law: how well a clip obeys it, from 0 to 1; NaN if it cannot be seen.

Times `alive`: a law of motion does not hold for what should move and does not.
"""

from collections.abc import Callable

import numpy as np

from videojam.lab.judge import legs
from videojam.lab.judge.laws import between, flight, joints, swing, turning
from videojam.lab.judge.motion import alive
from videojam.lab.judge.scores import mean
from videojam.lab.judge.seeing.tracks import Tracks
from videojam.lab.scene import Law

Judge = Callable[[Tracks, Law], float]

LAWS: dict[str, Judge] = {
    "fall": flight.fall,
    "fall together": flight.fall_together,
    "steady": flight.steady,
    "accelerate": flight.accelerate,
    "still": flight.still,
    "oscillate": flight.oscillate,
    "spin": turning.spin,
    "roll": turning.roll,
    "mesh": turning.mesh,
    "swing": swing.swing,
    "crank": turning.crank,
    "momentum": between.momentum,
    "energy": between.energy,
    "joined": joints.joined,
    "alternate": legs.alternate,
    "mirror": between.mirror,
}
ELSEWHERE = ("apart",)  # judged by contact.py


def law_scores(tracks: Tracks) -> dict[str, float]:
    """Per kind of law that the scene has, the mean over its laws of this kind."""
    found: dict[str, list[float]] = {}
    for law in tracks.scene.laws:
        if law.kind in ELSEWHERE:
            continue
        if law.kind not in LAWS:
            raise ValueError(
                f"no metric for a law {law.kind!r}; expected one of "
                f"{', '.join((*LAWS, *ELSEWHERE))}; add a function to lab/judge/laws"
            )
        moves = 1.0 if law.kind == "still" else alive(tracks, law.bodies)
        found.setdefault(law.kind, []).append(moves * float(LAWS[law.kind](tracks, law)))
    return {kind: mean(values) for kind, values in found.items()}


def law(tracks: Tracks) -> float:
    """The mean over the kinds of law."""
    return float(np.clip(mean(list(law_scores(tracks).values())), 0.0, 1.0))
