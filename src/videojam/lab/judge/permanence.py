"""Permanence: what was asked for is there all the time, once, and of one size; nothing else is."""

import numpy as np
from jaxtyping import Bool, Float

from videojam.lab.judge.scores import score, worst
from videojam.lab.judge.seeing.layers import grey_in_front, in_front, most_hidden
from videojam.lab.judge.seeing.seen import GONE, Seen
from videojam.lab.judge.seeing.tracks import Tracks

FLOOR, SCALE = 0.02, 0.1  # mean over frames of the share of the area that is wrong
_MARGIN = 1.25  # a thing may be hidden that much more than in the scene's own clip
_SLACK = 0.12  # relative change of area that pixels allow


def permanence(tracks: Tracks) -> float:
    """exp(-(wrong - FLOOR) / SCALE) of the colour with most that is wrong.

    wrong: mean over frames of the missing or added share of the area (at most 1), if over 12 %.
    More may be missing at the border of the picture, and where something in front may hide it.
    Colours that were not asked for count by their area against the usual one.
    """
    behind = {name for name in tracks.colours if in_front(tracks.scene, tracks.owners, name)}
    grey = {name for name, owners in tracks.owners.items() if grey_in_front(tracks.scene, owners)}
    most = most_hidden(tracks.scene, tracks.owners) if behind | grey else {}
    scores = []
    for name, seen in tracks.colours.items():
        hidden = (seen.hidden & (name in behind)) | (name in grey)
        allowed = hidden * _MARGIN * most.get(name, 0.0)
        scores.append(score(_wrong(seen, allowed, name in behind), FLOOR, SCALE))
    usual = float(np.median([seen.full for seen in tracks.colours.values()]))
    stray = np.minimum(tracks.stray / max(usual, 1e-6), 1.0)
    return worst([*scores, score(float(stray.mean()), FLOOR, SCALE)])


def _wrong(seen: Seen, hidden: Float[np.ndarray, "f"], often: bool) -> float:
    """hidden: the share that may be, per frame. often: take the full area for the usual one."""
    if seen.full == 0.0:
        return 1.0
    there = seen.area > GONE * seen.full
    allowed = _between(np.where(seen.cut, 1.0, hidden), there) + _SLACK
    clear = seen.area[there & ~seen.cut]
    clear = clear if len(clear) > 2 else seen.area[there]
    usual = float(np.quantile(clear, 0.92 if often else 0.5))
    less = 1 - seen.area / usual
    more = seen.area / usual - 1
    wrong = np.where(less > allowed, less, 0.0) + np.where(more > _SLACK, more, 0.0)
    return float(np.minimum(wrong, 1.0).mean())


def _between(
    allowed: Float[np.ndarray, "f"], there: Bool[np.ndarray, "f"]
) -> Float[np.ndarray, "f"]:
    """Where nothing is seen, what was allowed in the last or the next frame where it is."""
    out = np.where(there, allowed, 0.0)
    for step in (1, -1):
        frames = range(1, len(out)) if step == 1 else range(len(out) - 2, -1, -1)
        for k in frames:
            if not there[k]:
                out[k] = max(out[k], out[k - step])
    return out
