"""videojam: joint appearance-motion fine-tuning and Inner-Guidance for video diffusion models.

The public names are loaded when they are first used, so that `import videojam` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videojam.evaluation.vbench.aggregate import aggregate_vbench
    from videojam.guidance.guider import InnerGuidance
    from videojam.guidance.pipelines import inner_guidance
    from videojam.joint.families import register_family
    from videojam.joint.latents import decode
    from videojam.joint.widen import narrow, widen
    from videojam.motion.color import flow_to_rgb, rgb_to_flow
    from videojam.motion.flow import estimate_flow
    from videojam.motion.pixels import flow_from_motion, motion_pixels
    from videojam.objective import joint_loss
    from videojam.sampling.generate import VideoJAM

__version__ = "0.1.0"

_HOME = {
    "InnerGuidance": "guidance.guider",
    "VideoJAM": "sampling.generate",
    "aggregate_vbench": "evaluation.vbench.aggregate",
    "decode": "joint.latents",
    "estimate_flow": "motion.flow",
    "flow_from_motion": "motion.pixels",
    "flow_to_rgb": "motion.color",
    "inner_guidance": "guidance.pipelines",
    "joint_loss": "objective",
    "motion_pixels": "motion.pixels",
    "narrow": "joint.widen",
    "register_family": "joint.families",
    "rgb_to_flow": "motion.color",
    "widen": "joint.widen",
}

__all__ = [
    "InnerGuidance",
    "VideoJAM",
    "aggregate_vbench",
    "decode",
    "estimate_flow",
    "flow_from_motion",
    "flow_to_rgb",
    "inner_guidance",
    "joint_loss",
    "motion_pixels",
    "narrow",
    "register_family",
    "rgb_to_flow",
    "widen",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"videojam.{_HOME[name]}"), name)
    raise AttributeError(f"module 'videojam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
