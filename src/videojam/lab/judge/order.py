"""Order: frames follow each other; turning keeps its sense, legs change in turn."""

import numpy as np
from jaxtyping import Float

from videojam.lab.judge.legs import FEW, STRETCHES, legs_apart, wave
from videojam.lab.judge.scores import mean, score, worst
from videojam.lab.judge.seeing.seen import Seen
from videojam.lab.judge.seeing.tracks import Tracks

FLOOR, SCALE = 0.12, 0.12  # share of the travel that goes back at once
TURN_FLOOR, TURN_SCALE = 0.05, 0.1  # share of the turning that goes the other way
_MOST = 0.6  # share of its full area from which the middle of a colour is trusted
_NOISE = 0.1  # frame heights of travel that noise may add to a clip


def order(tracks: Tracks) -> float:
    """The worst of straightness, of the sense of turning and of the legs' turns."""
    return worst([_straightness(tracks), _sense(tracks), _turns(tracks)])


def _straightness(tracks: Tracks) -> float:
    """Score of the body that goes back most, beyond what it does in the scene (a fast jump)."""
    excess = [
        back(_clear(seen)) - back(_middle_path(tracks, tracks.owners[colour]))
        for colour, seen in tracks.colours.items()
        if np.isfinite(seen.centre).any()
    ]
    for name, track in tracks.bodies.items():
        if track.template.mark is not None:
            rim = track.template.reach * track.size
            turned = tracks.scene.pose(name).numpy()[:, 2:] * rim
            excess.append(back(track.angle[:, None] * rim) - back(turned))
    return score(max(excess), FLOOR, SCALE) if excess else 0.0


def _clear(seen: Seen) -> Float[np.ndarray, "f 2"]:
    """The middle of a colour, where most of it is seen."""
    return np.where((seen.area > _MOST * seen.full)[:, None], seen.centre, np.nan)


def _middle_path(tracks: Tracks, names: tuple[str, ...]) -> Float[np.ndarray, "f 2"]:
    return np.mean([tracks.scene.pose(name)[:, :2].numpy() for name in names], axis=0)


def back(path: Float[np.ndarray, "f d"]) -> float:
    """1 - sum |p(t+2) - p(t)| / sum (|p(t+1) - p(t)| + |p(t+2) - p(t+1)|).

    0 on a line and about 1/2 for frames in random order; noise is discounted.
    """
    far = np.linalg.norm(path[2:] - path[:-2], axis=1)
    steps = np.linalg.norm(path[1:] - path[:-1], axis=1)
    near = steps[1:] + steps[:-1]
    used = np.isfinite(far) & np.isfinite(near)
    total = float(near[used].sum())
    return max(total - float(far[used].sum()), 0.0) / (total + _NOISE)


def _sense(tracks: Tracks) -> float:
    """The share of turning that goes the other way than most."""
    found = []
    for law in tracks.scene.laws:
        track = tracks.bodies.get(law.bodies[0])
        if law.kind != "spin" or track is None or track.template.mark is None:
            continue
        steps = np.diff(track.angle[np.isfinite(track.angle)])
        total = float(np.abs(steps).sum())
        less = float(min(steps[steps > 0].sum(), -steps[steps < 0].sum()))
        found.append(score(less / total, TURN_FLOOR, TURN_SCALE) if total > 0 else 0.0)
    return mean(found)


def _turns(tracks: Tracks) -> float:
    """The share of the legs' distance that is on the wrong side of the best wave.

    In those frames the legs have changed places.
    """
    found = []
    for law in tracks.scene.laws:
        if law.kind != "alternate":
            continue
        apart, times = legs_apart(tracks, law)
        if len(apart) < FEW:
            return 0.0
        shares = [
            _wrong_side(times, apart, law.values["period"] * stretch) for stretch in STRETCHES
        ]
        found.append(score(min(shares), TURN_FLOOR, TURN_SCALE))
    return mean(found)


def _wrong_side(
    times: Float[np.ndarray, "n"], apart: Float[np.ndarray, "n"], period: float
) -> float:
    """Score of a wave that is fitted, then fitted again to the points on its side."""
    side = np.ones(len(apart), bool)
    for _ in range(3):
        fitted = wave(times, apart, period, side)
        side = fitted * apart > 0
        if side.sum() < FEW:
            return 1.0
    return float(np.abs(apart[~side]).sum() / np.abs(apart).sum())
