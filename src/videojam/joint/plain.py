"""Whether a transformer is as its class makes it, so that it can be rebuilt with other channels.

LoRA layers, fused projections, hooks and quantised tensors live beside the config, and a model made
from the config alone does not have them. They are put on again afterwards, on the widened model.
"""

import torch
from torch import Tensor


def check_plain(transformer: torch.nn.Module, what: str) -> None:
    """ValueError "widen first, then ..." for a model that was changed. what: widen or narrow."""
    reason = _changed(transformer)
    if reason:
        found, then = reason
        raise ValueError(
            f"this {type(transformer).__name__} {found}, which {what}() cannot carry over; {what} "
            f"first, then {then}"
        )


def _changed(transformer: torch.nn.Module) -> tuple[str, str] | None:
    """(what was done to it, what to do after widening)."""
    adapters = getattr(transformer, "peft_config", None)
    if adapters:
        return f"has LoRA adapters ({', '.join(adapters)})", "load the LoRA"
    if _is_quantised(transformer):
        return "is quantised", (
            "quantise: save the widened model and load it with quantization_config"
        )
    for name, module in transformer.named_modules():
        if getattr(module, "fused_projections", False):
            return f"has fused projections ({name})", "fuse_qkv_projections()"
        if hasattr(module, "_hf_hook"):
            return "is offloaded or spread over devices", "offload, or set device_map"
        registry = getattr(module, "_diffusers_hook", None)
        if registry and registry.hooks:
            return f"has hooks ({', '.join(registry.hooks)})", (
                "switch offloading by groups, casting by layer or a cache on"
            )
    tensors = [*transformer.parameters()]
    if any(type(tensor.data).__name__ == "DTensor" for tensor in tensors):
        return "is sharded", "shard it"
    if len({tensor.is_meta for tensor in tensors}) > 1:
        return "has parameters without values (on the meta device)", "offload it"
    return None


def _is_quantised(transformer: torch.nn.Module) -> bool:
    if getattr(transformer, "hf_quantizer", None) is not None:
        return True
    if "quantization_config" in getattr(transformer, "config", {}):
        return True
    usual = (Tensor, torch.nn.Parameter)
    return any(
        (type(tensor.data) not in usual and type(tensor.data).__name__ != "DTensor")
        or not tensor.dtype.is_floating_point
        or tensor.dtype.itemsize == 1
        for tensor in transformer.parameters()
    )
