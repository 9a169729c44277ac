"""Motion that is given in place of sampled: text and noise decide the rest.

At every step the model sees the given motion latents at that step's noise level, made with the
seed's own motion noise, so they move along one line from noise to what was given. What the model
predicts for the motion half is left aside. Every branch of guidance that has motion has this one.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.guidance.branches import joint_channels
from videojam.joint.adapter import transformers
from videojam.joint.family import ModelFamily
from videojam.joint.find_family import family_of
from videojam.joint.image import image_kind, takes_image
from videojam.joint.info import JointInfo
from videojam.joint.noising import Level
from videojam.motion.flow import FlowEstimator


def estimator_of(info: JointInfo) -> FlowEstimator:
    """The estimator of flow that a model's motion was made with, or nearly so."""
    from videojam.motion.estimators.dis import DIS
    from videojam.motion.estimators.raft import RAFT

    return RAFT() if info.estimator.startswith("RAFT") else DIS()


_GRID = 20_001  # noise levels among which a time is looked up: 1/20 of a training step apart


def level_at(family: ModelFamily, scheduler: Any, time: Tensor) -> Level:
    """The level whose time is nearest to that which a pipeline tells its transformer."""
    grid = torch.linspace(0, 1, _GRID)
    place = (family.noising(grid, scheduler).time.float() - time.float().cpu()).abs().argmin()
    return family.noising(grid[place : place + 1], scheduler)


@contextmanager
def given_motion(
    pipe: Any, motion: Float[Tensor, "b c t h w"], noise: Float[Tensor, "b c t h w"]
) -> Iterator[None]:
    """Within, the transformers of a joint pipeline see this motion, noised to each step.

    A first frame that was given with an image, free of noise, stays as it is.
    """
    motion, noise = motion.float().cpu(), noise.cpu()
    first_given = takes_image(pipe) and (image_kind(pipe, family_of(pipe.transformer)) == "blended")

    def put(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        family, C = joint_channels(module)
        hidden = args[0] if args else kwargs["hidden_states"]
        time = kwargs["timestep"]
        seen = level_at(family, pipe.scheduler, time.max()).seen(motion, noise).to(hidden)
        hidden = hidden.clone()
        half = hidden.narrow(family.channel_dim, C, C)
        seen = seen.repeat(len(half) // len(seen), 1, 1, 1, 1)
        if first_given:
            seen[:, :, 0] = family.layout.unpack(half, motion.shape[2:])[:, :, 0]
        half.copy_(family.layout.pack(seen))
        if args:
            return (hidden, *args[1:]), kwargs
        return args, kwargs | {"hidden_states": hidden}

    with ExitStack() as stack:
        for one in transformers(pipe).values():
            handle = one.register_forward_pre_hook(put, with_kwargs=True)
            stack.callback(handle.remove)
        yield
