"""From a base transformer to the model that is trained, and the check that it is the same one."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from videojam.joint.denoiser import Denoiser
from videojam.joint.family import ModelFamily
from videojam.joint.latents import join, split
from videojam.joint.text import Text
from videojam.joint.widen import is_widened, projection_names, widen
from videojam.rng import generator
from videojam.training.config import TrainConfig

# Kernels may add in another order for 2C channels: on a CPU with some sizes, on accelerators with
# other kernels. Most models are equal bit for bit on a CPU.
_CPU_TOLERANCE, _ACCELERATOR_TOLERANCE = 1e-5, 2e-2


def own_memory(model: torch.nn.Module) -> None:
    """Move weights to memory of this process's own, in place.

    Kernels may round differently on memory-mapped files, whose alignment is arbitrary; a resumed
    run must equal an undisturbed one, and the widened model its base, bit for bit.
    """
    for owner in model.modules():
        for name, value in owner._parameters.items():
            if value is not None:
                owner._parameters[name] = torch.nn.Parameter(value.detach().clone(), False)


def trainable_model(
    base: Any, config: TrainConfig, family: ModelFamily, latent_channels: int
) -> Any:
    """The model to train: widened (for the joint target), with LoRA where asked.

    A base that is joint already is trained on.

    Trained tensors are float32; frozen ones keep the base's dtypes.
    """
    joint = config.target == "joint"
    model = base
    if joint and not is_widened(model, family, latent_channels):
        model = widen(base, family, latent_channels)
    model.requires_grad_(False)
    if config.mode == "lora":
        _add_lora(model, config, family)
        if joint and not config.distill_guidance:  # whose teacher is the model without its LoRA
            for name in projection_names(family):
                model.get_submodule(name).requires_grad_(True)
    else:
        model.requires_grad_(True)
    for name, parameter in model.named_parameters():
        if _is_untrained(name, family):
            parameter.requires_grad_(False)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    return model.train()


def restore_dtypes(model: torch.nn.Module, dtypes: dict[str, torch.dtype]) -> None:
    """Give exported tensors the base's own dtypes again."""
    for name, parameter in model.named_parameters():
        if name in dtypes:
            parameter.data = parameter.data.to(dtypes[name])


def _is_untrained(name: str, family: ModelFamily) -> bool:
    return any(part.startswith(family.untrained) for part in name.split(".") if family.untrained)


def _add_lora(model: Any, config: TrainConfig, family: ModelFamily) -> None:
    """LoRA on every Linear inside the transformer's blocks, its lists of modules, seeded."""
    from peft import LoraConfig

    targets = [
        f"{prefix}.{name}"
        for prefix, blocks in model.named_children()
        if isinstance(blocks, torch.nn.ModuleList)
        for name, module in blocks.named_modules()
        if isinstance(module, torch.nn.Linear) and not _is_untrained(name, family)
    ]
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha or config.lora_rank,  # pyright: ignore[reportArgumentType]
        target_modules=targets,
    )
    with torch.random.fork_rng():
        torch.manual_seed(int(generator(config.seed, "lora").initial_seed()))
        # PEFT is told by the model that its layers are bitsandbytes' own.
        kinds = {type(module).__name__ for module in model.modules()}
        model.is_loaded_in_8bit = "Linear8bitLt" in kinds
        model.is_loaded_in_4bit = "Linear4bit" in kinds
        model.add_adapter(lora)
        del model.is_loaded_in_8bit, model.is_loaded_in_4bit


@contextlib.contextmanager
def shallow(model: torch.nn.Module) -> Iterator[None]:
    """Within, each of the model's lists of blocks holds its first one alone.

    Enough to see that it was widened rightly, which changes nothing inside blocks; a model that is
    too large for a device is looked at on the CPU, where all blocks would take minutes.
    """
    whole = {
        name: child
        for name, child in model.named_children()
        if isinstance(child, torch.nn.ModuleList)
    }
    for name, blocks in whole.items():
        model._modules[name] = torch.nn.ModuleList([*blocks][:1])
    try:
        yield
    finally:
        model._modules.update(whole)


def base_output(base: Any, denoiser: Denoiser, x: Tensor, text: Text, seed: int) -> Tensor:
    """The base's prediction for noise of this shape; taken before it is widened."""
    with torch.no_grad():
        noise = _noise(x, seed, "x")
        return denoiser.of(base)(noise, denoiser.level(_half(x)), text).float()


def check_equals_base(
    model: Any, denoiser: Denoiser, expected: Tensor, x: Tensor, text: Text, seed: int
) -> float:
    """The largest relative difference from the base, for arbitrary motion input.

    Raises RuntimeError if it is not zero but for rounding: then the
    run would start from a damaged model.
    """
    latents = join(_noise(x, seed, "x"), 3 * _noise(x, seed, "d"))
    with torch.no_grad():
        found = split(denoiser.of(model)(latents, denoiser.level(_half(x)), text).float()).x
    scale = float(expected.abs().max()) or 1.0
    difference = float((found - expected).abs().max()) / scale
    limit = _CPU_TOLERANCE if x.device.type == "cpu" else _ACCELERATOR_TOLERANCE
    if not difference <= limit or math.isnan(difference):
        raise RuntimeError(
            f"the widened model differs from its base by {difference:.3g} of the output's scale "
            f"(at most {limit:g} expected); the family's row order may be wrong for this "
            "checkpoint (docs/adding_a_model.md)"
        )
    return difference


def _noise(x: Tensor, seed: int, half: str) -> Tensor:
    noise = torch.randn(x.shape, generator=generator(seed, f"start-up check {half}"))
    return noise.to(x.device)


def _half(x: Tensor) -> Tensor:
    return torch.full((x.shape[0],), 0.5, device=x.device)
