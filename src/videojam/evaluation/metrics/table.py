"""The metrics of any clip, without learned weights: a row each, with what it needs.

A metric is a function of what is `Seen` of a clip: its frames, flow, prompt. Flow is estimated
once, when the first metric asks for it. A new metric is a file with its formula, and a row here.
"""

import math
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Literal, NamedTuple

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from videojam.evaluation.metrics.appearance import colourfulness, sharpness
from videojam.evaluation.metrics.dynamic_degree import DynamicDegree, dynamic_degree, frame_interval
from videojam.evaluation.metrics.flicker import temporal_flickering
from videojam.evaluation.metrics.flow_smoothness import flow_smoothness
from videojam.evaluation.metrics.jumps import largest_jump
from videojam.evaluation.metrics.moving_share import moving_share
from videojam.evaluation.metrics.repeats import repeated_share
from videojam.evaluation.metrics.warp_error import warp_error
from videojam.motion.estimators.exact import Exact
from videojam.motion.flow import FlowEstimator, estimate_flow
from videojam.motion.warp import occlusion

_RAFT_SIDE_PX = 128
Better = Literal["high", "low", "near"]


class Seen:
    """A clip and what follows from it, each computed once, when it is asked for."""

    def __init__(
        self,
        frames: UInt8[Tensor, "f h w 3"],
        fps: float,
        estimator: FlowEstimator | None = None,
        prompt: str | None = None,
        raft: FlowEstimator | None = None,
    ) -> None:
        if isinstance(estimator, Exact):
            raise ValueError(
                "the estimator Exact knows the forward flow of one clip, metrics also need the "
                "backward one; give another estimator, or call each metric with the flows you have"
            )
        self.frames, self.fps, self.prompt = frames, fps, prompt
        self._estimator, self.raft = estimator, raft

    @cached_property
    def flow(self) -> Float[Tensor, "n 2 h w"]:
        return estimate_flow(self.frames, self._estimator)

    @cached_property
    def occluded(self) -> Bool[Tensor, "n h w"]:
        backward = estimate_flow(self.frames.flip(0), self._estimator).flip(0)
        return occlusion(self.flow, backward)

    @cached_property
    def dynamic(self) -> DynamicDegree:
        """VBench's rule asks for the flow between frames an eighth of a second apart."""
        interval = frame_interval(self.fps)
        if interval == 1:
            return dynamic_degree(self.flow, self.fps)
        coarse = estimate_flow(self.frames[::interval], self._estimator)
        return dynamic_degree(coarse, self.fps)


class Metric(NamedTuple):
    """One number of a clip."""

    needs: frozenset[str]
    "Of frames, flow, prompt, raft."
    better: Better
    '"near": best where it is near that of real clips, or of the other systems.'
    sees: str
    "In a few words, for tables."
    of: Callable[[Seen], float]
    frames: int = 2
    "At least this many."


def _needs(*names: str) -> frozenset[str]:
    return frozenset(names)


def _dynamic_by_raft(seen: Seen) -> float:
    flow = estimate_flow(seen.frames[:: frame_interval(seen.fps)], seen.raft)
    return float(dynamic_degree(flow, seen.fps).is_dynamic)


_FLOW = _needs("frames", "flow")
_FRAMES = _needs("frames")
METRICS = {
    "warp_error": Metric(_FLOW, "low", "colours that change along the motion",
                         lambda s: warp_error(s.frames, s.flow, s.occluded)),
    "occluded_share": Metric(_FLOW, "near", "pixels that the next frame does not show",
                             lambda s: float(s.occluded.float().mean())),
    "flow_smoothness": Metric(_FLOW, "high", "steady motion along trajectories",
                              lambda s: flow_smoothness(s.flow, s.occluded), 3),
    "dynamic_degree": Metric(_FLOW, "near", "whether it moves, VBench's rule (flow of DIS)",
                             lambda s: float(s.dynamic.is_dynamic)),
    "speed_diagonals_per_s": Metric(_FLOW, "near", "speed of the fastest 5 % of the pixels",
                                    lambda s: s.dynamic.speed),
    "moving_share": Metric(_FLOW, "near", "how much of the picture moves",
                           lambda s: moving_share(s.flow, s.fps)),
    "temporal_flickering": Metric(_FRAMES, "near", "change from frame to frame, 1 for none",
                                  lambda s: temporal_flickering(s.frames)),
    "largest_jump": Metric(_FRAMES, "low", "a change that stands out: a cut, a skip",
                           lambda s: largest_jump(s.frames), 3),
    "repeated_share": Metric(_FRAMES, "low", "frames shown twice",
                             lambda s: repeated_share(s.frames)),
    "sharpness": Metric(_FRAMES, "near", "fine detail, or noise",
                        lambda s: sharpness(s.frames), 1),
    "colourfulness": Metric(_FRAMES, "near", "colour",
                            lambda s: colourfulness(s.frames), 1),
    "dynamic_degree_raft": Metric(_needs("frames", "raft"), "near",
                                  "whether it moves, VBench's rule and its estimator (RAFT)",
                                  _dynamic_by_raft),
}  # fmt: skip
_OF_THE_LAB = tuple(
    name
    for name in METRICS
    if name not in ("moving_share", "largest_jump", "repeated_share", "dynamic_degree_raft")
)


def measure(
    seen: Seen, names: Iterable[str] = tuple(METRICS)
) -> tuple[dict[str, float], dict[str, str]]:
    """The metrics that this clip has what they need for, and why the others were skipped.

    Raises ValueError for a metric that is not in the table.
    """
    values, skipped = {}, {}
    for name in names:
        if name not in METRICS:
            raise ValueError(f"no metric {name!r}; there are {', '.join(METRICS)}")
        reason = why_not(METRICS[name], seen)
        if reason is not None:
            values[name], skipped[name] = math.nan, reason
            continue
        values[name] = METRICS[name].of(seen)
        if math.isnan(values[name]):
            skipped[name] = "no pixel can be followed"
    return values, skipped


def why_not(metric: Metric, seen: Seen) -> str | None:
    """Why a clip has no value of a metric; None where it has."""
    if "prompt" in metric.needs and seen.prompt is None:
        return "no prompt is known"
    if "raft" in metric.needs and seen.raft is None:
        return "no RAFT: it needs the raft extra and its weights (docs/conventions.md)"
    if "raft" in metric.needs and min(seen.frames.shape[1:3]) < _RAFT_SIDE_PX:
        return f"RAFT needs frames of {_RAFT_SIDE_PX} x {_RAFT_SIDE_PX} pixels"
    if len(seen.frames) < metric.frames:
        return f"{len(seen.frames)} frames, needs {metric.frames}"
    return None


def all_metrics(
    frames: UInt8[Tensor, "f h w 3"], fps: float, estimator: FlowEstimator | None = None
) -> dict[str, float]:
    """The metrics that the lab's tables show, by name.

    frames: at least three, and two after sub-sampling to 8 per second. fps: of the clip.
    estimator: default DIS. It runs forward and backward, and where fps is 12 or more a third time
    on the sub-sampled clip, as VBench's rule asks for the flow between those frames.
    warp_error and flow_smoothness are over unoccluded pixels; occluded_share is how many are not.
    dynamic_degree is 0 or 1: its mean over clips is VBench's percentage.
    Raises ValueError for clips that are too short or small, or an estimator of given fields.
    """
    seen = Seen(frames, fps, estimator)
    return {name: METRICS[name].of(seen) for name in _OF_THE_LAB}
