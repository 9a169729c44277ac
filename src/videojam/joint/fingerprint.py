"""Whether a base is the one that an adapter was trained on.

An adapter on another base of the same shapes samples without an error, and wrongly. So it keeps a
few values of every weight of its base. They are compared up to rounding: the base may be loaded in
another type, from other shards, or from the hub instead of a folder.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from videojam.joint.find_family import family_of
from videojam.joint.widen import projection_names

_VALUES = 16  # of each weight
_ROUNDING = 2**-7  # two times that of bfloat16, which either side may have been through
Samples = dict[str, Tensor]


def base_samples(transformer: Any) -> Samples:
    """Some values of every weight but the projections', by name; LoRA on top is looked past."""
    projections = projection_names(family_of(transformer))
    found: Samples = {}
    for name, value in transformer.state_dict().items():
        name = name.replace(".base_layer.", ".")
        if ".lora_" in name or name.rpartition(".")[0] in projections:
            continue
        if value.dtype.is_floating_point and value.numel():
            flat = value.detach().reshape(-1)
            places = torch.linspace(0, len(flat) - 1, _VALUES, dtype=torch.float64).long()
            found[name] = flat[places.to(flat.device)].float().cpu()
    return found


def fingerprint_of(samples: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits that stand for the samples, to read and to compare by eye."""
    digest = hashlib.sha256()
    for name in sorted(samples):
        digest.update(name.encode())
        digest.update(samples[name].bfloat16().view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:16]


def first_difference(kept: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """The first weight that is another one, by name; None if all are the same up to rounding."""
    if kept.keys() != found.keys():
        return min(kept.keys() ^ found.keys())
    for name in sorted(kept):
        a, b = kept[name], found[name]
        off = (a - b).abs() > _ROUNDING * torch.maximum(a.abs(), b.abs()) + 1e-7
        if off.float().mean() > 0.25 or not (a.isfinite() & b.isfinite()).all():
            return name
    return None
