"""All metrics of one clip from one estimate of its flow."""

from jaxtyping import UInt8
from torch import Tensor

from videojam.evaluation.metrics.appearance import colourfulness, sharpness
from videojam.evaluation.metrics.dynamic_degree import dynamic_degree, frame_interval
from videojam.evaluation.metrics.flicker import temporal_flickering
from videojam.evaluation.metrics.flow_smoothness import flow_smoothness
from videojam.evaluation.metrics.warp_error import warp_error
from videojam.motion.estimators.exact import Exact
from videojam.motion.flow import FlowEstimator, estimate_flow
from videojam.motion.warp import occlusion


def all_metrics(
    frames: UInt8[Tensor, "f h w 3"], fps: float, estimator: FlowEstimator | None = None
) -> dict[str, float]:
    """Every metric that needs this clip alone, by name.

    frames: at least three, and two after sub-sampling to 8 per second. fps: of the clip.
    estimator: default DIS. It runs forward and backward, and where fps is 12 or more a third time
    on the sub-sampled clip, as VBench's rule asks for the flow between those frames.
    warp_error and flow_smoothness are over unoccluded pixels; occluded_share is how many are not.
    dynamic_degree is 0 or 1: its mean over clips is VBench's percentage.
    Raises ValueError for clips that are too short or small, or an estimator of given fields.
    """
    if isinstance(estimator, Exact):
        raise ValueError(
            "the estimator Exact knows the forward flow of one clip, metrics also need the "
            "backward one; give another estimator, or call each metric with the flows you have"
        )
    flow = estimate_flow(frames, estimator)
    backward = estimate_flow(frames.flip(0), estimator).flip(0)
    occluded = occlusion(flow, backward)
    interval = frame_interval(fps)
    coarse = flow if interval == 1 else estimate_flow(frames[::interval], estimator)
    dynamic = dynamic_degree(coarse, fps)
    return {
        "warp_error": warp_error(frames, flow, occluded),
        "occluded_share": float(occluded.float().mean()),
        "flow_smoothness": flow_smoothness(flow, occluded),
        "dynamic_degree": float(dynamic.is_dynamic),
        "speed_diagonals_per_s": dynamic.speed,
        "temporal_flickering": temporal_flickering(frames),
        "sharpness": sharpness(frames),
        "colourfulness": colourfulness(frames),
    }
