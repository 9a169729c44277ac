"""A clip in pixels, and the scene that was asked for, to scores."""

from dataclasses import asdict, dataclass

from jaxtyping import UInt8
from torch import Tensor

from videojam.lab.judge.contact import contact
from videojam.lab.judge.laws import law
from videojam.lab.judge.motion import motion
from videojam.lab.judge.order import order
from videojam.lab.judge.permanence import permanence
from videojam.lab.judge.rigidity import rigidity
from videojam.lab.judge.scores import mean
from videojam.lab.judge.seeing.tracks import track
from videojam.lab.judge.text import text
from videojam.lab.scene import Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """Scores from 0 to 1, 1 is right; NaN where a metric does not apply. docs/lab_metrics.md."""

    permanence: float
    rigidity: float
    contact: float
    law: float
    order: float
    motion: float
    "0 for a still clip, 1/2 for one that stops halfway, 1 for one that moves all the time."
    coherence: float
    "motion x the mean of the first five, of those that apply."
    text: float
    "The share of what was asked for that is there; no part of coherence."

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def judge(frames: UInt8[Tensor, "f h w 3"], scene: Scene) -> Judgement:
    """How well a clip shows what `scene` asks for, from its pixels.

    A clip has its own trajectories: of the scene's, only how far they go, how much they turn back
    and how much they hide is used (docs/lab_metrics.md).
    """
    if frames.shape[0] < 6:
        raise ValueError(f"a clip of {frames.shape[0]} frames; motion is judged from 6 frames on")
    tracks = track(frames.cpu().numpy(), scene)
    scores = {
        "permanence": permanence(tracks),
        "rigidity": rigidity(tracks),
        "contact": contact(tracks),
        "law": law(tracks),
        "order": order(tracks),
    }
    moves = motion(tracks)
    coherence = moves * mean(list(scores.values()))
    return Judgement(**scores, motion=moves, coherence=coherence, text=text(tracks))
