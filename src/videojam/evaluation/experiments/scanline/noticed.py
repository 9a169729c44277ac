"""Figures 3 and 8 of one training seed.

Figure 3: by how much the loss of a clip grows when its frames are shuffled, over the noise level;
a loss that does not notice says nothing of motion. The joint model is shown the noised motion of
the order that the frames are in; it is also measured with zeros for its motion input, with which
it knows no more than the others.

Figure 8: a true clip is noised to a step and sampled on from there. How lawful is the result, and
how far are its bodies from where the true ones are?
"""

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.evaluation.experiments.permuted_loss.frame_order import MotionInput, loss_grid
from videojam.evaluation.experiments.scanline.bench import Bench
from videojam.evaluation.experiments.scanline.compared import CONTROL, GUIDED, ROLES, Scope
from videojam.evaluation.experiments.scanline.model import (
    CHANNELS,
    latents,
    predictor,
    text,
    to_frames,
)
from videojam.evaluation.experiments.scanline.settings import Role
from videojam.evaluation.premise.order import TIMES
from videojam.joint.latents import join
from videojam.joint.noising import flow_matching
from videojam.lab.scanline.clips import shuffled
from videojam.lab.scanline.judge import judge
from videojam.lab.scanline.seen import find
from videojam.lab.scanline.world import Clips
from videojam.sampling.partial_sampling import schedule_of_steps
from videojam.sampling.pipeline import Sampling
from videojam.training.cost import attention_kernel

_NOISES = 4
STARTS = (0.0, 0.2, 0.4, 0.6, 0.8)
"Shares of the sampling steps that are left out."
CURVES: dict[str, tuple[Role, MotionInput]] = {
    "base": ("base", "none"),
    "control": ("control", "none"),
    "joint": ("joint", "noised"),
    "joint, zeros for motion": ("joint", "zeros"),
}


def shuffled_losses(bench: Bench, scope: Scope) -> dict[str, Float[Tensor, "2 t"]]:
    """Curve -> mean loss of original and of shuffled clips at TIMES."""
    return bench.kept(
        f"shuffled {scope.loss_clips}",
        lambda: {curve: _losses(bench, scope, *how) for curve, how in CURVES.items()},
    )


def base_losses(bench: Bench, scope: Scope) -> Float[Tensor, "2 t"]:
    """The base's, alone."""
    name = f"shuffled base {scope.loss_clips}"
    return bench.kept(name, lambda: {"base": _losses(bench, scope, *CURVES["base"])})["base"]


def _losses(bench: Bench, scope: Scope, role: Role, motion: MotionInput) -> Float[Tensor, "2 t"]:
    world, clips = bench.triple.world, bench.clips("held out", scope.loss_clips)
    others = shuffled(world, clips, bench.held_out_seed, range(scope.loss_clips))
    words, predict = text(bench.triple.sizes, clips.captions), bench.sampler(role).pipe.transformer
    found = []
    saturation = bench.triple.recipe.saturation
    for form in (latents(world, clips, saturation), latents(world, others, saturation)):
        with attention_kernel(torch.device(bench.speed.device), 1):
            grid = loss_grid(
                predictor(predict), flow_matching, form.x, words, [1 - t for t in TIMES], _NOISES,
                seed=bench.held_out_seed, motion=motion,
                d=form.d if motion == "noised" else None, device=bench.speed.device,
            )  # fmt: skip
        found.append(grid.mean((0, 1)))
    return torch.stack(found)


def continued(
    bench: Bench, scope: Scope, chosen: dict[str, Sampling]
) -> dict[str, Float[Tensor, "starts 2"]]:
    """System -> (lawful, distance in px from the true bodies) for each of STARTS."""

    def measure() -> dict[str, Tensor]:
        clips = bench.clips("held out", scope.continued_clips)
        found = {}
        for name in (CONTROL, GUIDED):
            rows = [_from(bench, clips, name, chosen[name], start) for start in STARTS]
            found[name] = torch.tensor(rows)
        return found

    return bench.kept(f"continued {scope.continued_clips}", measure)


def _from(
    bench: Bench, clips: Clips, name: str, sampling: Sampling, start: float
) -> tuple[float, float]:
    world, sampler = bench.triple.world, bench.sampler(ROLES[name])
    step = round(start * sampling.num_inference_steps)
    sigma = schedule_of_steps(sampler.pipe, sampling.num_inference_steps)[step]
    own = latents(world, clips, bench.triple.recipe.saturation)
    clean = join(own.x, own.d) if sampler.joint else own.x
    noise = sampler.noise(range(len(clean)), bench.held_out_seed)
    noised = flow_matching(sigma.expand(len(clean))).seen(clean, noise)
    final = sampler.latents(clips.captions, noised, sampling, step)
    frames = to_frames(world, final[:, :CHANNELS])
    lawful = float(judge(world, frames, clips.captions).lawful.mean())
    if world.kind == "scroll":
        return lawful, float("nan")
    seen = find(world, frames, clips.captions[..., 0])
    off = (seen.centres - clips.positions).abs()
    return lawful, float(off[seen.present].mean())
