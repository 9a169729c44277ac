"""LoRAs on a joint model: VideoJAM's own, and those of its base.

VideoJAM's own is fused into the weights when a model is loaded, so what users then do with other
LoRAs cannot switch it off. Where it is kept as an adapter, PEFT makes whatever is loaded later the
only active one; sampling checks that it is still on. LoRAs made for the base work on the joint
model. Those that touch its projections have rows for C channels; `spread_lora` puts them where
`widen` puts the base's own, with zeros for motion.
"""

import functools
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from videojam.joint.family import channels_of
from videojam.joint.find_family import family_of, unwrapped
from videojam.joint.widen import spread_rows

ADAPTER = "videojam"  # PEFT's name of our own LoRA
_KEPT = "_videojam_keeps_adapter"


def keep_adapter(transformer: Any) -> None:
    """Remember that this transformer needs its LoRA named `videojam`."""
    setattr(transformer, _KEPT, True)


def check_active(transformer: Any) -> None:
    """ValueError if VideoJAM's LoRA was kept as an adapter and is not active."""
    transformer = unwrapped(transformer)
    if not getattr(transformer, _KEPT, False):
        return
    if ADAPTER not in getattr(transformer, "peft_config", {}):
        problem = "was unloaded"
    elif not _is_on(transformer):
        problem = "is switched off"
    else:
        return
    raise ValueError(
        f"VideoJAM's own LoRA {problem}, its projections alone are no model: call "
        f'pipe.set_adapters(["{ADAPTER}", ...]) with the others that you want, or load the model '
        "with fuse=True, where no LoRA call can switch it off"
    )


def _is_on(transformer: Any) -> bool:
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [m for m in transformer.modules() if isinstance(m, BaseTunerLayer)]
    ours = [layer for layer in layers if ADAPTER in getattr(layer, "r", {})]
    return all(
        ADAPTER in layer.merged_adapters
        or (ADAPTER in layer.active_adapters and not layer.disable_adapters)
        for layer in ours
    )


def spread_lora(state: Mapping[str, Tensor], transformer: Any) -> dict[str, Tensor]:
    """A base's LoRA for its joint model: rows of the projections in their joint places.

    Names with or without the component in front; what already has joint rows stays.
    """
    transformer = unwrapped(transformer)
    family = family_of(transformer)
    C = channels_of(transformer.config, family)[1] // 2 // len(family.out_layout)
    weights = {
        name.removesuffix(".weight").removesuffix(".base_layer"): value
        for name, value in transformer.named_parameters()
    }
    spread: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix("transformer_2.").removeprefix("transformer.")
        module, _, part = name.partition(".lora_")
        if module == family.out_module and part.startswith("B."):
            value = spread_rows(value, weights[module], 0, family, C)
        elif module in family.in_modules and part == "A.weight":
            value = spread_rows(value, weights[module], 1, family, C)
        spread[key] = value
    return spread


def take_base_loras(transformer: Any) -> None:
    """Make `pipe.load_lora_weights` of this joint transformer take the LoRAs of its base too."""
    # A partial, so that a deepcopy of the transformer loads into the copy.
    transformer.load_lora_adapter = functools.partial(_load_lora, transformer)


def _load_lora(transformer: Any, lora: Any, *args: Any, **options: Any) -> Any:
    if isinstance(lora, Mapping):
        lora = spread_lora(lora, transformer)
    return type(transformer).load_lora_adapter(transformer, lora, *args, **options)
