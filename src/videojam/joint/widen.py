"""widen() and narrow(): the two projections of VideoJAM (paper, joint appearance-motion model).

    W_in+ : 2C.p -> width, appearance part pre-trained, motion part zero
    W_out+: width -> 2C.p, appearance part pre-trained, motion part zero

The result is a model of the same diffusers class with doubled channels in its config. At
initialisation its appearance prediction is the base model's, bit for bit, whatever the motion
input is. Nothing else of the model changes, and no tensor but the projections is copied.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from videojam.joint.family import (
    LATENT,
    ModelFamily,
    Order,
    Part,
    channels_of,
    expected_channels,
    total_channels,
)
from videojam.joint.find_family import family_of, unwrapped
from videojam.joint.plain import check_plain

Transformer = TypeVar("Transformer", bound=torch.nn.Module)


def widen(
    transformer: Transformer,
    family: ModelFamily | None = None,
    latent_channels: int | None = None,
) -> Transformer:
    """A joint model of the same class, in_channels = out_channels = 2C, exact at initialisation.

    All tensors but the projections are shared with `transformer`, not copied: train one of the
    two, or widen a deepcopy. Every tensor keeps its own dtype and device, and attention keeps its
    processors; wrappers (torch.compile, data parallelism) are left behind.

    latent_channels: C of the base; needed only where it is not one of the family's published ones.
    Raises ValueError for an unknown class, a model that is already joint, a layout of channels that
    the family does not describe, or a model that was changed in a way that does not carry over:
    LoRA, fused projections, offloading, sharding, casting by layer, quantisation.
    """
    transformer = unwrapped(transformer)
    check_plain(transformer, "widen")
    family = family or family_of(transformer)
    C = _base_channels(transformer, family, latent_channels)
    if _is_joint(transformer, family, C):
        config: Any = transformer.config
        found = channels_of(config, family)
        raise ValueError(
            f"this {type(transformer).__name__} is already joint: its config has {found} channels "
            f"for latents of {C}; widen the base model"
        )
    return _rebuild(transformer, family, C, _spread)


def narrow(
    transformer: Transformer,
    family: ModelFamily | None = None,
    latent_channels: int | None = None,
) -> Transformer:
    """The appearance part of a joint model: narrow(widen(base)) is base, bit for bit.

    Shares all tensors but the projections. Raises ValueError if the model is not joint, or was
    changed in a way that does not carry over, as in widen().
    """
    transformer = unwrapped(transformer)
    check_plain(transformer, "narrow")
    family = family or family_of(transformer)
    C = _base_channels(transformer, family, latent_channels)
    if not _is_joint(transformer, family, C):
        config: Any = transformer.config
        found = channels_of(config, family)
        raise ValueError(
            f"this {type(transformer).__name__} is not joint: its config has {found} channels for "
            f"latents of {C}; nothing to narrow"
        )
    return _rebuild(transformer, family, C, _gather)


def is_widened(
    transformer: torch.nn.Module,
    family: ModelFamily | None = None,
    latent_channels: int | None = None,
) -> bool:
    """True if the model predicts appearance and motion, judged by its channels alone."""
    transformer = unwrapped(transformer)
    family = family or family_of(transformer)
    return _is_joint(transformer, family, _base_channels(transformer, family, latent_channels))


def projection_names(family: ModelFamily) -> tuple[str, ...]:
    """Full names of the modules that widening changes, input projections first."""
    return (*family.in_modules, family.out_module)


# --- channels ---------------------------------------------------------------------------------


def _base_channels(transformer: Any, family: ModelFamily, latent_channels: int | None) -> int:
    """C, from the argument or the published sizes, checked against both layouts."""
    found = channels_of(transformer.config, family)
    candidates = (latent_channels,) if latent_channels else family.latent_channels
    for C in candidates:
        if found in (expected_channels(family, C, False), expected_channels(family, C, True)):
            return C
    expected = [expected_channels(family, C, joint) for C in candidates for joint in (False, True)]
    raise ValueError(
        f"{type(transformer).__name__} has (in, out) channels {found}, expected one of {expected}; "
        "a model with other latents needs latent_channels=..., and image-conditioned variants "
        "need a family row with their own in_layout"
    )


def _is_joint(transformer: Any, family: ModelFamily, C: int) -> bool:
    found = channels_of(transformer.config, family)[1]
    return found == total_channels(family.out_layout, C, joint=True)


def _base_positions(layout: tuple[Part, ...], C: int) -> tuple[list[int], int]:
    """Where each base channel sits in the joint layout, and how many channels that has."""
    positions: list[int] = []
    at = 0
    for part in layout:
        width = part.width or C
        positions += range(at, at + width)
        at += 2 * width if part.double else width
    return positions, at


# --- tensors ----------------------------------------------------------------------------------


def _layout_of(weight: Tensor, family: ModelFamily, C: int) -> tuple[Part, ...]:
    """in_layout, or latents alone where this checkpoint was built without the other groups.

    Kandinsky 5 has models with and without a condition, which its config counts in neither.
    """
    if not family.key_counts_latents:
        return family.in_layout
    for layout in (family.in_layout, (LATENT,)):
        if any(weight.shape[1] % total_channels(layout, C, joint) == 0 for joint in (False, True)):
            return layout
    return family.in_layout


def _channel_axis(tensor: Tensor, axis: int, order: Order, count: int) -> tuple[Tensor, int]:
    """View the rows of a projection as (patch, channel) or (channel, patch); axis of the channels.

    A channel-fast model interleaves: appending rows at the end would scramble it. A convolution
    has its channels on an axis of their own.
    """
    if tensor.ndim > 2:
        return tensor, axis
    split = (-1, count) if order == "fast" else (count, -1)
    return tensor.unflatten(axis, split), axis + 1 if order == "fast" else axis


def _spread(tensor: Tensor, axis: int, order: Order, layout: tuple[Part, ...], C: int) -> Tensor:
    """Base rows to their joint positions, zeros elsewhere."""
    positions, joint_count = _base_positions(layout, C)
    rows, at = _channel_axis(tensor, axis, order, len(positions))
    shape = list(rows.shape)
    shape[at] = joint_count
    wide = rows.new_zeros(shape)
    wide.index_copy_(at, torch.tensor(positions, device=rows.device), rows)
    return _flat_again(wide, tensor, axis)


def spread_rows(tensor: Tensor, weight: Tensor, axis: int, family: ModelFamily, C: int) -> Tensor:
    """Rows of something that is added to a base's projection, for the joint projection's weight.

    axis: 0 for the output projection, 1 for an input projection. Joint rows stay as they are.
    """
    if tensor.shape[axis] == weight.shape[axis]:
        return tensor
    if axis == 0:
        return _spread(tensor, 0, family.out_order, family.out_layout, C)
    return _spread(tensor, 1, family.in_order, _layout_of(weight, family, C), C)


def _gather(tensor: Tensor, axis: int, order: Order, layout: tuple[Part, ...], C: int) -> Tensor:
    """The base rows of a joint projection."""
    positions, joint_count = _base_positions(layout, C)
    rows, at = _channel_axis(tensor, axis, order, joint_count)
    base = rows.index_select(at, torch.tensor(positions, device=rows.device))
    return _flat_again(base, tensor, axis)


def _flat_again(rows: Tensor, original: Tensor, axis: int) -> Tensor:
    """Undo the view of _channel_axis."""
    if rows.ndim > original.ndim:
        rows = rows.flatten(axis, axis + 1)
    return rows.contiguous()


Edit = Callable[[Tensor, int, Order, tuple[Part, ...], int], Tensor]


def _rebuild(transformer: Any, family: ModelFamily, C: int, edit: Edit) -> Any:
    """A model of the same class with other channel counts: old tensors, edited projections."""
    from accelerate import init_empty_weights

    state = transformer.state_dict()
    for name in family.in_modules:
        key = f"{name}.weight"
        state[key] = edit(state[key], 1, family.in_order, _layout_of(state[key], family, C), C)
    for suffix in ("weight", "bias"):
        key = f"{family.out_module}.{suffix}"
        if key in state:  # Cosmos has no bias
            state[key] = edit(state[key], 0, family.out_order, family.out_layout, C)

    joint = edit is _spread
    config = dict(transformer.config)
    config[family.in_key], config[family.out_key] = expected_channels(family, C, joint)
    for key in family.also_doubled:
        config[key] = 2 * config[key] if joint else config[key] // 2
    # from_config would take the class's default for a key listed here, whatever its value.
    unset = config.get("_use_default_values", [])
    changed = (family.in_key, family.out_key, *family.also_doubled)
    config["_use_default_values"] = [key for key in unset if key not in changed]
    with init_empty_weights(include_buffers=False):
        # Buffers stay real: rotary tables are not in the state dict.
        rebuilt = type(transformer).from_config(config)
    rebuilt.load_state_dict(state, assign=True)
    for name, buffer in transformer.named_buffers():
        owner, _, leaf = name.rpartition(".")
        rebuilt.get_submodule(owner)._buffers[leaf] = buffer
    for name, parameter in transformer.named_parameters():
        rebuilt.get_parameter(name).requires_grad_(parameter.requires_grad)
    for name, module in transformer.named_modules():
        if hasattr(module, "processor"):  # of attention: perhaps the user's own, or its backend
            rebuilt.get_submodule(name).processor = module.processor
    if transformer.is_gradient_checkpointing:
        rebuilt.enable_gradient_checkpointing()
    return rebuilt.train(transformer.training)
